"""What the two halves of a connection ask of others."""

from __future__ import annotations

import asyncio
from typing import Protocol

from django_asgi_bridge.types import Message

__all__ = ("NOBODY", "OwnSend", "SocketOwner", "Watcher")


OwnSend = tuple[int, Message, "asyncio.Future[None]"]
"""A handler's send that waits: the frames that go first, the event, and who waits."""


class SocketOwner(Protocol):
    """Whom a socket tells what became of its connection."""

    def note_loss(self) -> None:
        """Note that broadcast frames were dropped."""

    def stop(self, code: int, reason: str) -> None:
        """Note that a full outbox or a failed send has ended the connection."""


class _Nobody:
    def note_loss(self) -> None:
        pass

    def stop(self, code: int, reason: str) -> None:
        pass


NOBODY: SocketOwner = _Nobody()
"""Whom a socket tells when its connection is over."""


class Watcher(Protocol):
    """What does not wait for news of an inbox, since it waits for something else."""

    def note_news(self) -> None:
        """Do something about news, on the loop's thread."""

    def takes_event(self, event: Message) -> bool:
        """Take a layer's event that need not wait, on the loop's thread, or refuse."""

    def takes_frame(self, message: Message) -> bool:
        """Take a client's message that need not wait, or refuse."""
