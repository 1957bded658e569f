"""The site's WebSockets."""

import asyncio
import os
from pathlib import Path

from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)


def note(line: str) -> None:
    """Write down what a test looks for."""
    with (Path(os.environ["SITE_DIR"]) / "sockets.log").open("a") as log:
        log.write(f"{line}\n")


class Echo(AsyncWebsocketConsumer):
    """Says what it hears; ends as it is told to."""

    async def connect(self):
        offered = self.scope["subprotocols"]
        await self.accept(offered[0] if offered else None, headers=[(b"x-a", b"b")])

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "close":
            await self.close(4001, "as you like")
        elif text_data == "fail":
            raise RuntimeError("as you like")
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def disconnect(self, code):
        note(f"echo ended {self.scope['query_string'].decode()} {code}")


class SyncEcho(WebsocketConsumer):
    """The same from a worker thread."""

    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data, bytes_data=bytes_data)


class Slow(AsyncWebsocketConsumer):
    """Its handler runs until it sees that the client has left."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data="begun")
        while not self.is_disconnected:  # noqa: ASYNC110 - what the test looks at
            await asyncio.sleep(0.01)
        note(f"seen {text_data}")


class Refusing(AsyncWebsocketConsumer):
    """Lets nobody in."""

    async def connect(self):
        await self.reject(401, "who are you?", {"x-why": "no name"})
