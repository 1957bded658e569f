"""Server-sent events: a response that stays open and sends events as they come.

An async source runs in one task of its own, which advances it, and closes it. The
response's iterator asks that task for one event at a time and waits for the answer or
for the heartbeat, whichever comes first. So a heartbeat never cancels or moves the
source: task groups, time-outs and context variables inside it see one task from the
first event to the last, and it never runs ahead of the client. (To time out its
``__anext__()`` would cancel it, and a new task for each event would break all three.)

A sync source runs on the request's worker, and the handler beats while it is silent:
see ``pulling``.

Specification: WHATWG HTML Living Standard, section "Server-sent events".
"""

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Iterable,
    Iterator,
    Mapping,
)
from types import EllipsisType
from typing import Any, cast

from django.http import HttpRequest, StreamingHttpResponse

from django_asgi_bridge.conf import get_config
from django_asgi_bridge.exceptions import BridgeError
from django_asgi_bridge.http.events import (
    Event,
    EventSource,
    encode_event,
    is_event_id,
)
from django_asgi_bridge.http.pulling import Beat, Timer, TimerHandle

__all__ = (
    "AsyncSourceError",
    "Event",
    "EventSource",
    "EventStreamResponse",
    "Timer",
    "last_event_id",
)


class AsyncSourceError(BridgeError, TypeError):
    """An event stream with an async source was read synchronously, as WSGI does.

    If you see this: serve the view by ASGI, or give the response a sync iterator.
    """


_Source = Iterable[EventSource] | AsyncIterable[EventSource]


class EventStreamResponse(StreamingHttpResponse):
    """Sends events to the browser's ``EventSource`` as they come.

    GZipMiddleware leaves it alone, since a compressor would hold small events back:
    the response says of itself that it has a ``Content-Encoding`` already. The header
    is not really there, as "identity" must not be sent (RFC 9110, section 8.4.1).

    Args:
        events: A sync or an async iterable of events. An async one is closed, in the
            task that ran it, as soon as the client leaves, whatever it waits for: a
            wait is cancelled, a generator that stands at its ``yield`` is closed.
        heartbeat: Seconds of silence after which a comment is sent, so that proxies
            keep the connection and a client that left is noticed; None for never.
        retry: Milliseconds that the browser waits before it reconnects.
        status: The HTTP status. 204 tells the browser not to reconnect.
        headers: More headers; those given here count before our own, except for
            Content-Type.
        timer: Calls the heartbeat; ``loop.call_later`` by default, another in tests.

    Raises:
        TypeError: ``events`` is one event instead of an iterable of events.
        ValueError: ``heartbeat`` or ``retry`` is out of range.
    """

    #: What a heartbeat sends.
    heartbeat_chunk = b": keep-alive\n\n"

    #: Seconds of silence before `heartbeat_chunk`, None for never.
    heartbeat: float | None

    def __init__(
        self,
        events: _Source,
        *,
        heartbeat: float | EllipsisType | None = ...,
        retry: int | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        timer: Timer | None = None,
    ) -> None:
        if isinstance(events, (Event, str, bytes, Mapping)):
            raise TypeError(
                f"EventStreamResponse got {events!r}, expected an iterable of events: "
                "put it in a list."
            )
        if heartbeat is ...:
            heartbeat = get_config().heartbeat
        if heartbeat is not None and not heartbeat > 0:
            raise ValueError(
                f"heartbeat={heartbeat!r} is not valid, expected a number of seconds "
                "greater than 0, or None for no heartbeat."
            )
        prologue = b"" if retry is None else Event(retry=retry).encode()
        self.heartbeat = heartbeat
        self._timer = timer
        self._events: _AsyncEvents | _SyncEvents
        if isinstance(events, Iterable):
            self._events = _SyncEvents(events, prologue)
        else:
            beat = (heartbeat, self.heartbeat_chunk)
            self._events = _AsyncEvents(aiter(events), prologue, beat, timer)
        super().__init__(
            # The stubs know iterables of bytes, not our classes.
            cast("Iterator[bytes]", self._events),
            content_type="text/event-stream; charset=utf-8",
            status=status,
            headers=dict(headers or {}),
        )
        self.headers.setdefault("Cache-Control", "no-cache, no-transform")
        self.headers.setdefault("X-Accel-Buffering", "no")

    def has_header(self, header: str) -> bool:
        """Tell whether a header is set; Content-Encoding always counts as set."""
        return header.lower() == "content-encoding" or super().has_header(header)

    __contains__ = has_header

    @property
    def streaming_content(self) -> Any:
        """The stream, for middleware that wraps it.

        Django gives a new async generator, which nobody would close; an async source
        gives the iterator itself, until middleware has put another in its place.
        """
        if self.is_async and cast("Any", self)._iterator is self._events:
            return self._events
        return super().streaming_content

    @streaming_content.setter
    def streaming_content(self, value: Any) -> None:
        cast("Any", self)._set_streaming_content(value)  # not in the stubs

    def __iter__(self) -> Iterator[bytes]:
        """Read a sync source.

        Raises:
            AsyncSourceError: The source is async; Django would collect it first, and
                an event stream may have no end.
        """
        if self.is_async:
            raise AsyncSourceError(
                "This EventStreamResponse has an async source, which a sync server or "
                "client cannot read: serve it by ASGI, or give it a sync iterator."
            )
        return super().__iter__()

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        """Read the stream; closing this iterator closes the source before it returns.

        A sync source is collected first, as any StreamingHttpResponse does; a handler
        that can read it in a worker thread does not come here.
        """
        if not self.is_async:
            async for chunk in super().__aiter__():
                yield chunk
            return
        # Middleware may have wrapped our iterator in one of its own.
        content: AsyncIterator[Any] = self._iterator  # type: ignore[attr-defined]  # Django's, not in its stubs
        try:
            async for chunk in content:
                yield self.make_bytes(chunk)
        finally:
            await _aclose(content)
            await self.aclose()

    @property
    def sync_beat(self) -> Beat | None:
        """The heartbeat of a sync source, for the handler, which can send it.

        None where middleware has put another iterator in the source's place: its
        items need not be whole events.
        """
        if self.heartbeat is None or cast("Any", self)._iterator is not self._events:
            return None
        return Beat(self.heartbeat, self.heartbeat_chunk, self._timer)

    async def aclose(self) -> None:
        """Close an async source and wait for its clean-up; else do nothing."""
        if isinstance(self._events, _AsyncEvents):
            await self._events.aclose()


