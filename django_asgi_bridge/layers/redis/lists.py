"""Channels that are lists in Redis, and those on one event loop who read them."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis.counts import Counts
from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.layers.redis.subscriptions import Subscriptions

__all__ = ("Lane", "Lists")

logger = logging.getLogger("django_asgi_bridge.layers")

_MAX_KNOWN = 10_000
"""Lists that were received from and are remembered."""

_LOOK_AGAIN = 5.0
"""Seconds after which a receiver looks into its list without having been woken."""

_ASK_AGAIN = 1.0
"""Seconds after which a receiver asks again that Redis has not answered."""


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
        users: how many receive.
    """

    __slots__ = ("lanes", "users", "waiters")

    def __init__(self) -> None:
        self.waiters: list[asyncio.Future[None]] = []
        self.lanes: list[Lane] = []
        self.users = 0


class Lists:
    """The lists that are read on one loop.

    Args:
        session: on this loop.
        subscriptions: tell that a message came into a list.
        counts: of the layer.
        name: of the loop, in Redis.
        expiry: seconds that a message given back to its list waits there.

    Attributes:
        askings: one for each reader that asks Redis now.
        is_closed: nobody may ask any more.
    """

    def __init__(
        self,
        session: Session,
        subscriptions: Subscriptions,
        counts: Counts,
        *,
        name: str,
        expiry: float,
    ) -> None:
        self.askings: set[asyncio.Future[None]] = set()
        self.is_closed = False
        self._session = session
        self._subscriptions = subscriptions
        self._counts = counts
        self._name = name
        self._expiry = expiry
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._lanes = itertools.count()
        # How often a list was heard of: it may be while a receiver looks into it.
        self._rings = 0

    @asynccontextmanager
    async def reading(self, channel: str) -> AsyncIterator[Lane]:
        """Give a lane of a list; its reader is woken when a message comes into it."""
        is_first = channel not in self._lines
        line = self._lines.setdefault(channel, _Line())
        self._lines.move_to_end(channel)
        line.users += 1
        lane = line.lanes.pop() if line.lanes else self._new_lane()
        try:
            await self._listen(channel, is_first=is_first)
            yield lane
        finally:
            line.users -= 1
            line.lanes.append(lane)

    def _new_lane(self) -> Lane:
        return Lane(f"{self._name}.{next(self._lanes)}")

    async def _listen(self, channel: str, *, is_first: bool) -> None:
        if is_first:
            await self._subscriptions.begin("wake", channel)
        else:
            await self._subscriptions.settled("wake", channel)
        for name, line in list(self._lines.items()):
            if len(self._lines) <= _MAX_KNOWN:
                break
            if not line.users:
                del self._lines[name]
                self._subscriptions.end("wake", name)

    async def next(self, channel: str, lane: Lane) -> bytes:
        """Return the next message of a list; wait for one, and for Redis.

        Raises:
            LayerUnavailable: the layer was closed meanwhile.
        """
        while not self.is_closed:
            rings, patience = self._rings, _LOOK_AGAIN
            try:
                data = await self._ask(channel, lane)
            except LayerUnavailable:
                data, patience = None, _ASK_AGAIN
            if data is not None:
                return data
            if rings == self._rings:
                await self._woken(channel, patience)
        raise LayerUnavailable(
            f"the layer was closed while receive() waited for {channel!r}."
        )

    def ring(self, channel: str) -> None:
        """Let those who wait for a list look into it."""
        self._rings += 1
        if channel in self._lines:
            _wake(self._lines[channel].waiters)

    def ring_all(self) -> None:
        """Let all who wait look into their lists."""
        self._rings += 1
        for line in self._lines.values():
            _wake(line.waiters)

    def close(self) -> None:
        """Let nobody wait any more, or ask."""
        self.is_closed = True
        self.ring_all()

    async def _woken(self, channel: str, patience: float) -> None:
        """Wait until a message may have come, at most so many seconds."""
        waiters = self._lines[channel].waiters
        waiter = asyncio.get_running_loop().create_future()
        waiters.append(waiter)
        try:
            await asyncio.wait([waiter], timeout=patience)
        finally:
            waiters.remove(waiter)

    async def _ask(self, channel: str, lane: Lane) -> bytes | None:
        """Take a message out of a list; one that comes too late goes back.

        Raises:
            LayerUnavailable: Redis does not answer. It may have taken the message:
                the lane gets it the next time.
        """
        asking = asyncio.get_running_loop().create_future()
        self.askings.add(asking)
        try:
            return await self._take(channel, lane)
        finally:
            self.askings.discard(asking)
            asking.set_result(None)

    async def _take(self, channel: str, lane: Lane) -> bytes | None:
        taking = asyncio.ensure_future(
            self._session.pop(channel, lane.name, lane.number)
        )
        try:
            data, expired = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # Shielded: a second cancel would lose the message.
            giving = self._subscriptions.in_background(
                self._give_back(channel, lane, taking)
            )
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
                data, expired = await self._session.pop(channel, lane.name, lane.number)
            else:
                data, expired = taking.result()
            self._counts.expired += expired
            if data is not None:
                lane.number += 1
                await self._session.put_back(channel, data, self._expiry)
        except LayerUnavailable as error:
            logger.warning(
                "a message of %r that was taken for nobody may be lost: %s",
                channel,
                error,
            )


def _wake(waiters: list[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)
