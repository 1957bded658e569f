"""The loop that takes messages and runs handlers, one after the other.

There are two things to wait for: the server's next event, and a handler. The
connection's own task does the one or the other, and only while both are waited for
there is a second task:

- A handler waits: a reader sees the client's next events, its leaving above all.
- A layer's event comes while the own task is in the server's ``receive()``, which
  cannot be taken back: its handler runs in a task aside, and so do those of the next
  events, until the client says something.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections.abc import Awaitable, Coroutine
from typing import Any, Final

from django_asgi_bridge.consumer.beside import handle_beside_each_other
from django_asgi_bridge.consumer.handling import TURN, Handling
from django_asgi_bridge.consumer.reader import ENDS, Reader, is_being_cancelled
from django_asgi_bridge.consumer.worker import HandlerWorker
from django_asgi_bridge.sockets import Inbox
from django_asgi_bridge.threads import drive
from django_asgi_bridge.types import Message

__all__ = ("HandlerLoop",)

_DONE: Final = object()
# Unlike `send(None)` it raises nothing at the end, which takes longer than the step.
_first_step: Any = next


class HandlerLoop:
    """Runs the handlers of one connection, in the task that makes this.

    Args:
        handling: calls the handlers.
        inbox: where the messages wait.
        reader: of the server's events.

    Attributes:
        handling: calls the handlers.
        reader: of the server's events.
    """

    __slots__ = (
        "_aside",
        "_cancels",
        "_error",
        "_event",
        "_handled",
        "_homeless",
        "_inbox",
        "_is_fetched",
        "_is_idle",
        "_is_left",
        "_is_reading",
        "_message",
        "_rest",
        "_task",
        "_waiter",
        "_work",
        "_worker",
        "handling",
        "reader",
    )

    def __init__(self, handling: Handling, inbox: Inbox, reader: Reader) -> None:
        self.handling = handling
        self._inbox = inbox
        self.reader = reader
        self._task = asyncio.current_task()
        self._worker: HandlerWorker
        # The rest of a handler that has begun, and waits.
        self._work: Awaitable[None] | None = None
        # What the own task waits for while there is a reader.
        self._waiter: asyncio.Future[None] | None = None
        # The task that handles messages while the own one reads.
        self._aside: asyncio.Task[None] | None = None
        # What that one waits for between two events; True if there is another one.
        self._rest: asyncio.Future[bool] | None = None
        self._is_reading = False
        # What was handed on past the inbox; and what waits for room there.
        self._message: Message | None = None
        self._event: Message | None = None
        self._homeless: Message | None = None
        # What ended the task aside: the own task is to come and see.
        self._error: BaseException | None = None
        self._is_left = False
        self._is_fetched = False
        # Nobody handles anything, and the own task has something in its hands.
        self._is_idle = False
        # How many messages were handled since everything else had a turn.
        self._handled = 0
        self._cancels = 0 if self._task is None else self._task.cancelling()

    def takes_cancel(self) -> bool:
        """Tell whether a cancellation was only that of a handler, by the grace time."""
        return self._is_left or self.handling.takes_cancel()

    def note_news(self) -> None:
        """Do something about news that nobody waits for; the inbox calls it."""
        if self._waiter is not None:
            if not self._waiter.done():
                self._waiter.set_result(None)
        elif self._is_reading and self._is_at_rest():
            if self._inbox.end is not None:
                self._dismiss()
                self._fetch()
            else:
                self._call_aside()

    def takes_event(self, event: Message) -> bool:
        """Handle a layer's event at once, if that can be; the inbox asks."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
            self._event = event
        elif self._is_reading and self._is_at_rest():
            self._event = event
            self._call_aside()
        else:
            return False
        return True

    def takes_frame(self, message: Message) -> bool:
        """Handle a client's message at once, if that can be; the inbox asks."""
        if self._waiter is not None:
            if self._waiter.done():
                return False
            self._waiter.set_result(None)
        elif not self._is_idle:
            return False
        self._message = message
        return True

    def drop_all(self) -> None:
        """Count what was taken and never came to its handler; forget the task."""
        self._task = self._error = None
        frames = (self._message is not None) + (self._homeless is not None)
        if frames or self._event is not None:
            self._inbox.lose(frames=frames, events=int(self._event is not None))

    def begin(self) -> None:
        """Take what is there, or comes, from here on."""
        handling = self.handling
        self._worker = handling.context.run(
            handling.new_worker, is_handshake=self._inbox.socket is not None
        )
        self._inbox.watcher = self

    def take(self, message: Message | None) -> Awaitable[Message | None] | None:
        """Take what was waited for: the server's next event, or None for news.

        A message that comes while there is nothing else to do is handled at once.

        Returns:
            What the caller is to wait for next; None where ``until_idle()`` tells.
        """
        self._is_reading = False
        if message is None:
            self._waiter = None
            self._dismiss()
            return None
        inbox, reader, handling = self._inbox, self.reader, self.handling
        try:
            is_end = message["type"] in ENDS
        except Exception as error:  # nothing that a server may send
            self._dismiss()
            inbox.fail(error)
            return None
        if (
            is_end
            or self._aside is not None
            or self._error is not None
            or inbox.has_news
            or inbox.end is not None
            or inbox.key_of is not None
            or self._handled >= TURN - 1
            or handling.consumer.concurrency > 1
        ):
            self._note(message, is_end=is_end)
            return None
        inbox.is_event_next = True
        # What ``_begin()`` does, without a call of it for each message.
        context, steps = handling.context, handling.handle(self._worker, message)
        awaited = context.run(_first_step, steps.__await__(), _DONE)
        if awaited is not _DONE:
            self._work = drive(context, steps, awaited=awaited)
            return None
        self._handled += 1
        if self._inbox.has_news or self._inbox.end is not None or reader.task:
            return None
        self._is_reading = True
        return reader.receive()

    def _note(self, message: Message, *, is_end: bool) -> None:
        """Put an event of the server's where its turn comes."""
        self._dismiss()
        self._is_idle = self._aside is None
        if is_end or not self._inbox.hands_on(message):
            self._homeless = None if self.reader.offer(message) else message
        self._is_idle = False

    def _begin(self, steps: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
        """Let a handler take its first step; return the rest of it, if it waits."""
        context = self.handling.context
        awaited = context.run(_first_step, steps.__await__(), _DONE)
        return None if awaited is _DONE else drive(context, steps, awaited=awaited)

    async def until_idle(self) -> Awaitable[Message | None] | None:
        """Handle what is there; one message of it where several may be at once.

        Returns:
            What the caller is to wait for, the server's next event or news of any
            kind. It is to tell ``take()`` or ``takes_failure()`` what came of it.
            None when nothing matters any more.

        Raises:
            StopConsumer: a handler says that it is over.
            Exception: what a handler raised.
        """
        inbox, reader, handling = self._inbox, self.reader, self.handling
        while True:
            if self._error is not None:
                raise self._error
            if self._work is not None or (self._aside is None and self._has_work()):
                work = self._work or self._begin(self._steps())
                self._work = None
                if work is not None:
                    reader.start()
                    await work
                if handling.consumer.concurrency > 1:
                    return None
                self._handled += 1
                if inbox.has_news or self._handled >= TURN:
                    self._handled = 0
                    await asyncio.sleep(0)
            elif self._homeless is not None and inbox.end is None:
                await self._find_room()
            elif self._aside is not None and inbox.end is not None:
                await self._wait_for_aside(self._aside)
            elif inbox.end is not None:
                return None
            elif reader.task is not None:
                self._waiter = inbox.loop.create_future()
                return self._waiter
            else:
                self._is_reading = True
                return reader.receive()

    async def takes_failure(self, error: BaseException) -> bool:
        """Take what came instead of it, unless the connection or the process ends."""
        self._is_reading = False
        self._dismiss()
        if self._waiter is not None:
            self._waiter = None
            return False
        if isinstance(error, asyncio.CancelledError):
            if self._was_fetched():
                return True
            if is_being_cancelled():
                await self._stop_aside()
                return False
            # The server's own receive() was: nothing will come any more.
        elif not isinstance(error, Exception):
            return False
        self._inbox.fail(error)
        return True

    def _has_work(self) -> bool:
        is_handed = self._message is not None or self._event is not None
        return is_handed or self._inbox.has_news

    def _steps(self) -> Coroutine[Any, Any, None]:
        """Return what handles the message that was handed on, or what waits."""
        message, self._message = self._message, None
        if message is None:
            message, self._event = self._event, None
        if message is None or self._inbox.has_news:
            return self.handling.handle_waiting(self._worker, message)
        return self.handling.handle(self._worker, message)

    async def finish(self) -> None:
        """Run handlers beside each other, if they may, and the one for the end."""
        handling, inbox = self.handling, self._inbox
        if inbox.end is None:
            self.reader.start(for_good=True)
            await handle_beside_each_other(handling)
        if inbox.end is not None:
            last = handling.handle_last(self._worker, inbox.end)
            await drive(handling.context, last)

    async def _find_room(self) -> None:
        """Wait until a frame that the inbox had no room for may enter it."""
        frame = self._homeless
        if frame is None or self.reader.offer(frame):
            self._homeless = None
            return
        self._is_reading = True
        try:
            await self._inbox.wait_for_room()
        except asyncio.CancelledError as error:
            if not await self.takes_failure(error):
                raise
        finally:
            self._is_reading = False
            self._dismiss()

    # A layer's events, while the own task reads.

    def _is_at_rest(self) -> bool:
        """Tell whether no handler runs in the task aside, nor will at once."""
        if self._error is not None or self._is_fetched:
            return False  # the own task reads no more, and is about to see that
        return self._aside is None or (self._rest is not None and not self._rest.done())

    def _call_aside(self) -> None:
        """Let what is there be handled in the task aside."""
        if self._rest is not None:
            self._rest.set_result(True)
            return
        # What runs there is no business of the caller, who may be on another loop of
        # the same thread. Never eager: ``_stand_aside()`` looks for itself here.
        steps, context = self._stand_aside(), contextvars.Context()
        self._aside = asyncio.Task(steps, loop=self._inbox.loop, context=context)

    def _dismiss(self) -> None:
        """End the task aside, if it is at rest."""
        if self._rest is not None and not self._rest.done():
            self._rest.set_result(False)
            self._rest = self._aside = None

    async def _stand_aside(self) -> None:
        aside = self._aside
        while await self._handle_aside():
            self._aside = aside
            self._rest = self._inbox.loop.create_future()
            try:
                if not await self._rest:
                    return
            except asyncio.CancelledError:
                self._aside = self._rest = None
                raise
            self._rest = None

    async def _handle_aside(self) -> bool:
        """Handle what is there; tell whether to wait for more."""
        handling, inbox, worker = self.handling, self._inbox, self._worker
        worker.task = self._aside
        try:
            while self._has_work():
                if (rest := self._begin(self._steps())) is not None:
                    await rest
                if inbox.has_news:
                    await asyncio.sleep(0)
        except asyncio.CancelledError as error:
            self._is_left = handling.takes_cancel()
            self._error = error
        except Exception as error:
            self._error = error
        finally:
            worker.task = self._task
            self._aside = None
        if self._error is None and inbox.end is None:
            return self._is_reading
        self._fetch()
        return False

    def _fetch(self) -> None:
        """Get the own task out of its reading: there is nothing more to read."""
        if self._is_reading and self._task is not None and not self._is_fetched:
            self._is_fetched = True
            self._task.cancel()

    def _was_fetched(self) -> bool:
        """Tell whether a cancellation was only ``_fetch()``'s."""
        if not self._is_fetched or self._task is None:
            return False
        self._is_fetched = False
        return self._task.uncancel() <= self._cancels

    async def _wait_for_aside(self, aside: asyncio.Task[None]) -> None:
        try:
            await asyncio.wait([aside])
        except asyncio.CancelledError:
            await self._stop_aside()
            raise

    async def _stop_aside(self) -> None:
        """Cancel the handler that runs aside, as the server has the own task."""
        while (aside := self._aside) is not None and not aside.done():
            aside.cancel()
            with contextlib.suppress(asyncio.CancelledError):  # a second time, too
                await asyncio.wait([aside])
        if self._error is not None and not self._is_left:
            raise self._error
