"""One channel in memory: the messages that wait in it and who waits for one.

Nothing here locks: the layer does. Waiters may belong to several event loops.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

__all__ = ("ChannelQueue", "StoredMessage", "Waiter")


class StoredMessage:
    """A message that waits for a reader."""

    __slots__ = ("deadline", "message", "number", "queue")

    def __init__(
        self,
        number: int,
        queue: ChannelQueue,
        deadline: float,
        message: dict[str, Any],
    ) -> None:
        self.number = number
        self.queue = queue
        self.deadline = deadline
        self.message = message


class Waiter:
    """One ``receive()`` that waits, on the loop it was called on."""

    __slots__ = ("_loop", "future")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.future: asyncio.Future[None] = self._loop.create_future()

    def wake(self) -> bool:
        """Let it look for a message; False when its loop is closed.

        May be called from any thread.
        """
        try:
            self._loop.call_soon_threadsafe(_finish, self.future)
        except RuntimeError:
            return False
        return True


def _finish(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ChannelQueue:
    """The messages of one channel, oldest first."""

    __slots__ = ("capacity", "messages", "name", "waiters")

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        self.messages: deque[StoredMessage] = deque()
        self.waiters: deque[Waiter] = deque()

    def __len__(self) -> int:
        return len(self.messages)

    def __bool__(self) -> bool:
        return True

    def qsize(self) -> int:
        """Return how many messages wait."""
        return len(self.messages)

    def empty(self) -> bool:
        """Tell whether no message waits."""
        return not self.messages

    def full(self) -> bool:
        """Tell whether the next message is refused; capacity 0 means no limit."""
        return 0 < self.capacity <= len(self.messages)

    def is_unused(self) -> bool:
        """Tell whether nothing and nobody waits here."""
        return not self.messages and not self.waiters

    def wake_one(self) -> None:
        """Wake the one that waits longest; those of closed loops are forgotten.

        The woken one is no waiter any more: it takes a message, or waits again.
        """
        while self.waiters:
            if self.waiters.popleft().wake():
                return

    def leave(self, waiter: Waiter) -> None:
        """Note that a waiter gives up: it may have been woken for a message."""
        try:
            self.waiters.remove(waiter)
        except ValueError:
            if self.messages:
                self.wake_one()
