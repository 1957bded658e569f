"""What waits for a consumer: client frames, layer events, and that somebody left.

One inbox belongs to one connection and one event loop. A channel layer puts
events into it from any thread, without a task and without waiting.
"""

import asyncio
import contextlib
import threading
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from django_asgi_bridge.protocol.overflow import BoundedQueue, Overflow, make_queue
from django_asgi_bridge.sockets.bounds import Bounds, Dropped
from django_asgi_bridge.sockets.socket import Socket
from django_asgi_bridge.types import Message

__all__ = ("Inbox",)

_NO_ROOM = "too many events wait for the connection"


class Inbox:
    """The receiving half of one connection; a ``types.Mailbox``.

    Messages of the two kinds take turns, so that neither starves the other; within
    a kind they keep their order.

    Args:
        bounds: of its queues.
        key_of: what ``"latest_by_key"`` goes by.
    """

    __slots__ = (
        "__weakref__",
        "_events",
        "_frames",
        "_is_event_next",
        "_key_of",
        "_lock",
        "_loop",
        "_rooms",
        "_thread",
        "_told",
        "_waiters",
        "bounds",
        "end",
        "error",
        "gaps",
        "has_notices",
        "is_disconnected",
        "on_end",
        "refuses",
        "socket",
    )

    def __init__(
        self, bounds: Bounds, key_of: Callable[[Message], object] | None = None
    ) -> None:
        self.bounds = bounds
        self._key_of = key_of
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._lock = threading.Lock()
        self._frames: BoundedQueue[Message] = make_queue(
            Overflow(bounds.client_overflow), bounds.client_frames
        )
        self._events: BoundedQueue[dict[str, Any]] = make_queue(
            Overflow(bounds.layer_overflow), bounds.layer_events or 0
        )
        self._is_event_next = False
        self._waiters: list[asyncio.Future[None]] = []
        # The reader and the puller, when they wait for room.
        self._rooms: list[asyncio.Future[None]] = []
        self._told = Dropped()
        # Where broadcast frames go; None for connections that are no WebSocket.
        self.socket: Socket | None = None
        # The client is gone, or the connection is given up.
        self.is_disconnected = False
        # The last message, taken when the client's frames are.
        self.end: Message | None = None
        # What reading from the server raised.
        self.error: BaseException | None = None
        # Groups of which messages were lost, and how many where that is known.
        self.gaps: dict[str, int | None] = {}
        # Something was dropped, or there are gaps, since the consumer was told.
        self.has_notices = False
        # Asked for each layer event: may it not reach a handler?
        self.refuses: Callable[[Message], bool] | None = None
        # Called once, when the end is noted.
        self.on_end: Callable[[], None] | None = None

    # What a layer calls, from any thread.

    def put_event(self, message: dict[str, Any], capacity: int) -> bool:
        """Queue an event; see ``types.Mailbox``."""
        if self.refuses is not None and self.refuses(message):
            return True
        if self.end is not None:
            # What came before is handled; more would put the end off, for ever if
            # a handler sends to itself. The sender is not to blame.
            with self._lock:
                self._events.dropped += 1
            return True
        bound = self.bounds.layer_events or capacity
        events = self._events
        try:
            key = self._key(message)
        except Exception as error:
            # Neither the sender nor the group's other members are to see it.
            with self._lock:
                events.dropped += 1
            return self._call(self.break_off, error)
        with self._lock:
            dropped = events.dropped
            is_queued = events.offer(message, key, bound=bound)
            has_lost = events.dropped != dropped
        if has_lost:
            self.has_notices = True
            if not is_queued and events.policy is Overflow.CLOSE:
                self._call(self._overflow, _NO_ROOM)
        return self._call(self.wake) and is_queued

    def put_frame(self, frame: Message, key: str) -> bool:
        """Queue a frame for the client; see ``types.Mailbox``."""
        return self.socket is not None and self.socket.put_frame(frame, key)

    def note_gap(self, groups: Mapping[str, int | None]) -> None:
        """Queue the news of a gap; see ``types.Mailbox``."""
        with self._lock:
            for group, lost in groups.items():
                earlier = self.gaps.get(group, 0)
                is_exact = lost is not None and earlier is not None
                self.gaps[group] = lost + earlier if is_exact else None  # type: ignore[operator] # both are numbers
            self.has_notices = True
        self._call(self.wake)

    def _key(self, message: Message) -> Hashable:
        """Return what the consumer says that ``"latest_by_key"`` goes by."""
        if self._key_of is None:
            return None
        key = self._key_of(message)
        hash(key)
        return key

    def _call(self, fn: Callable[..., None], *args: Any) -> bool:
        """Call on the loop's thread; tell whether there still is one."""
        if self._loop.is_closed():
            return False
        if threading.get_ident() == self._thread:
            fn(*args)
            return True
        try:
            self._loop.call_soon_threadsafe(fn, *args)
        except RuntimeError:
            return False
        return True

    # What the reader of the server's events calls.

    def offer_client(self, message: Message) -> bool:
        """Queue a client's message; False if the reader has to wait for room."""
        frames = self._frames
        if self.end is not None:
            # We have closed already.
            frames.dropped += 1
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
        if frames.dropped != dropped:
            self.has_notices = True
            if not is_queued and frames.policy is Overflow.CLOSE:
                self._overflow("too many messages wait for the connection")
        self.wake()
        return True

    @property
    def waiting_events(self) -> int:
        """How many layer events wait."""
        return len(self._events)

    @property
    def is_asked(self) -> bool:
        """Whether somebody waits for a message and none is there."""
        return bool(self._waiters) and not self._frames

    async def wait_for_room(self) -> None:
        """Wait until a message was taken, of either kind, or asked for."""
        room = self._loop.create_future()
        self._rooms.append(room)
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
        self.has_notices = True
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
        with self._lock:
            gaps, self.gaps = self.gaps, {}
        return gaps

    async def wait(self) -> None:
        """Wait for news of any kind; it may be for another waiter."""
        waiter = self._loop.create_future()
        self._waiters.append(waiter)
        if self._rooms:
            self._make_room()
        try:
            await waiter
        except asyncio.CancelledError:
            with contextlib.suppress(ValueError):
                self._waiters.remove(waiter)
            if not waiter.cancelled():
                # Woken and cancelled at once: the news is for the next one.
                self.wake()
            raise

    def take(self) -> Message | None:
        """Return the next message, or None when none waits."""
        events, frames = self._events, self._frames
        if events and (self._is_event_next or not frames):
            self._is_event_next = False
            with self._lock:
                event = events.take()
            self._make_room()
            return event
        if frames:
            self._is_event_next = True
            message = frames.take()
            self._make_room()
            return message
        return None

    def take_first(self, suits: Callable[[Message], bool]) -> Message | None:
        """Return the first message of either kind that suits, or None."""
        message: Message | None
        for is_event in (self._is_event_next, not self._is_event_next):
            if is_event:
                with self._lock:
                    message = self._events.take_first(suits)
            else:
                message = self._frames.take_first(suits)
            if message is not None:
                self._is_event_next = not is_event
                self._make_room()
                return message
        return None

    def drop_frames(self) -> int:
        """Drop the client's messages that wait; return how many they were."""
        count = self._frames.drop_all()
        self._make_room()
        return count

    def drop_all(self) -> None:
        """Drop whatever waits, at the end; it is counted."""
        self.drop_frames()
        with self._lock:
            self._events.drop_all()

    def wake(self) -> None:
        """Let one waiter look at the queues."""
        while self._waiters:
            waiter = self._waiters.pop(0)
            if not waiter.done():
                waiter.set_result(None)
                return

    def wake_all(self) -> None:
        """Let every waiter look at the queues."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    def _make_room(self) -> None:
        while self._rooms:
            room = self._rooms.pop()
            if not room.done():
                room.set_result(None)
