"""A consumer that says what it knows of its route."""

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer


class Echo(AsyncJsonWebsocketConsumer):
    """Sends its arguments and its user."""

    async def connect(self):
        await self.accept()
        await self.send_json(
            {
                "kwargs": self.scope["url_route"]["kwargs"],
                "user": str(self.scope["user"]),
                "headers": sorted(name.decode() for name, _ in self.scope["headers"]),
            }
        )

    async def fail(self, event):
        """Reachable only by a mistake."""
