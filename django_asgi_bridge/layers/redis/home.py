"""What a layer has on one event loop: the consumers there and their subscriptions."""

import asyncio
import contextlib
import itertools
import logging
import secrets
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.copies import is_flat, isolated
from django_asgi_bridge.layers.redis.arrivals import Arrivals
from django_asgi_bridge.layers.redis.envelopes import Envelope, Envelopes, Kind
from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.layers.redis.subscriber import Subscriber
from django_asgi_bridge.types import Mailbox

__all__ = ("Counts", "Home", "Lane", "Member")

logger = logging.getLogger("django_asgi_bridge.layers")

_MAX_KNOWN = 10_000
"""Lists that were received from and are remembered."""


class Member(NamedTuple):
    """A consumer on this loop.

    Attributes:
        mailbox: where its messages go.
        capacity: events that may wait there.
    """

    mailbox: Mailbox
    capacity: int


class Lane:
    """A reader of one list, which asks for one message after the other.

    Attributes:
        name: of the reader, in Redis.
        number: of the message that it asks for; the same until it has got it.
    """

    __slots__ = ("name", "number")

    def __init__(self, name: str) -> None:
        self.name = name
        self.number = 1


class _Line:
    """Those here who receive from one list.

    Attributes:
        waiters: who waits for a message.
        lanes: that nobody uses now.
    """

    __slots__ = ("lanes", "users", "waiters")

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []
        self.lanes: list[Lane] = []
        self.users = 0


