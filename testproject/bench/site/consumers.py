"""The consumers that are measured, for this package and for Channels.

Both have the same code but for the package that the base classes come from, as in a
project that moves from one to the other.
"""

import itertools
import os
from importlib import import_module
from typing import Any

__all__ = ("consumers",)

ROOM = "room"


def consumers(package: str) -> dict[str, Any]:
    """Return the consumers by path.

    Args:
        package: ``"channels"`` or ``"django_asgi_bridge"``.
    """
    generic = import_module(f"{package}.generic.websocket")
    found = {**_echoes(generic), **_rooms(generic)}
    if package == "django_asgi_bridge":
        found["broadcast"] = _broadcast(generic)
    return found


def _echoes(generic: Any) -> dict[str, Any]:
    class Echo(generic.AsyncWebsocketConsumer):
        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await self.send(text_data=text_data)

    class SyncEcho(generic.WebsocketConsumer):
        def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            self.send(text_data=text_data)

    class JsonEcho(generic.AsyncJsonWebsocketConsumer):
        async def receive_json(self, content: Any) -> None:
            await self.send_json(content)

    class GroupEcho(Echo):
        groups = [ROOM]

    class Visitor(Echo):
        async def connect(self) -> None:
            if self.scope["user"].is_authenticated:
                await self.accept()
            else:
                await self.close()

    return {
        "echo": Echo,
        "sync-echo": SyncEcho,
        "json-echo": JsonEcho,
        "group-echo": GroupEcho,
        "visitor": Visitor,
    }


def _rooms(generic: Any) -> dict[str, Any]:
    class Room(generic.AsyncWebsocketConsumer):
        groups = [ROOM]

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            event = {"type": "chat.message", "text": text_data}
            await self.channel_layer.group_send(ROOM, event)

        async def chat_message(self, event: dict[str, Any]) -> None:
            await self.send(text_data=event["text"])

    numbers = itertools.count()

    class ManyRooms(Room):
        """In many groups, of which the first gets what it receives."""

        async def connect(self) -> None:
            count = int(os.environ["BENCH_GROUPS"])
            self.rooms = [f"room-{next(numbers)}" for _ in range(count)]
            for room in self.rooms:
                await self.channel_layer.group_add(room, self.channel_name)
            await self.accept()

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            event = {"type": "chat.message", "text": text_data}
            await self.channel_layer.group_send(self.rooms[0], event)

    ManyRooms.groups = []
    return {"room": Room, "many-rooms": ManyRooms}


def _broadcast(generic: Any) -> Any:
    from django_asgi_bridge.layers import group_broadcast  # noqa: PLC0415

    class Broadcast(generic.AsyncWebsocketConsumer):
        groups = [ROOM]

        async def receive(
            self, text_data: str | None = None, bytes_data: bytes | None = None
        ) -> None:
            await group_broadcast(ROOM, text_data=text_data)

    return Broadcast
