"""What waits for a consumer: client frames, layer events, and that somebody left.

One inbox belongs to one connection and one event loop. A channel layer puts
events into it from any thread, without a task and without waiting.
"""

from __future__ import annotations

import asyncio
import threading
from asyncio import _get_running_loop
from collections.abc import Callable, Hashable, Mapping
from types import MappingProxyType
from typing import Any

from django_asgi_bridge.protocol.overflow import (
    EMPTY,
    BoundedQueue,
    Overflow,
    make_queue,
)
from django_asgi_bridge.sockets.bounds import Bounds, Dropped
from django_asgi_bridge.sockets.contract import Watcher
from django_asgi_bridge.sockets.socket import Socket
from django_asgi_bridge.types import Message

__all__ = ("Inbox",)

_lock = threading.RLock()
"""Of the queues of events of all connections: one of each would take 96 bytes of it.

It is held for steps that never wait; reentrant, since the collector may end a handler
meanwhile that sends to another connection.
"""

_NOTHING = Dropped()
_NO_GAPS: Mapping[str, int | None] = MappingProxyType({})


class Inbox:
    """The receiving half of one connection; a ``types.Mailbox``.

    Messages of the two kinds take turns, so that neither starves the other; within
    a kind they keep their order.

    Args:
        bounds: of its queues.
        key_of: what ``"latest_by_key"`` goes by.
    """

    __slots__ = (
        "_events",
        "_frames",
        "_rooms",
        "_told",
        "bounds",
        "end",
        "error",
        "gaps",
        "has_news",
        "has_notices",
        "is_disconnected",
        "is_event_next",
        "key_of",
        "loop",
        "on_end",
        "refuses",
        "socket",
        "waiters",
        "watcher",
    )

    def __init__(
        self, bounds: Bounds, key_of: Callable[[Message], object] | None = None
    ) -> None:
        self.bounds = bounds
        self.key_of = key_of
        self.loop = asyncio.get_running_loop()
        # Made when something has to wait: in most connections nothing does.
        self._frames: BoundedQueue[Message] = EMPTY
        self._events: BoundedQueue[dict[str, Any]] = EMPTY
        self.is_event_next = False
        self.waiters: tuple[asyncio.Future[None], ...] = ()
        # The reader and the puller, when they wait for room.
        self._rooms: tuple[asyncio.Future[None], ...] = ()
        self._told = _NOTHING
        # Where broadcast frames go, if the connection is a WebSocket.
        self.socket: Socket | None = None
        # The client is gone, or the connection is given up.
        self.is_disconnected = False
        # The last message, taken when the client's frames are.
        self.end: Message | None = None
        # What reading from the server raised.
        self.error: BaseException | None = None
        # Groups of which messages were lost, and how many where that is known.
        self.gaps: Mapping[str, int | None] = _NO_GAPS
        # Something was dropped, or there are gaps, since the consumer was told.
        self.has_notices = False
        # So it is, or a message waits, or one did when it was last looked for.
        self.has_news = False
        # Asked for each layer event: may it not reach a handler?
        self.refuses: Callable[[Message], bool] | None = None
        # Called once, when the end is noted.
        self.on_end: Callable[[], None] | None = None
        # Told of news that nobody waits for.
        self.watcher: Watcher | None = None

    # What a layer calls, from any thread.

    def put_event(self, message: dict[str, Any], capacity: int) -> bool:
        """Queue an event; see ``types.Mailbox``."""
        if self.refuses is not None and self.refuses(message):
            return True
        if self.end is not None:
            # More would put the end off, for ever if a handler sends to itself.
            with _lock:
                self._own_events().dropped += 1
            return True  # the sender is not to blame
        if self._hands_event_on(message):
            return True
        try:
            key = self._key(message)
        except Exception as error:
            # Neither the sender nor the group's other members are to see it.
            with _lock:
                self._own_events().dropped += 1
            return self._call(self.break_off, error)
        with _lock:
            events = self._own_events()
            dropped = events.dropped
            bound = self.bounds.layer_events or capacity
            is_queued = events.offer(message, key, bound=bound)
            self.has_news = True
            has_lost = events.dropped != dropped
        if has_lost:
            self._notice()
            if not is_queued and events.policy is Overflow.CLOSE:
                self._call(self._overflow, "too many events wait for the connection")
        return self._call(self.wake) and is_queued

    def _hands_event_on(self, event: Message) -> bool:
        """Give an event to who handles it at once, past the queue."""
        is_taken = (
            self.watcher is not None
            and self.key_of is None
            and not self.has_news
            and _get_running_loop() is self.loop
            and self.watcher.takes_event(event)
        )
        self.is_event_next = self.is_event_next and not is_taken
        return is_taken

    def lose(self, *, frames: int, events: int) -> None:
        """Count messages that were handed on and cannot be handled."""
        with _lock:
            self._own_frames().dropped += frames
            self._own_events().dropped += events

    def put_frame(self, frame: Message, key: str) -> bool:
        """Queue a frame for the client; see ``types.Mailbox``."""
        return self.socket is not None and self.socket.put_frame(frame, key)

    def note_gap(self, groups: Mapping[str, int | None]) -> None:
        """Queue the news of a gap; see ``types.Mailbox``."""
        with _lock:
            gaps = dict(self.gaps)
            for group, lost in groups.items():
                earlier = gaps.get(group, 0)
                is_exact = lost is not None and earlier is not None
                gaps[group] = lost + earlier if is_exact else None  # type: ignore[operator] # both are numbers
            self.gaps = gaps
        self._notice()
        self._call(self.wake)

    def _notice(self) -> None:
        self.has_notices = self.has_news = True

    def _key(self, message: Message) -> Hashable:
        """Return what the consumer says that ``"latest_by_key"`` goes by."""
        if self.key_of is None:
            return None
        key = self.key_of(message)
        hash(key)
        return key

    def _call(self, fn: Callable[..., None], *args: Any) -> bool:
        """Call on the loop's thread; tell whether there still is one."""
        if self.loop.is_closed():
            return False
        if _get_running_loop() is self.loop:
            fn(*args)
            return True
        try:
            self.loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            return False
        return True

    # What the reader of the server's events calls.

    def offer_client(self, message: Message) -> bool:
        """Queue a client's message; False if the reader has to wait for room."""
        frames = self._own_frames()
        if self.end is not None:
            frames.dropped += 1  # we have closed already
            return True
        try:
            key = self._key(message)
        except Exception as error:
            frames.dropped += 1
            self.break_off(error)
            return True
        dropped = frames.dropped
        is_queued = frames.offer(message, key)
        if not is_queued and frames.policy is Overflow.BLOCK:
            return False
        self.has_news = True
        if frames.dropped != dropped:
            self._notice()
            if not is_queued and frames.policy is Overflow.CLOSE:
                self._overflow("too many messages wait for the connection")
        self.wake()
        return True

    def hands_on(self, message: Message) -> bool:
        """Give a client's message to who handles it at once, past the queue."""
        # The consumer may have to be asked for its key.
        if self.has_news or self.end is not None or self.key_of is not None:
            return False
        if self.watcher is not None and self.watcher.takes_frame(message):
            self.is_event_next = True
            return True
        return False

    @property
    def waiting_events(self) -> int:
        """How many layer events wait."""
        return len(self._events)

    def _own_frames(self) -> BoundedQueue[Message]:
        if self._frames is EMPTY:
            policy = Overflow(self.bounds.client_overflow)
            self._frames = make_queue(policy, self.bounds.client_frames)
        return self._frames

    def _own_events(self) -> BoundedQueue[dict[str, Any]]:
        if self._events is EMPTY:
            policy = Overflow(self.bounds.layer_overflow)
            self._events = make_queue(policy, self.bounds.layer_events or 0)
        return self._events

    async def wait_for_room(self) -> None:
        """Wait until a message was taken, of either kind."""
        room = self.loop.create_future()
        self._rooms += (room,)
        await room

    def finish(self, message: Message) -> None:
        """Note the client's end: it is seen at once, and handled after its frames."""
        if self.socket is not None:
            self.socket.client_left()
        self._end(message)

    def _end(self, message: Message) -> None:
        self.is_disconnected = True
        if self.end is None:
            self.end = message
            if self.on_end is not None:
                self.on_end()
        self.wake_all()

    def note_loss(self) -> None:
        """Let the consumer be told that frames for the client were dropped."""
        self._notice()
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Note that the server's ``receive`` raised."""
        self.error = error
        self.finish({"type": "websocket.disconnect", "code": 1006, "reason": ""})

    def break_off(self, error: BaseException) -> None:
        """Note that the connection cannot go on, though its client is there."""
        self.error = error
        self.stop(1011, "")

    def stop(self, code: int, reason: str) -> None:
        """Note that the socket has ended the connection from our side."""
        self._end({"type": "websocket.disconnect", "code": code, "reason": reason})

    def _overflow(self, why: str) -> None:
        """Close, as the policy says."""
        if self.socket is not None:
            self.socket.give_up(why)

    # What the consumer's loop calls.

    def lost_since(self) -> Dropped | None:
        """Return what was dropped since it was last asked, None for nothing."""
        total = self.dropped
        if total == self._told:
            return None
        since, self._told = total - self._told, total
        return since

    @property
    def dropped(self) -> Dropped:
        """What was dropped since the connection began."""
        outgoing = 0 if self.socket is None else self.socket.dropped
        return Dropped(self._frames.dropped, self._events.dropped, outgoing)

    def take_gaps(self) -> dict[str, int | None]:
        """Return the gaps that were noted since it was last asked."""
        with _lock:
            gaps, self.gaps = self.gaps, _NO_GAPS
        return dict(gaps)

    async def wait(self) -> None:
        """Wait for news of any kind; it may be for another waiter."""
        waiter: asyncio.Future[None] = self.loop.create_future()
        self.waiters += (waiter,)
        self._make_room()
        try:
            await waiter
        except asyncio.CancelledError:
            self.waiters = tuple(x for x in self.waiters if x is not waiter)
            if not waiter.cancelled():
                self.wake()
            raise

    def take(self) -> Message | None:
        """Return the next message, or None when none waits."""
        events, frames = self._events, self._frames
        if events and (self.is_event_next or not frames):
            self.is_event_next = False
            with _lock:
                event = events.take()
            self._make_room()
            return event
        if frames:
            self.is_event_next = True
            message = frames.take()
            self._make_room()
            return message
        with _lock:
            self.has_news = self.has_notices or bool(self._events)
        return None

    def take_first(self, suits: Callable[[Message], bool]) -> Message | None:
        """Return the first message of either kind that suits, or None."""
        message: Message | None
        for is_event in (self.is_event_next, not self.is_event_next):
            if is_event:
                with _lock:
                    message = self._events.take_first(suits)
            else:
                message = self._frames.take_first(suits)
            if message is not None:
                self.is_event_next = not is_event
                self._make_room()
                return message
        return None

    def drop_frames(self) -> int:
        """Drop the client's messages that wait; return how many they were."""
        count = self._frames.drop_all()
        self._make_room()
        return count

    def drop_all(self) -> None:
        """Drop whatever waits, at the end, and count it; forget who refers to this."""
        self.refuses = self.on_end = self.watcher = self.key_of = self.error = None
        self.drop_frames()
        with _lock:
            self._events.drop_all()

    def wake(self) -> None:
        """Let one waiter look at the queues, or whoever watches them."""
        while self.waiters:
            waiter, self.waiters = self.waiters[0], self.waiters[1:]
            if not waiter.done():
                waiter.set_result(None)
                return
        if self.watcher is not None:
            self.watcher.note_news()

    def wake_all(self) -> None:
        """Let every waiter look at the queues, and whoever watches them."""
        waiters, self.waiters = self.waiters, ()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self.watcher is not None:
            self.watcher.note_news()

    def _make_room(self) -> None:
        rooms, self._rooms = self._rooms, ()
        for room in rooms:
            if not room.done():
                room.set_result(None)
