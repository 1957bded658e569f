"""The channel layer of one process, in its memory.

It has no task, no thread and no event loop of its own: each operation is done
when its call returns, from whatever thread and loop. A lock is held only for steps
that never wait and never run a caller's code.
"""

from __future__ import annotations

import os
import re
import string
import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Final

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.exceptions import ChannelFull
from django_asgi_bridge.layers.base import BaseChannelLayer, require_message
from django_asgi_bridge.layers.broadcast import (
    MISSING,
    broadcast_event,
    broadcast_frame,
    broadcast_payload,
)
from django_asgi_bridge.layers.copies import is_flat, isolated
from django_asgi_bridge.layers.losses import LossLog, warn_of_content
from django_asgi_bridge.layers.members import LiveChannel, Members
from django_asgi_bridge.layers.queues import ChannelQueue
from django_asgi_bridge.layers.stats import LayerStats
from django_asgi_bridge.layers.storage import Storage
from django_asgi_bridge.sockets import put_frames
from django_asgi_bridge.types.layers import Mailbox

__all__ = ("InMemoryChannelLayer",)

_SWEEP_FROM: Final = 1024
"""Waiting messages from which ``send`` drops expired ones too.

Below, as in Channels, only ``receive`` and ``group_send`` do; a process that only
sends would otherwise fill its memory.
"""

_CONSUMERS: Final = re.compile(r"specific\.\.inmemory![0-9][a-zA-Z]{11}\Z")
"""The channel of a consumer, also of one that has left: a digit follows the mark.

Nobody may join a group, or have messages wait, under the name of one that has left.
"""

_LETTERS: Final = bytes(ord(string.ascii_letters[each % 52]) for each in range(256))
"""The letter that stands for a random byte."""


