"""What channel layers offer, and what they ask of a consumer; see the package."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from django_asgi_bridge.types import Message

__all__ = ("ChannelLayer", "Mailbox")


class ChannelLayer(Protocol):
    """What every channel layer offers: the interface of the Channels project.

    Layers with groups also have ``group_add``, ``group_discard`` and
    ``group_send``; ``extensions`` then names ``"groups"``.
    """

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel; raises ``ChannelFull``."""

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel."""

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a channel name that nobody else has."""


class Mailbox(Protocol):
    """Where a layer of ours puts what is for one live consumer.

    A layer calls it from any thread; nothing here waits.
    """

    def put_event(self, message: dict[str, Any], capacity: int) -> bool:
        """Queue an event for a handler; the message becomes the consumer's own.

        Args:
            capacity: events that may wait, unless the consumer has its own bound.

        Returns:
            False if the event was refused because the queue is full. Whatever is
            dropped is counted by the mailbox.
        """

    def put_frame(self, frame: Message, key: str) -> bool:
        """Queue a ``websocket.send`` event for the client, past all handlers.

        Args:
            frame: shared between sockets: nobody may change it.
            key: what ``latest_by_key`` goes by, the group's name.

        Returns:
            False if the frame was dropped, which the mailbox counts.
        """

    def note_gap(self, groups: Mapping[str, int | None]) -> None:
        """Tell the consumer that messages of these groups may have been lost.

        Args:
            groups: how many were lost by group name; ``None`` where unknown.
        """