class Counts:
    """What a layer counts in this process."""

    __slots__ = ("delivered", "dropped", "expired", "poisoned", "sent")

    def __init__(self) -> None:
        self.sent = self.delivered = self.dropped = self.expired = self.poisoned = 0


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
        self._expiry = expiry
        self._mailboxes: dict[str, Member] = {}
        self._groups: dict[str, dict[str, Member]] = {}
        self._groups_of: dict[str, set[str]] = {}
        self._arrivals = Arrivals(self._on_lost, self.loop.call_later)
        # Lists that somebody here receives from.
        self._lists: OrderedDict[str, _Line] = OrderedDict()
        self._lanes = itertools.count()
        # How often a list was heard of: it may be while a receiver looks into it.
        self._rings = 0
        self._tasks: set[asyncio.Task[None]] = set()
        # One for each reader that asks Redis now.
        self._askings: set[asyncio.Future[None]] = set()
        self.is_closed = False
        self._subscribers = [
            Subscriber(
                client,
                self._on_message,
                lambda shard=index: self._on_gap(shard),  # type: ignore[misc] # bound now
                patience=patience,
            )
            for index, client in enumerate(session.clients)
        ]
        self._keeper = self.loop.create_task(self._keep())

    # Consumers.

    async def open(self, mailbox: Mailbox, channel: str, capacity: int) -> None:
        """Let what comes for a channel go into a mailbox."""
        if not self._mailboxes:
            await self._subscribe("live", self.id)
        self._mailboxes[channel] = Member(mailbox, capacity)

    def close_mailbox(self, channel: str) -> None:
        """Forget a consumer: its channel leaves its groups."""
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
            await self._subscribe("group", group)
        else:
            await self._settled("group", group)

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
            self._in_background(self._unsubscribe("group", group))

    # Lists.

    @asynccontextmanager
    async def reading(self, channel: str) -> AsyncIterator[Lane]:
        """Give a lane of a list; its reader is woken when a message comes into it."""
        is_first = channel not in self._lists
        line = self._lists.setdefault(channel, _Line())
        self._lists.move_to_end(channel)
        line.users += 1
        lane = line.lanes.pop() if line.lanes else self._new_lane()
        try:
            await self._listen(channel, is_first=is_first)
            yield lane
        finally:
            line.users -= 1
            line.lanes.append(lane)

    def _new_lane(self) -> Lane:
        return Lane(f"{self.id}.{next(self._lanes)}")

    async def _listen(self, channel: str, *, is_first: bool) -> None:
        if is_first:
            await self._subscribe("wake", channel)
        else:
            await self._settled("wake", channel)
        for name, line in list(self._lists.items()):
            if len(self._lists) <= _MAX_KNOWN:
                break
            if not line.users:
                del self._lists[name]
                self._in_background(self._unsubscribe("wake", name))

    @property
    def rings(self) -> int:
        """How often any list was heard of; to be read before looking into one."""
        return self._rings

    async def woken(self, channel: str, rings: int, patience: float) -> None:
        """Wait until a message may have come, at most so many seconds.

        Args:
            rings: as they were before the list was found empty.
        """
        if rings != self._rings or self.is_closed:
            return
        waiters = self._lists[channel].waiters
        waiter = self.loop.create_future()
        waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=patience)
        finally:
            waiters.remove(waiter)

    async def take(self, channel: str, lane: Lane) -> bytes | None:
        """Take a message out of a list; one that comes too late goes back.

        Raises:
            LayerUnavailable: Redis does not answer. It may have taken the message:
                the lane gets it the next time.
        """
        asking = self.loop.create_future()
        self._askings.add(asking)
        try:
            return await self._take(channel, lane)
        finally:
            self._askings.discard(asking)
            asking.set_result(None)

    async def _take(self, channel: str, lane: Lane) -> bytes | None:
        taking = asyncio.ensure_future(
            self.session.pop(channel, lane.name, lane.number)
        )
        try:
            data, expired = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Shielded: a second cancel would lose the message.
            giving = self._in_background(self._give_back(channel, lane, taking))
            await asyncio.shield(giving)
            raise
        self._counts.expired += expired
        lane.number += data is not None
        return data

    async def _give_back(
        self,
        channel: str,
        lane: Lane,
        taking: asyncio.Future[tuple[bytes | None, int]],
    ) -> None:
        try:
            await asyncio.wait([taking])
            if taking.cancelled():
                # At a loop's end everything is, and Redis may have answered.
                data, expired = await self.session.pop(channel, lane.name, lane.number)
            else:
                data, expired = taking.result()
            self._counts.expired += expired
            if data is not None:
                lane.number += 1
                await self.session.put_back(channel, data, self._expiry)
        except LayerUnavailable as error:
            logger.warning(
                "a message of %r that was taken for nobody may be lost: %s",
                channel,
                error,
            )

    # What comes.

    def _on_message(self, key: str, data: bytes) -> None:
        kind, _, name = key[len(self.session.prefix) + 1 :].partition(":")
        if kind == "wake":
            self._rings += 1
            if name in self._lists:
                _wake(self._lists[name].waiters)
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
            taken = sum(
                _is_put(each.mailbox.put_frame, frame, envelope.name)
                for each in members
            )
        elif envelope.kind is Kind.EVENT:
            copied: Any = dict if is_flat(message) else isolated
            taken = sum(
                _is_put(each.mailbox.put_event, copied(message), each.capacity)
                for each in members
            )
        elif members:
            group = str(message.get("group"))
            if envelope.kind is Kind.JOIN:
                self._in_background(self.join(group, envelope.name))
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
        self._wake_all()

    def _wake_all(self) -> None:
        self._rings += 1
        for line in self._lists.values():
            _wake(line.waiters)

    # Subscriptions.

    async def _subscribe(self, kind: str, name: str) -> None:
        subscriber = self._subscribers[self.session.shard_of(name)]
        await subscriber.subscribe(self.session.key(kind, name))

    async def _settled(self, kind: str, name: str) -> None:
        """Wait for a subscription that somebody else here may still wait for."""
        subscriber = self._subscribers[self.session.shard_of(name)]
        await subscriber.settled(self.session.key(kind, name))

    async def _unsubscribe(self, kind: str, name: str) -> None:
        subscriber = self._subscribers[self.session.shard_of(name)]
        await subscriber.unsubscribe(self.session.key(kind, name))

    def _in_background(self, coroutine: Any) -> asyncio.Task[None]:
        task = self.loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # The end.

    async def _keep(self) -> None:
        """Hold the connections until the loop ends, and close them with it."""
        try:
            await self.loop.create_future()
        finally:
            self._on_end()
            self.is_closed = True
            self._wake_all()
            await self._finish()
            for subscriber in self._subscribers:
                with contextlib.suppress(Exception):
                    await subscriber.close()
            await self.session.close()

    async def _finish(self) -> None:
        """Let what was begun end: a message that was taken would be lost."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(2 * self.session.timeout):
                while self._tasks or self._askings:
                    await asyncio.wait({*self._tasks, *self._askings})
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

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


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
