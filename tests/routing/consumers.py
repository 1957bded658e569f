"""Consumers that say what they know of their route."""

from django.urls import Resolver404
from django.urls import reverse as page_reverse

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.routing import reverse


class Echo(AsyncJsonWebsocketConsumer):
    """Sends its arguments and its user."""

    async def connect(self):
        await self.accept()
        await self.send_json(
            {
                "kwargs": self.scope["url_route"]["kwargs"],
                "urls": [page_reverse("page"), reverse("plain")],
                "user": str(self.scope["user"]),
                "headers": sorted(name.decode() for name, _ in self.scope["headers"]),
            }
        )

    async def fail(self, event):
        """Reachable only by a mistake."""


class Looking(AsyncJsonWebsocketConsumer):
    """Looks for a path that is not there, when it is asked for it."""

    async def receive_json(self, content, **kwargs):
        raise Resolver404(content)
