"""Queues with a bound, and what happens to an item that is one too many.

These are rules alone: nothing here waits, and nothing is lost without being counted.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Hashable
from typing import Any, Generic, TypeVar

__all__ = ("EMPTY", "BoundedQueue", "LatestQueue", "Overflow", "make_queue")

_T = TypeVar("_T")


class Overflow(enum.StrEnum):
    """The answer of a queue to an item for which there is no room."""

    BLOCK = "block"
    """Whoever has the item waits; nothing is dropped."""
    CLOSE = "close"
    """The item is dropped, and the connection closed with code 1013."""
    DROP_OLDEST = "drop_oldest"
    """The item that has waited longest makes room."""
    DROP_NEWEST = "drop_newest"
    """The item itself is dropped."""
    LATEST_BY_KEY = "latest_by_key"
    """An item replaces the waiting one of its key, even where there is room; where
    there is none, the one that has waited longest makes room."""


class BoundedQueue(Generic[_T]):
    """First in, first out, up to a number of items and of bytes.

    Every item that was offered is taken, dropped, refused (``BLOCK`` only) or still
    waiting: ``offered == taken + dropped + refused + len(queue)``.

    Args:
        policy: what happens when it is full. With ``BLOCK`` and ``CLOSE`` the
            caller acts on the refusal.
        bound: items that may wait.
        max_bytes: sum of the sizes that may wait; None for no limit.

    Attributes:
        dropped: items lost since the queue was made.
        entered: items that have waited or still do.
        bytes: sum of the sizes of what waits.
    """

    __slots__ = (
        "_items",
        "bound",
        "bytes",
        "dropped",
        "entered",
        "max_bytes",
        "policy",
    )

    def __init__(
        self, policy: Overflow, bound: int, max_bytes: int | None = None
    ) -> None:
        self.policy = policy
        self.bound = bound
        self.max_bytes = max_bytes
        self.bytes = 0
        self.dropped = 0
        self.entered = 0
        # A list: an empty deque takes 760 bytes, times the queues of each socket.
        self._items: list[tuple[_T, int]] = []

    def __len__(self) -> int:
        return len(self._items)

    @property
    def left(self) -> int:
        """How many items entered before the one that has waited longest.

        That is all, when none waits.
        """
        return self.entered - len(self)

    def is_full(self, size: int = 0, bound: int | None = None) -> bool:
        """Tell whether one more item of ``size`` bytes has no room."""
        count = len(self)
        if count >= (self.bound if bound is None else bound):
            return True
        limit = self.max_bytes
        return limit is not None and count > 0 and self.bytes + size > limit

    def offer(
        self,
        item: _T,
        key: Hashable = None,
        size: int = 0,
        bound: int | None = None,
    ) -> bool:
        """Queue an item; tell whether it waits now.

        Args:
            key: what ``LATEST_BY_KEY`` goes by.
            size: its bytes. One that is larger than ``max_bytes`` may wait alone.
            bound: items that may wait, in place of the queue's own.
        """
        if self.is_full(size, bound):
            if self.policy is Overflow.BLOCK:
                return False
            if self.policy is not Overflow.DROP_OLDEST:
                self.dropped += 1
                return False
            while len(self) and self.is_full(size, bound):
                self.take()
                self.dropped += 1
        self._items.append((item, size))
        self.entered += 1
        self.bytes += size
        return True

    def take(self) -> _T:
        """Return the item that has waited longest.

        Raises:
            IndexError: nothing waits.
        """
        item, size = self._items.pop(0)
        self.bytes -= size
        return item

    def take_first(self, suits: Callable[[_T], bool]) -> _T | None:
        """Return the first item that suits, or None; the others keep their order."""
        for index, (item, size) in enumerate(self._items):
            if suits(item):
                del self._items[index]
                self.bytes -= size
                return item
        return None

    def drop_all(self) -> int:
        """Drop what waits; return how many items that were."""
        count = len(self)
        self.dropped += count
        self._items.clear()
        self.bytes = 0
        return count


class LatestQueue(BoundedQueue[_T]):
    """A ``BoundedQueue`` in which only the latest item of a key waits."""

    __slots__ = ("_latest",)

    def __init__(self, bound: int, max_bytes: int | None = None) -> None:
        super().__init__(Overflow.LATEST_BY_KEY, bound, max_bytes)
        # In order of entry: the item, its size and how many entered before it.
        self._latest: dict[Hashable, tuple[_T, int, int]] = {}

    def __len__(self) -> int:
        return len(self._latest)

    @property
    def left(self) -> int:
        # Items leave from the middle, too: those count when all before them have left.
        for _, _, earlier in self._latest.values():
            return earlier
        return self.entered

    def offer(
        self,
        item: _T,
        key: Hashable = None,
        size: int = 0,
        bound: int | None = None,
    ) -> bool:
        earlier = self._latest.pop(key, None)
        if earlier is not None:
            self.bytes -= earlier[1]
            self.dropped += 1
        while self._latest and self.is_full(size, bound):
            self.take()
            self.dropped += 1
        self._latest[key] = (item, size, self.entered)
        self.entered += 1
        self.bytes += size
        return True

    def take(self) -> _T:
        try:
            key = next(iter(self._latest))
        except StopIteration:
            raise IndexError("nothing waits") from None
        item, size, _ = self._latest.pop(key)
        self.bytes -= size
        return item

    def take_first(self, suits: Callable[[_T], bool]) -> _T | None:
        for key, (item, size, _) in self._latest.items():
            if suits(item):
                del self._latest[key]
                self.bytes -= size
                return item
        return None

    def drop_all(self) -> int:
        count = super().drop_all()
        self._latest.clear()
        return count


def make_queue(
    policy: Overflow, bound: int, max_bytes: int | None = None
) -> BoundedQueue[_T]:
    """Return an empty queue that keeps ``policy``."""
    if policy is Overflow.LATEST_BY_KEY:
        return LatestQueue(bound, max_bytes)
    return BoundedQueue(policy, bound, max_bytes)


EMPTY: BoundedQueue[Any] = BoundedQueue(Overflow.DROP_NEWEST, 0)
"""Stands for a queue in which nothing has waited yet; nothing is put into it."""
