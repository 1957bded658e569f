"""A consumer that goes on while the layer's server is away."""

from typing import Any

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer


class LobbyConsumer(AsyncJsonWebsocketConsumer):
    groups = ["lobby"]

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        try:
            await self.channel_layer.group_send(
                "lobby", {"type": "lobby.line", "text": str(content)}
            )
        except LayerUnavailable:
            await self.send_json({"error": "not sent, try again"})

    async def lobby_line(self, event: Any) -> None:
        await self.send_json({"text": event["text"]})