def last_event_id(request: HttpRequest) -> str | None:
    """The id of the last event that the client has seen, to go on from there.

    It is what the client says: check it as any input. From the header
    ``Last-Event-ID``, else from the query parameter ``lastEventId`` (for clients that
    open a new stream by hand). None if there is none, or if it could not be an id.
    """
    value = request.headers.get("Last-Event-ID")
    if value is None:
        value = request.GET.get("lastEventId")
    else:
        # Browsers send UTF-8, which Django reads as Latin-1. What is not Latin-1 is
        # the text of a test client, not the bytes of a header.
        with contextlib.suppress(UnicodeEncodeError):
            value = value.encode("latin-1").decode("utf-8", "replace")
    return value if value is not None and is_event_id(value) else None


class _SyncEvents:
    """Encodes a sync source, one event for each step."""

    __slots__ = ("_iterator", "_prologue", "_source")

    def __init__(self, source: Iterable[EventSource], prologue: bytes) -> None:
        self._source = source
        self._iterator = iter(source)
        self._prologue = prologue

    def __iter__(self) -> "_SyncEvents":
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


class _AsyncEvents:
    """Encodes an async source, which runs in one task from its start to its close.

    At most one event is asked for and not yet fetched; the source stands still between.
    """

    __slots__ = (
        "_answer",
        "_beat_after",
        "_beat_chunk",
        "_is_asked",
        "_is_closed",
        "_listener",
        "_prologue",
        "_question",
        "_source",
        "_task",
        "_timer",
    )

    def __init__(
        self,
        source: AsyncIterator[EventSource],
        prologue: bytes,
        beat: tuple[float | None, bytes],
        timer: Timer | None,
    ) -> None:
        self._source = source
        self._prologue = prologue
        self._beat_after, self._beat_chunk = beat
        self._timer = timer
        # An event is asked for, and not yet fetched.
        self._is_asked = False
        # The next chunk, or what ended the source: None or an error.
        self._answer: bytes | Exception | EllipsisType | None = ...
        # What the task waits for, and the response; the heartbeat ends that wait too.
        self._question: asyncio.Future[None] | None = None
        self._listener: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> "_AsyncEvents":
        return self

    async def __anext__(self) -> bytes:
        if self._is_closed:
            raise StopAsyncIteration
        if self._prologue:
            prologue, self._prologue = self._prologue, b""
            return prologue
        loop = asyncio.get_running_loop()
        if self._task is None:
            self._task = loop.create_task(
                self._run(), name="django_asgi_bridge.http.eventstream"
            )
        if not self._is_asked:
            self._is_asked = True
            _wake(self._question)
        if self._answer is ...:
            await self._listen(loop)
        answer, self._answer = self._answer, ...
        if answer is ...:
            return self._beat_chunk
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
            await _aclose(self._source)  # nothing of it has run
            return
        self._task.cancel()
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

    async def _listen(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for the answer, or until the heartbeat is due."""
        listener = self._listener = loop.create_future()
        timer: TimerHandle | None = None
        if self._beat_after is not None:
            start = self._timer or loop.call_later
            timer = start(self._beat_after, lambda: _wake(listener))
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
            await _aclose(self._source)
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


def _wake(waiter: "asyncio.Future[None] | None") -> None:
    if waiter is not None and not waiter.done():
        waiter.set_result(None)


async def _aclose(source: object) -> None:
    aclose = getattr(source, "aclose", None)
    if aclose is not None:
        await aclose()
