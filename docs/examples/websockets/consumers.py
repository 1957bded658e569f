"""A chat room: everybody in it sees what anybody says."""

from typing import Any

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.layers import group_name


class ChatConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        self.room = group_name("chat", self.scope["url_route"]["kwargs"]["name"])
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        event = {"type": "chat.message", "text": str(content["text"])}
        await self.channel_layer.group_send(self.room, event)

    async def chat_message(self, event: Any) -> None:
        await self.send_json({"text": event["text"]})
