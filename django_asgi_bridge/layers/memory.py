"""The channel layer of one process, which needs no service.

Usable from any thread and any event loop of the process: one lock guards the
tables, and nothing is awaited while it is held.
"""

import asyncio
import contextlib
import heapq
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.exceptions import BadMessage, ChannelFull
from django_asgi_bridge.layers.base import BaseChannelLayer, Capacities
from django_asgi_bridge.layers.copies import copier
from django_asgi_bridge.layers.queues import ChannelQueue, new_name, wake
from django_asgi_bridge.layers.stats import LayerStats
from django_asgi_bridge.protocol.messages import check_content, check_message
from django_asgi_bridge.types import Mailbox, Message

__all__ = ("InMemoryChannelLayer",)

logger = logging.getLogger("django_asgi_bridge.layers")

_LOG_EVERY = 10.0
"""Seconds between two log lines about full channels."""


class InMemoryChannelLayer(BaseChannelLayer):
    """Channels and groups in the memory of one process.

    Any Python object may be sent; a receiver gets a copy of its own.

    Args:
        expiry: seconds after which a message that nobody received is dropped; its
            channel then leaves all groups, as its reader seems to be gone. Channels
            that a live consumer reads are not subject to it.
        group_expiry: seconds after which a membership ends, for the same reason.
        capacity: messages that may wait in one channel.
        channel_capacity: capacities by channel name; see ``BaseChannelLayer``.
        clock: returns seconds; never goes back.

    Attributes:
        channels: messages that wait, by channel.
        groups: when each channel joined, by group.
    """

    extensions = ["groups", "flush"]

    def __init__(
        self,
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Capacities | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(expiry, capacity, channel_capacity)
        self.group_expiry = group_expiry
        self.channels: dict[str, ChannelQueue] = {}
        self.groups: dict[str, dict[str, float]] = {}
        self._clock = clock
        self._lock = threading.Lock()
        self._mailboxes: dict[str, Mailbox] = {}
        # The groups of each channel.
        self._memberships: dict[str, set[str]] = {}
        # When to look for expired messages: one entry for each channel that has any.
        self._deadlines: list[tuple[float, str]] = []
        self._stats = LayerStats()
        self._unlogged = 0
        self._logged_at = float("-inf")
        self._has_warned = False

    def stats(self) -> LayerStats:
        """Return the counts so far."""
        with self._lock:
            kept = self._stats
            return LayerStats(kept.sent, kept.delivered, kept.dropped, kept.expired)

    # Channels.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel.

        Raises:
            ChannelFull: as many messages wait as its capacity allows.
            NotAMessage: the message is no dictionary.
            TypeError: the name is not valid.
        """
        check_message(message)
        self.require_valid_channel_name(channel)
        self._warn_of_content(message)
        copied = copier(message)()
        with self._lock:
            self._expire()
            self._stats.sent += 1
            mailbox = self._mailboxes.get(channel)
            is_delivered = mailbox is None and self._store(channel, copied)
        if mailbox is not None:
            is_delivered = mailbox.put_event(copied, self.get_capacity(channel))
            self._note_put(1 if is_delivered else 0, [] if is_delivered else [channel])
        elif not is_delivered:
            with self._lock:
                self._stats.dropped += 1
        if not is_delivered:
            raise ChannelFull(channel)

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel.

        Several may wait for one channel; each message goes to one of them. A
        cancelled ``receive()`` takes no message with it.
        """
        self.require_valid_channel_name(channel)
        while True:
            waiter: asyncio.Future[None] | None = None
            with self._lock:
                self._expire()
                entry = self.channels.get(channel)
                if entry is None:
                    entry = self.channels[channel] = ChannelQueue()
                if entry.messages:
                    _, message = entry.messages.popleft()
                    self._stats.delivered += 1
                    self._tidy(channel, entry)
                    return message
                waiter = asyncio.get_running_loop().create_future()
                entry.waiters.append(waiter)
            try:
                await waiter
            finally:
                with self._lock:
                    with contextlib.suppress(ValueError):
                        entry.waiters.remove(waiter)
                    self._tidy(channel, entry)

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a channel name that nobody else has."""
        return new_name(prefix)

    # Groups.

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel receive what is sent to a group."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        with self._lock:
            members = self.groups.setdefault(group, {})
            # Behind those that joined earlier: expiry looks at the first ones only.
            members.pop(channel, None)
            members[channel] = self._clock()
            self._memberships.setdefault(channel, set()).add(group)

    async def group_discard(self, group: str, channel: str) -> None:
        """Let a channel no longer receive what is sent to a group."""
        self.require_valid_channel_name(channel)
        self.require_valid_group_name(group)
        with self._lock:
            self._leave(group, channel)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all channels of a group.

        Members whose channel is full miss it, which is counted and logged.
        """
        check_message(message, "Message")
        self.require_valid_group_name(group)
        self._warn_of_content(message)
        make = copier(message)
        mailboxes: list[tuple[str, Mailbox]] = []
        with self._lock:
            self._expire()
            self._expire_members(group)
            members = self.groups.get(group, {})
            self._stats.sent += len(members)
            for channel in members:
                mailbox = self._mailboxes.get(channel)
                if mailbox is not None:
                    mailboxes.append((channel, mailbox))
                elif not self._store(channel, make()):
                    self._stats.dropped += 1
                    self._unlogged += 1
        if self.channel_capacity:
            lost = [
                channel
                for channel, mailbox in mailboxes
                if not mailbox.put_event(make(), self.get_capacity(channel))
            ]
        else:
            capacity = self.capacity
            lost = [
                channel
                for channel, mailbox in mailboxes
                if not mailbox.put_event(make(), capacity)
            ]
        self._note_put(len(mailboxes) - len(lost), lost)
        self._log_full(group)

    async def group_broadcast_frame(self, group: str, frame: Message) -> None:
        """Send a frame to the sockets of a group; see ``layers.group_broadcast``."""
        self.require_valid_group_name(group)
        with self._lock:
            self._expire_members(group)
            members = self.groups.get(group, {})
            known = self._mailboxes
            mailboxes = [
                (channel, known[channel]) for channel in members if channel in known
            ]
            self._stats.sent += len(mailboxes)
        lost = [
            channel
            for channel, mailbox in mailboxes
            if not mailbox.put_frame(frame, group)
        ]
        self._note_put(len(mailboxes) - len(lost), lost)

    # Live consumers.

    async def open_mailbox(self, mailbox: Mailbox) -> str:
        """Return a new channel whose messages go into ``mailbox``, without a task."""
        name = new_name("specific.")
        with self._lock:
            self._mailboxes[name] = mailbox
        return name

    def close_mailbox(self, channel: str) -> None:
        """Forget a consumer: its channel leaves every group it is in."""
        with self._lock:
            self._mailboxes.pop(channel, None)
            self._leave_all(channel)

    # The whole layer.

    async def flush(self) -> None:
        """Forget all messages and groups; live consumers keep their channels."""
        with self._lock:
            for entry in self.channels.values():
                self._stats.dropped += len(entry.messages)
                entry.messages.clear()
            self.channels.clear()
            self.groups.clear()
            self._memberships.clear()
            self._deadlines.clear()

    async def close(self) -> None:
        """Do nothing: there is no connection."""

    # The tables; the lock is held.

    def _store(self, channel: str, message: dict[str, Any]) -> bool:
        """Keep a message for whoever receives; tell whether there was room."""
        entry = self.channels.get(channel)
        if entry is None:
            entry = self.channels[channel] = ChannelQueue()
        if len(entry.messages) >= self.get_capacity(channel):
            return False
        deadline = self._clock() + self.expiry
        entry.messages.append((deadline, message))
        if not entry.is_watched:
            entry.is_watched = True
            heapq.heappush(self._deadlines, (deadline, channel))
        for waiter in entry.waiters:
            wake(waiter)
        return True

    def _tidy(self, channel: str, entry: ChannelQueue) -> None:
        """Remove a channel that holds nothing and that nobody waits for."""
        if entry.messages or entry.waiters:
            return
        if self.channels.get(channel) is entry:
            del self.channels[channel]

    def _expire(self) -> None:
        """Drop the messages that have waited too long, and their channels' groups."""
        now = self._clock()
        deadlines = self._deadlines
        while deadlines and deadlines[0][0] < now:
            _, channel = heapq.heappop(deadlines)
            entry = self.channels.get(channel)
            if entry is None:
                continue
            entry.is_watched = False
            before = len(entry.messages)
            while entry.messages and entry.messages[0][0] < now:
                entry.messages.popleft()
            expired = before - len(entry.messages)
            if expired:
                self._stats.expired += expired
                self._leave_all(channel)
            if entry.messages:
                entry.is_watched = True
                heapq.heappush(deadlines, (entry.messages[0][0], channel))
            self._tidy(channel, entry)

    def _expire_members(self, group: str) -> None:
        """End memberships that are too old, unless their consumer lives."""
        members = self.groups.get(group)
        if not members:
            return
        now = self._clock()
        for channel, joined in list(members.items()):
            if joined >= now - self.group_expiry:
                return
            if channel in self._mailboxes:
                del members[channel]
                members[channel] = now
            else:
                self._leave(group, channel)

    def _leave(self, group: str, channel: str) -> None:
        members = self.groups.get(group)
        if members is not None:
            members.pop(channel, None)
            if not members:
                del self.groups[group]
        groups = self._memberships.get(channel)
        if groups is not None:
            groups.discard(group)
            if not groups:
                del self._memberships[channel]

    def _leave_all(self, channel: str) -> None:
        for group in tuple(self._memberships.get(channel, ())):
            self._leave(group, channel)

    # Counting; the lock is not held.

    def _note_put(self, delivered: int, lost: list[str]) -> None:
        with self._lock:
            self._stats.delivered += delivered
            self._stats.dropped += len(lost)
            self._unlogged += len(lost)
            gone = [
                channel
                for channel in lost
                if (mailbox := self._mailboxes.get(channel)) and mailbox.is_gone
            ]
        for channel in gone:
            self.close_mailbox(channel)

    def _log_full(self, group: str) -> None:
        now = self._clock()
        if not self._unlogged or now - self._logged_at < _LOG_EVERY:
            return
        with self._lock:
            count, self._unlogged = self._unlogged, 0
            self._logged_at = now
        logger.warning(
            "%d messages were dropped because their channels were full, the last of "
            "them for group %r: its members receive more slowly than it is sent to",
            count,
            group,
        )

    def _warn_of_content(self, message: dict[str, Any]) -> None:
        """Say once, under DEBUG, what a layer that serialises would refuse."""
        if self._has_warned or not django_settings.DEBUG:
            return
        try:
            check_content(message)
        except BadMessage as error:
            self._has_warned = True
            logger.warning(
                "a layer between processes would refuse a message: %s", error
            )
