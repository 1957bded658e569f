"""A consumer that signs its visitor in and out."""

from typing import Any

from django.contrib.auth import aauthenticate

from django_asgi_bridge.auth import login, logout
from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer


class TerminalConsumer(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        match content:
            case {"name": str(name), "password": str(password)}:
                user = await aauthenticate(username=name, password=password)
                if user is not None:
                    await login(self.scope, user)
                    await self.scope["session"].asave()
            case {"leave": True}:
                await logout(self.scope)
        await self.send_json({"you": self.scope["user"].get_username()})