class InMemoryChannelLayer(BaseChannelLayer):
    """A channel layer for consumers and senders in one process.

    Any object may be sent, and no receiver sees another's change to it: each gets
    its own copy. Messages reach receivers and consumers on every thread and event
    loop of the process, none outside it.

    Args:
        expiry: seconds after which a message that nobody read is dropped; its
            channel leaves all groups, unless a consumer reads it.
        group_expiry: seconds after which a membership ends that was not renewed;
            that of a channel that a consumer reads lasts until it leaves.
        capacity: messages that may wait in one channel; 0 for no limit.
        channel_capacity: capacities by glob or compiled regular expression.
        clock: returns the time in seconds; only differences count.
    """

    extensions: ClassVar[list[str]] = ["groups", "flush"]

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(expiry, capacity, channel_capacity)
        self.group_expiry = group_expiry
        self._clock = clock
        self._mailboxes: dict[str, LiveChannel] = {}
        self._members = Members()
        self._storage = Storage(self.get_capacity, clock, self._members.leave)
        # Reentrant: the collector may end a coroutine that waits in `receive`
        # while this thread holds it.
        self._lock = threading.RLock()
        self._losses = LossLog(clock)
        self._is_checking = django_settings.configured and django_settings.DEBUG

    @property
    def channels(self) -> dict[str, ChannelQueue]:
        """The channels where something or somebody waits; to be read only.

        A consumer's is there from before its ``connect()``; its messages go
        straight to the consumer, so none waits in it.
        """
        stored = self._storage.channels
        if not self._mailboxes:
            return stored
        with self._lock:
            consumers = {
                each.name: ChannelQueue(each.name, each.capacity)
                for each in list(self._mailboxes.values())
            }
            return consumers | stored

    @property
    def groups(self) -> dict[str, dict[str, float]]:
        """When each channel joined, by group and channel; to be read only."""
        return self._members.groups

    def stats(self) -> LayerStats:
        """Return what became of all messages so far."""
        with self._lock:
            return self._storage.stats()

    # One channel.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Put a copy of a message into a channel.

        To a consumer that has left it is counted as dropped, and no error.

        Raises:
            BadMessage: the message is no dict.
            ChannelFull: as many messages wait as the channel's capacity allows.
            TypeError: the name is no channel name.
        """
        require_message(message)
        self.require_valid_channel_name(channel)
        if self._is_checking:
            warn_of_content(message)
        own = isolated(message)
        live = self._mailboxes.get(channel)
        if live is not None:
            is_taken = live.mailbox.put_event(own, live.capacity)
            self._count([] if is_taken else [live], sent=1)
            is_taken = is_taken or live.is_gone()
        else:
            with self._lock:
                if len(self._storage) >= _SWEEP_FROM:
                    self._sweep()
                is_taken = self._put(channel, own)
        if not is_taken:
            raise ChannelFull(
                f"channel {channel!r} is full: its capacity is"
                f" {self.get_capacity(channel)} waiting messages."
            )

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the oldest message of a channel, and take it.

        Several may wait, on any threads and loops; each message goes to one of
        them. A ``receive()`` that is cancelled takes no message.

        Raises:
            RuntimeError: a consumer reads the channel.
            TypeError: the name is no channel name.
        """
        self.require_valid_channel_name(channel)
        if channel in self._mailboxes:
            raise RuntimeError(
                f"channel {channel!r} is read by its consumer; receive() on a name of"
                f" new_channel() instead."
            )
        with self._lock:
            self._sweep()
        queue: ChannelQueue | None = None
        while True:
            with self._lock:
                is_woken = queue is not None
                if queue is None or queue.empty():
                    queue = self._storage.queue(channel)
                message = self._storage.take(queue)
                if message is not None:
                    return message
                # Woken, but somebody else was faster: first in line again.
                waiter = self._storage.join(queue, in_front=is_woken)
            try:
                await waiter.future
            except BaseException:
                with self._lock:
                    self._storage.give_up(queue, waiter)
                raise

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a channel name that nobody else has: ``<prefix>.inmemory!<12>``."""
        return f"{prefix}.inmemory!{_letters(12)}"

    # Groups.

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group, or renew its membership.

        A consumer that has left is not added.

        Raises:
            TypeError: a name is not valid.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            live = self._mailboxes.get(channel)
            if live is not None or not _is_consumers(channel):
                self._members.add(group, channel, self._clock(), live)

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group; one that is not in it is no error.

        Raises:
            TypeError: a name is not valid.
        """
        self.require_valid_channel_name(channel)
        self.require_valid_group_name(group)
        with self._lock:
            self._members.discard(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Put a copy of a message into each channel of a group.

        What a full channel refuses is counted, and logged once for a burst.

        Raises:
            BadMessage: the message is no dict.
            TypeError: the name is no group name.
        """
        require_message(message, "Message")
        self.require_valid_group_name(group)
        if self._is_checking:
            warn_of_content(message)
        live, others = self._recipients(group)
        copied: Callable[[dict[str, Any]], dict[str, Any]] = (
            dict if is_flat(message) else isolated
        )
        refused = [
            each
            for each in live
            if not each.mailbox.put_event(copied(message), each.capacity)
        ]
        self._count(refused, sent=len(live))
        lost = len(refused) + self._store_each(others, copied, message)
        if lost:
            self._losses.note(group, lost)

    async def group_broadcast(
        self,
        group: str,
        *,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        json: object = MISSING,
    ) -> None:
        """Send one frame to the client of each consumer in a group.

        All sockets share the frame, encoded once. Members that no consumer reads
        get it as an event of the type ``bridge.broadcast``.

        Raises:
            ValueError: not exactly one of the three contents is given.
            BadMessage: the content is of the wrong type, or no JSON.
            TypeError: the name is no group name.
        """
        self.require_valid_group_name(group)
        payload = broadcast_payload(text_data, bytes_data, json)
        frame = broadcast_frame(payload)
        live, others = self._recipients(group)
        refused = put_frames(live, frame, group)
        self._count(refused, sent=len(live))
        lost = len(refused)
        lost += self._store_each(others, dict, broadcast_event(group, payload))
        if lost:
            self._losses.note(group, lost)

    # Live consumers.

    async def open_mailbox(self, mailbox: Mailbox) -> str:
        """Let a consumer of the running loop read a new channel.

        Returns:
            The channel's name. Its messages go into the mailbox at once, and it
            stays in its groups until ``close_mailbox``.
        """
        name = f"specific..inmemory!0{_letters(11)}"
        capacity = self.get_capacity(name) or sys.maxsize
        self._mailboxes[name] = LiveChannel.here(name, mailbox, capacity)
        return name

    def close_mailbox(self, channel: str) -> None:
        """End a consumer's channel: it leaves all groups, from any thread.

        A second call, or one for another channel, does nothing.
        """
        with self._lock:
            if self._mailboxes.pop(channel, None) is not None:
                self._members.leave(channel)

    # The whole layer.

    async def flush(self) -> None:
        """Drop all messages and memberships; live consumers keep their channels."""
        with self._lock:
            self._storage.clear()
            self._members.clear()

    async def close(self) -> None:
        """Do nothing: the layer holds no connection."""

    # Steps of more than one operation.

    def _recipients(self, group: str) -> tuple[list[LiveChannel], list[str]]:
        """Return a group's members: those that consumers read, and the others."""
        with self._lock:
            self._sweep()
            return self._members.live(group), self._members.others(group)

    def _store_each(
        self,
        channels: list[str],
        copied: Callable[[dict[str, Any]], dict[str, Any]],
        message: dict[str, Any],
    ) -> int:
        """Store a copy for each channel; return how many were refused."""
        # The copies first: they may run a caller's code, which the lock must not.
        pairs = [(channel, copied(message)) for channel in channels]
        with self._lock:
            return sum(not self._put(channel, own) for channel, own in pairs)

    def _put(self, channel: str, own: dict[str, Any]) -> bool:
        """Store a message, with the lock held; False if the channel is full."""
        if _is_consumers(channel):
            self._storage.sent += 1
            self._storage.dropped += 1
            return True
        return self._storage.put(channel, own, self.expiry)

    def _count(self, refused: list[LiveChannel], *, sent: int) -> None:
        """Count what consumers took or refused, and forget those that are gone."""
        with self._lock:
            self._storage.sent += sent
            self._storage.delivered += sent - len(refused)
            self._storage.dropped += len(refused)
        for each in refused:
            if each.is_gone():
                self.close_mailbox(each.name)

    def _sweep(self) -> None:
        self._storage.sweep()
        self._members.expire(self._clock() - self.group_expiry)


def _is_consumers(channel: str) -> bool:
    return bool(_CONSUMERS.match(channel))


def _letters(count: int) -> str:
    # Not a seeded generator: tests that seed it anew would get one name twice. Of
    # 50**11 names none comes twice.
    return os.urandom(count).translate(_LETTERS).decode()
