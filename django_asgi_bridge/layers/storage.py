"""The messages that wait in memory, of all channels, and the layer's counters.

Nothing here locks: the layer does, around each call.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.layers.queues import ChannelQueue, StoredMessage, Waiter
from django_asgi_bridge.layers.stats import LayerStats

__all__ = ("Storage",)


class Storage:
    """Channels with their messages; each call costs the same however many wait.

    Args:
        capacity_of: returns how many messages may wait in a channel, 0 for any
            number; asked once for each channel that comes to be.
        clock: returns the time in seconds.
        on_expired: called with the channel's name for each message that expires.

    Attributes:
        channels: the channels where something or somebody waits.
    """

    __slots__ = (
        "_capacity_of",
        "_clock",
        "_number",
        "_on_expired",
        "_waiting",
        "channels",
        "delivered",
        "dropped",
        "expired",
        "sent",
    )

    def __init__(
        self,
        capacity_of: Callable[[str], int],
        clock: Callable[[], float],
        on_expired: Callable[[str], None],
    ) -> None:
        self.channels: dict[str, ChannelQueue] = {}
        # The oldest first, which is the order of their expiry.
        self._waiting: OrderedDict[int, StoredMessage] = OrderedDict()
        self._number = 0
        self._capacity_of = capacity_of
        self._clock = clock
        self._on_expired = on_expired
        self.sent = self.delivered = self.dropped = self.expired = 0

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._waiting)

    def stats(self) -> LayerStats:
        """Return the counters as they are now."""
        return LayerStats(
            sent=self.sent,
            delivered=self.delivered,
            dropped=self.dropped,
            expired=self.expired,
            waiting=len(self._waiting),
        )

    def put(self, channel: str, message: dict[str, Any], expiry: float) -> bool:
        """Store a message; False if the channel is full.

        Args:
            expiry: seconds after which it may be dropped.
        """
        self.sent += 1
        queue = self.queue(channel)
        now = self._clock()
        while queue.full() and queue.messages[0].deadline <= now:
            self._expire(queue.messages[0])
        if queue.full():
            self.dropped += 1
            return False
        self._number += 1
        stored = StoredMessage(self._number, queue, now + expiry, message)
        self._waiting[self._number] = stored
        queue.messages.append(stored)
        # It may have been taken out, the last time here or by a waiter's end.
        self.channels[channel] = queue
        queue.wake_one()
        return True

    def queue(self, channel: str) -> ChannelQueue:
        """Return the queue of a channel, a new one where nothing waits."""
        queue = self.channels.get(channel)
        if queue is None:
            queue = ChannelQueue(channel, self._capacity_of(channel))
            self.channels[channel] = queue
        return queue

    def take(self, queue: ChannelQueue) -> dict[str, Any] | None:
        """Return the oldest message of a channel; None when none waits."""
        if not queue.messages:
            return None
        stored = queue.messages.popleft()
        del self._waiting[stored.number]
        self.delivered += 1
        if queue.messages:
            # The one that was woken for it may be on a loop that never ran again.
            queue.wake_one()
        self._remove_if_unused(queue)
        return stored.message

    def join(self, queue: ChannelQueue, *, in_front: bool) -> Waiter:
        """Wait in line, on the running loop, for a message of a channel."""
        waiter = Waiter()
        if in_front:
            queue.waiters.appendleft(waiter)
        else:
            queue.waiters.append(waiter)
        return waiter

    def give_up(self, queue: ChannelQueue, waiter: Waiter) -> None:
        """Leave the line; a message that the waiter was woken for is for the next."""
        queue.leave(waiter)
        self._remove_if_unused(queue)

    def sweep(self) -> None:
        """Drop what has expired: each message is looked at once in its life."""
        if not self._waiting:
            return
        now = self._clock()
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if oldest.deadline > now:
                return
            self._expire(oldest)

    def clear(self) -> None:
        """Drop all messages; who waits goes on waiting."""
        self.dropped += len(self._waiting)
        self._waiting.clear()
        for queue in list(self.channels.values()):
            queue.messages.clear()
            self._remove_if_unused(queue)

    def _expire(self, oldest: StoredMessage) -> None:
        """Drop the oldest message of a channel."""
        queue = oldest.queue
        queue.messages.popleft()
        del self._waiting[oldest.number]
        self.expired += 1
        self._on_expired(queue.name)
        self._remove_if_unused(queue)

    def _remove_if_unused(self, queue: ChannelQueue) -> None:
        if queue.is_unused() and self.channels.get(queue.name) is queue:
            del self.channels[queue.name]
