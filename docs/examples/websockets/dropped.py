"""A consumer that takes few frames at once, and says what it lost."""

import logging

from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
from django_asgi_bridge.sockets import Bounds

logger = logging.getLogger("chat")


class SensorConsumer(AsyncWebsocketConsumer):
    bounds = Bounds(client_frames=4, client_overflow="close", send_timeout=5)

    async def disconnect(self, code: int) -> None:
        if self.dropped.client_frames:
            logger.warning("closed with %s after %s", code, self.dropped)
