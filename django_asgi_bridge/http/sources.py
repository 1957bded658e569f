"""The sources of event streams: what encodes their events, and runs an async one.

An async source runs in one task of its own, which advances it, and closes it. So
task groups, time-outs and context variables inside it see one task from the first
event to the last, and no heartbeat cancels or moves it. (To time out its
``__anext__()`` would cancel it, and a new task for each event would break all three.)

Where the handler serves the response, that task also sends the events. Where somebody
iterates over the response, he asks the task for one event at a time, and waits for
the answer or for the heartbeat, whichever comes first.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from time import monotonic
from types import EllipsisType

from django_asgi_bridge.http.beats import Beat, Pulse, TimerHandle
from django_asgi_bridge.http.contracts import Client
from django_asgi_bridge.http.events import EventSource, encode_event
from django_asgi_bridge.http.turns import turns_of_loop

__all__ = ("AsyncEvents", "SyncEvents", "aclose")

_TASK_NAME = "django_asgi_bridge.http.eventstream"


class SyncEvents:
    """Encodes a sync source, one event for each step."""

    __slots__ = ("_iterator", "_prologue", "_source")

    def __init__(self, source: Iterable[EventSource], prologue: bytes) -> None:
        self._source = source
        self._iterator = iter(source)
        self._prologue = prologue

    def __iter__(self) -> SyncEvents:
        return self

    def __next__(self) -> bytes:
        if self._prologue:
            prologue, self._prologue = self._prologue, b""
            return prologue
        return encode_event(next(self._iterator))

    def close(self) -> None:
        """Close the source, in the thread that calls; Django does with the response."""
        for closable in (self._iterator, self._source):
            close = getattr(closable, "close", None)
            if close is not None:
                close()
            if self._iterator is self._source:
                return


class AsyncEvents:
    """Encodes an async source, which runs in one task from its start to its close.

    At most one event is asked for and not yet fetched; the source stands still between.
    """

    __slots__ = (
        "_answer",
        "_beat",
        "_is_asked",
        "_is_closed",
        "_listener",
        "_prologue",
        "_question",
        "_source",
        "_task",
    )

    def __init__(
        self,
        source: AsyncIterator[EventSource],
        prologue: bytes,
        beat: Beat | None,
    ) -> None:
        self._source = source
        self._prologue = prologue
        self._beat = beat
        # An event is asked for, and not yet fetched.
        self._is_asked = False
        # The next chunk, or what ended the source: None or an error.
        self._answer: bytes | Exception | EllipsisType | None = ...
        # What the task waits for, and the response; the heartbeat ends that wait too.
        self._question: asyncio.Future[None] | None = None
        self._listener: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    @property
    def is_begun(self) -> bool:
        """Whether anything of the source was asked for, or it was closed."""
        return self._task is not None or self._is_closed

    async def send_all(
        self, send: Callable[[bytes], Awaitable[None]], client: Client
    ) -> None:
        """Let the source's task send the events; return at their end.

        Args:
            send: sends one, or a heartbeat.
            client: may have left when something was sent.
        """
        task = self._task = asyncio.get_running_loop().create_task(
            self._send_events(send, client), name=_TASK_NAME
        )
        try:
            await asyncio.wait({task})
        except BaseException:
            await self.aclose()
            raise
        # Who closes us gets the error of that himself.
        if not self._is_closed and not task.cancelled():
            task.result()

    def __aiter__(self) -> AsyncEvents:
        return self

    async def __anext__(self) -> bytes:
        if self._is_closed:
            raise StopAsyncIteration
        if self._prologue:
            prologue, self._prologue = self._prologue, b""
            return prologue
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = loop.create_task(self._run(), name=_TASK_NAME)
        if not self._is_asked:
            self._is_asked = True
            _wake(self._question)
        if self._answer is ...:
            await self._listen(loop)
        answer, self._answer = self._answer, ...
        if answer is ...:
            return b"" if self._beat is None else self._beat.chunk
        self._is_asked = False
        if isinstance(answer, bytes):
            return answer
        self._is_closed = True
        if answer is None:
            raise StopAsyncIteration
        try:
            raise answer
        finally:
            del answer  # its traceback knows this frame

    async def aclose(self) -> None:
        """Close the source in its own task, and wait until that has ended."""
        self._is_closed = True
        if self._task is None:
            await aclose(self._source)  # nothing of it has run
            return
        if not self._task.cancel():
            return  # it has ended
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.result()

    def close(self) -> None:
        """Ask for the close without waiting, from any thread: the last resort.

        Django calls it with the response's own ``close()``, which comes after
        `aclose()` wherever the handler closes iterators.
        """
        self._is_closed = True
        task = self._task
        if task is not None and not task.done():
            loop = task.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(task.cancel)

    async def _send_events(
        self, send: Callable[[bytes], Awaitable[None]], client: Client
    ) -> None:
        turns = turns_of_loop()
        pulse = Pulse(self._beat, send, client)
        try:
            if self._prologue:
                await send(self._prologue)
            pulse.set_timer()
            pulse.is_silent = True
            async for event in self._source:
                pulse.is_silent = False
                if pulse.sending is not None:
                    await pulse.sending
                await send(encode_event(event))
                # A source may take no notice of its cancellation.
                if self._is_closed or client.is_disconnected:
                    return
                now = pulse.since = monotonic()
                pulse.is_silent = True
                if pulse.needs_timer:
                    pulse.set_timer()
                if now > turns.end:
                    await turns.take()
            pulse.is_silent = False
            if pulse.sending is not None:
                await pulse.sending
        except asyncio.CancelledError:
            failure, pulse.failure = pulse.failure, None
            if failure is None:
                raise
            try:
                raise failure from None
            finally:
                del failure  # its traceback knows this frame
        finally:
            pulse.stop()
            await aclose(self._source)

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the answer, or until the heartbeat is due."""
        listener = self._listener = loop.create_future()
        timer: TimerHandle | None = None
        if self._beat is not None:
            start = self._beat.timer or loop.call_later
            timer = start(self._beat.seconds, lambda: _wake(listener))
        try:
            await listener
        finally:
            if timer is not None:
                timer.cancel()

    async def _run(self) -> None:
        """Advance the source for each question; close it when all is over."""
        failure: Exception | None = None
        try:
            await self._answer_questions(asyncio.get_running_loop())
        except Exception as error:
            if self._is_closed:
                raise  # `aclose()` waits for us and raises it
            failure = error
        finally:
            await aclose(self._source)
            self._give(failure)

    async def _answer_questions(self, loop: asyncio.AbstractEventLoop) -> None:
        # A source may take no notice of its cancellation, hence the condition.
        while not self._is_closed:
            if not self._is_asked or self._answer is not ...:
                self._question = loop.create_future()
                await self._question
            try:
                event = await anext(self._source)
            except StopAsyncIteration:
                return
            self._give(encode_event(event))

    def _give(self, answer: bytes | Exception | None) -> None:
        if self._is_asked and self._answer is ...:
            self._answer = answer
            _wake(self._listener)


def _wake(waiter: asyncio.Future[None] | None) -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def aclose(source: object) -> None:
    """Close an async iterator that can be closed."""
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()
