"""What a layer has on one event loop: the consumers there and their subscriptions."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.layers.copies import is_flat, isolated
from django_asgi_bridge.layers.redis.arrivals import Arrivals
from django_asgi_bridge.layers.redis.counts import Counts
from django_asgi_bridge.layers.redis.envelopes import Envelope, Envelopes, Kind
from django_asgi_bridge.layers.redis.lists import Lists
from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.layers.redis.subscriptions import Subscriptions
from django_asgi_bridge.sockets import put_frames
from django_asgi_bridge.types.layers import Mailbox

__all__ = ("Home", "Member")

logger = logging.getLogger("django_asgi_bridge.layers")


class Member:
    """A consumer on this loop.

    Attributes:
        mailbox: where its messages go.
        capacity: events that may wait there.
    """

    __slots__ = ("capacity", "mailbox")

    def __init__(self, mailbox: Mailbox, capacity: int) -> None:
        self.mailbox = mailbox
        self.capacity = capacity


class Home:
    """The consumers of one loop.

    Args:
        session: on this loop.
        envelopes: reads what comes.
        counts: of the layer.
        patience: seconds to wait for a subscription.
        expiry: seconds that a message given back to its list waits there.
        on_end: called when the loop ends, or ``close()`` was called.
    """

    def __init__(
        self,
        session: Session,
        envelopes: Envelopes,
        counts: Counts,
        *,
        patience: float,
        expiry: float,
        on_end: Callable[[], object],
    ) -> None:
        self.session = session
        self.loop = asyncio.get_running_loop()
        self.id = secrets.token_hex(8)
        self._envelopes = envelopes
        self._counts = counts
        self._on_end = on_end
        self._mailboxes: dict[str, Member] = {}
        self._groups: dict[str, dict[str, Member]] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._arrivals = Arrivals(self._on_lost, self.loop.call_later)
        self._subscriptions = Subscriptions(
            session, self._on_message, self._on_gap, patience=patience
        )
        self.lists = Lists(
            session, self._subscriptions, counts, name=self.id, expiry=expiry
        )
        self._keeper = self.loop.create_task(self._keep())

    # Consumers.

    async def open(self, mailbox: Mailbox, channel: str, capacity: int) -> None:
        """Let what comes for a channel go into a mailbox."""
        if not self._mailboxes:
            await self._subscriptions.begin("live", self.id)
        self._mailboxes[channel] = Member(mailbox, capacity)

    def close_mailbox(self, channel: str) -> None:
        """Forget a consumer, from any thread."""
        try:
            is_here = asyncio.get_running_loop() is self.loop
        except RuntimeError:
            is_here = False
        if is_here:
            self._forget(channel)
            return
        # A loop that is closed has no consumers any more.
        with contextlib.suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self._forget, channel)

    def _forget(self, channel: str) -> None:
        """Let a consumer's channel leave its groups."""
        for group in tuple(self._groups_of.get(channel, ())):
            self._remove(group, channel)
        self._mailboxes.pop(channel, None)

    def has(self, channel: str) -> bool:
        """Tell whether a consumer here reads a channel."""
        return channel in self._mailboxes

    async def join(self, group: str, channel: str) -> None:
        """Let a consumer here receive what is sent to a group."""
        member = self._mailboxes.get(channel)
        if member is None:
            return
        members = self._groups.setdefault(group, {})
        is_first = not members
        members[channel] = member
        self._groups_of.setdefault(channel, set()).add(group)
        if is_first:
            await self._subscriptions.begin("group", group)
        else:
            await self._subscriptions.settled("group", group)

    def leave(self, group: str, channel: str) -> None:
        """Let a consumer here receive it no longer."""
        if channel in self._groups.get(group, ()):
            self._remove(group, channel)

    def _remove(self, group: str, channel: str) -> None:
        members = self._groups[group]
        members.pop(channel, None)
        self._groups_of[channel].discard(group)
        if not self._groups_of[channel]:
            del self._groups_of[channel]
        if not members:
            del self._groups[group]
            self._arrivals.forget(group)
            self._subscriptions.end("group", group)

    # What comes.

    def _on_message(self, key: str, data: bytes) -> None:
        kind, _, name = key[len(self.session.prefix) + 1 :].partition(":")
        if kind == "wake":
            self.lists.ring(name)
            return
        try:
            envelope = self._envelopes.open(data, name if kind == "group" else None)
        except Exception as error:
            self._counts.poisoned += 1
            logger.warning("what came for %r is left out: %s", key, error)
            return
        if kind == "group":
            members = list(self._groups.get(name, {}).values())
            if not self._arrivals.note(name, envelope.sender, envelope.number):
                # Once told as lost it stays so: the numbers add up.
                self._counts.dropped += len(members)
                return
        else:
            member = self._mailboxes.get(envelope.name)
            members = [] if member is None else [member]
        self._deliver(envelope, members)

    def _deliver(self, envelope: Envelope, members: list[Member]) -> None:
        message = envelope.message
        if envelope.kind is Kind.FRAME:
            frame = {"type": "websocket.send", **message}
            taken = len(members) - len(put_frames(members, frame, envelope.name))
        elif envelope.kind is Kind.EVENT:
            copied: Any = dict if is_flat(message) else isolated
            taken = sum(
                _is_put(each.mailbox.put_event, copied(message), each.capacity)
                for each in members
            )
        elif members:
            group = str(message.get("group"))
            if envelope.kind is Kind.JOIN:
                self._subscriptions.in_background(self.join(group, envelope.name))
            else:
                self.leave(group, envelope.name)
            return
        else:
            return
        self._counts.delivered += taken
        self._counts.dropped += len(members) - taken

    def _on_lost(self, group: str, lost: int) -> None:
        """Tell the members how many messages of one sender were lost."""
        for member in self._groups.get(group, {}).values():
            member.mailbox.note_gap({group: lost})

    def _on_gap(self, shard: int) -> None:
        """Tell the consumers that messages of a server may have been lost."""
        for channel, member in self._mailboxes.items():
            names = [channel, *self._groups_of.get(channel, ())]
            # Direct messages come over the server of this loop's own name.
            on_shard = {
                name: None
                for name in names
                if self.session.shard_of(self.id if name == channel else name) == shard
            }
            if on_shard:
                member.mailbox.note_gap(on_shard)
        self.lists.ring_all()

    # The end.

    async def _keep(self) -> None:
        """Hold the connections until the loop ends, and close them with it."""
        try:
            await self.loop.create_future()
        finally:
            self._on_end()
            self.lists.close()
            await self._finish()
            await self._subscriptions.close()
            await self.session.close()

    async def _finish(self) -> None:
        """Let what was begun end: a message that was taken would be lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self.session.timeout):
                while begun := {*self._subscriptions.tasks, *self.lists.askings}:
                    await asyncio.wait(begun)

    async def close(self) -> None:
        """Close the connections, on this loop."""
        self._keeper.cancel()
        await asyncio.wait([self._keeper])


def _is_put(put: Callable[[Any, Any], bool], message: Any, bound: Any) -> bool:
    """Give a member its message; what fails there is no matter of the others."""
    try:
        return put(message, bound)
    except Exception:
        logger.exception("a consumer could not be given its message")
        return False
