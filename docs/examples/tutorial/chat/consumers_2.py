from typing import Any

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.layers import group_name


class ChatConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.name = self.scope["user"].get_username() or "Guest"
        self.group = group_name("chat", self.scope["url_route"]["kwargs"]["room"])
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()
        await self.tell("joined")

    async def disconnect(self, code: int) -> None:
        await self.tell("left")

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        if isinstance(content, dict) and content.get("text"):
            await self.tell(str(content["text"]))

    async def tell(self, text: str) -> None:
        line = {"type": "chat.line", "name": self.name, "text": text}
        await self.channel_layer.group_send(self.group, line)

    async def chat_line(self, event: Any) -> None:
        await self.send_json({"name": event["name"], "text": event["text"]})
