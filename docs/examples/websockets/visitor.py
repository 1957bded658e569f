"""A consumer that knows its visitor: the user, and what the session keeps."""

from typing import Any

from django_asgi_bridge.exceptions import DenyConnection
from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer


class BasketConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        if not self.scope["user"].is_authenticated:
            raise DenyConnection
        await self.accept()

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        session = self.scope["session"]
        basket = await session.aget("basket", [])
        basket.append(str(content))
        await session.aset("basket", basket)
        await session.asave()
        await self.send_json({"of": self.scope["user"].get_username(), "has": basket})
