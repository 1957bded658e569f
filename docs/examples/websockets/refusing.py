"""Three ways to refuse a handshake."""

from django.core.exceptions import PermissionDenied

from django_asgi_bridge.exceptions import Redirect
from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer


class MembersConsumer(AsyncWebsocketConsumer):
    # Where the server cannot send a response, let browsers read a close code, 4429.
    reject_fallback = "accept_then_close"

    async def connect(self) -> None:
        user = self.scope["user"]
        if not user.is_authenticated:
            raise Redirect("/accounts/login/")
        if not user.is_staff:
            raise PermissionDenied
        if self.scope["query_string"] == b"again":
            await self.reject(429, "Try again in a minute.", {"retry-after": "60"})
            return
        await self.accept()
