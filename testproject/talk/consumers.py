"""The consumers of the chat, the board, the search and the closed door."""

import secrets
from typing import Any

from django.http import Http404

from django_asgi_bridge.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
)
from django_asgi_bridge.layers import group_name
from testproject.notes.models import Note
from testproject.talk.models import Line, Room

_HISTORY = 30
_FOUND = 10


class RoomConsumer(AsyncJsonWebsocketConsumer):
    """One visitor in one room.

    Who is in the room is nowhere written down: a newcomer asks the group, and
    everybody answers to the newcomer's own channel.
    """

    async def connect(self) -> None:
        """Let the visitor in, tell what was said before, and ask who is there."""
        slug = self.scope["url_route"]["kwargs"]["slug"]
        room = await Room.objects.filter(slug=slug).afirst()
        if room is None:
            raise Http404
        self.room = room
        self.name = _name_of(self.scope["user"])
        self.group = group_name("room", slug)
        await self.accept()
        lines = [line async for line in room.lines.all()[:_HISTORY]]
        history = [_line_event(line) for line in reversed(lines)]
        await self.send_json({"you": self.name, "history": history})
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.channel_layer.group_send(
            self.group,
            {"type": "room.joined", "name": self.name, "channel": self.channel_name},
        )

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Keep what the visitor says, and tell it to all."""
        text = str(content.get("text", "")).strip() if isinstance(content, dict) else ""
        if not text:
            return
        line = await Line.objects.acreate(
            room=self.room, author=self.name, text=text[:500]
        )
        await self.channel_layer.group_send(
            self.group, {"type": "room.said", "line": _line_event(line)}
        )

    async def disconnect(self, code: int) -> None:
        """Tell the others; the layer takes the channel out of the group by itself."""
        if hasattr(self, "group"):
            await self.channel_layer.group_send(
                self.group, {"type": "room.left", "name": self.name}
            )

    async def room_said(self, event: Any) -> None:
        """Show a line."""
        await self.send_json({"line": event["line"]})

    async def room_joined(self, event: Any) -> None:
        """Show a newcomer, and tell them that this visitor is here."""
        await self.send_json({"here": event["name"]})
        if event["channel"] != self.channel_name:
            await self.channel_layer.send(
                event["channel"], {"type": "room.here", "name": self.name}
            )

    async def room_here(self, event: Any) -> None:
        """Show somebody who was here before."""
        await self.send_json({"here": event["name"]})

    async def room_left(self, event: Any) -> None:
        """Show that somebody left."""
        await self.send_json({"left": event["name"]})


class BoardConsumer(AsyncWebsocketConsumer):
    """Shows new notes. No handler of it runs for them: see ``talk.apps``."""

    groups = ["board"]


class SearchConsumer(JsonWebsocketConsumer):
    """Finds notes while somebody types; sync, so each search is on a worker."""

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Answer with the titles that contain what was typed."""
        words = str(content.get("q", "")).strip() if isinstance(content, dict) else ""
        found = Note.objects.filter(title__icontains=words) if words else Note.objects
        self.send_json(
            {
                "q": words,
                "notes": [
                    {"title": note.title, "url": note.get_absolute_url()}
                    for note in found.all()[:_FOUND]
                ],
            }
        )


class DoorConsumer(AsyncWebsocketConsumer):
    """Lets nobody in, and says why, in the two ways there are."""

    async def connect(self) -> None:
        """Refuse: with a response, or after accepting, so that a browser can read it."""
        if self.scope["query_string"] == b"how=response":
            await self.reject(403, "The hide is closed while the ospreys nest.")
        else:
            await self.accept()
            await self.close(4403, "The hide is closed while the ospreys nest.")


def _name_of(user: Any) -> str:
    if user.is_authenticated:
        return str(user.get_username())
    return f"Guest {secrets.token_hex(2)}"


def _line_event(line: Line) -> dict[str, str]:
    return {
        "author": line.author,
        "text": line.text,
        "created": line.created.isoformat(),
    }
