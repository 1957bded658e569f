"""Server-sent events: a response that stays open and sends events as they come.

An async source runs in a task of its own: see ``sources``. A sync source runs on the
request's worker, and the handler beats while it is silent: see ``pulling``.

Specification: WHATWG HTML Living Standard, section "Server-sent events".
"""

from __future__ import annotations

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
from django_asgi_bridge.http.beats import Beat, Timer
from django_asgi_bridge.http.events import Event, EventSource, is_event_id
from django_asgi_bridge.http.sources import AsyncEvents, SyncEvents, aclose

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
        self._events: AsyncEvents | SyncEvents
        if isinstance(events, Iterable):
            self._events = SyncEvents(events, prologue)
        else:
            self._events = AsyncEvents(aiter(events), prologue, self._beat())
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
            await aclose(content)
            await self.aclose()

    @property
    def sync_beat(self) -> Beat | None:
        """The heartbeat of a sync source, for the handler, which can send it.

        None where middleware has put another iterator in the source's place: its
        items need not be whole events.
        """
        is_ours = cast("Any", self)._iterator is self._events
        return self._beat() if is_ours and self._keeps("__iter__") else None

    @property
    def async_events(self) -> AsyncEvents | None:
        """An async source, for the handler, which lets it send its events itself.

        None where middleware has put another iterator in its place, where somebody
        has begun to read it, and where a subclass reads it in its own way.
        """
        events = self._events
        is_ours = cast("Any", self)._iterator is events and self._keeps("__aiter__")
        if is_ours and isinstance(events, AsyncEvents) and not events.is_begun:
            return events
        return None

    def _keeps(self, iteration: str) -> bool:
        """Tell whether nobody has put another ``iteration`` in the place of ours."""
        return "make_bytes" not in self.__dict__ and all(
            getattr(type(self), name) is getattr(EventStreamResponse, name)
            for name in (iteration, "make_bytes")
        )

    def _beat(self) -> Beat | None:
        if self.heartbeat is None:
            return None
        return Beat(self.heartbeat, self.heartbeat_chunk, self._timer)

    async def aclose(self) -> None:
        """Close an async source and wait for its clean-up; else do nothing."""
        if isinstance(self._events, AsyncEvents):
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
