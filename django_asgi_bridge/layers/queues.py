"""The messages of one channel in memory, and who waits for them."""

import asyncio
import contextlib
import secrets
import string
from collections import deque
from typing import Any

__all__ = ("ChannelQueue", "new_name", "wake")


class ChannelQueue:
    """Messages that wait for a receiver, and receivers that wait for a message."""

    __slots__ = ("is_watched", "messages", "waiters")

    def __init__(self) -> None:
        self.messages: deque[tuple[float, dict[str, Any]]] = deque()
        self.waiters: list[asyncio.Future[None]] = []
        # There is an entry among the deadlines.
        self.is_watched = False

    def __len__(self) -> int:
        return len(self.messages)


def new_name(prefix: str) -> str:
    """Return a channel name of this process that nobody else has."""
    letters = "".join(secrets.choice(string.ascii_letters) for _ in range(12))
    return f"{prefix}.inmemory!{letters}"


def wake(waiter: "asyncio.Future[None]") -> None:
    """Let a receiver look again, on whichever loop it waits."""
    # A closed loop has no receivers any more.
    with contextlib.suppress(RuntimeError):
        waiter.get_loop().call_soon_threadsafe(_set, waiter)


def _set(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)
