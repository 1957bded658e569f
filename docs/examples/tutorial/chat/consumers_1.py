from typing import Any

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.layers import group_name


class ChatConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.group = group_name("chat", self.scope["url_route"]["kwargs"]["room"])
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if isinstance(content, dict) and content.get("text"):
            line = {"type": "chat.line", "text": str(content["text"])}
            await self.channel_layer.group_send(self.group, line)

    async def chat_line(self, event: Any) -> None:
        await self.send_json({"text": event["text"]})
