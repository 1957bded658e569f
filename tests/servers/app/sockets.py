"""The site's WebSockets."""

import asyncio
import json
import os
from pathlib import Path

from django.core.exceptions import PermissionDenied
from django.http import Http404

from django_asgi_bridge.exceptions import DenyConnection, Redirect
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from tests.servers.app.content import LONG_REASON


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
        elif text_data == "close at length":
            await self.close(4001, LONG_REASON)
        elif text_data == "close plainly":
            await self.close()
        elif text_data == "fail":
            raise RuntimeError("as you like")
        else:
            await self.send(text_data=text_data, bytes_data=bytes_data)

    async def websocket_disconnect(self, message):
        mark = self.scope["query_string"].decode()
        note(f"echo heard {mark} {message['reason']}")
        await super().websocket_disconnect(message)

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


class Raising(AsyncWebsocketConsumer):
    """Lets nobody in, by an exception."""

    async def connect(self):
        raise {
            "not-found": Http404(),
            "forbidden": PermissionDenied(),
            "deny": DenyConnection(),
            "redirect": Redirect("/elsewhere/"),
            "error": RuntimeError("as you like"),
        }[self.scope["url_route"]["kwargs"]["how"]]


class Telling(Refusing):
    """Lets nobody in, and tells scripts why."""

    reject_fallback = "accept_then_close"


class Hesitating(AsyncWebsocketConsumer):
    """Never answers the handshake; sees that the client has left."""

    async def connect(self):
        mark = self.scope["query_string"].decode()
        note(f"asked {mark}")
        while not self.is_disconnected:  # noqa: ASYNC110 - what the test looks at
            await asyncio.sleep(0.01)
        note(f"seen {mark}")


class Mirror(AsyncWebsocketConsumer):
    """Says what it knows of its connection."""

    async def connect(self):
        await self.accept(headers=[(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")])
        session = self.scope["session"]
        seen = {
            "scheme": self.scope.get("scheme", "ws"),
            "path": self.scope["path"],
            "root_path": self.scope.get("root_path", ""),
            "query": self.scope["query_string"].decode(),
            "offered": list(self.scope["subprotocols"]),
            "client": self.scope["client"],
            "headers": [
                [name.decode("latin-1"), value.decode("latin-1")]
                for name, value in self.scope["headers"]
            ],
            "kwargs": self.scope["url_route"]["kwargs"],
            "cookies": self.scope["cookies"],
            "user": str(self.scope["user"]),
            "visits": await session.aget("visits"),
            "state": (self.scope.get("state") or {}).get("greeting"),
        }
        await self.send(text_data=json.dumps(seen))
