"""Event streams: the format, the heartbeat, and the close in the source's own task."""

import asyncio
import datetime
import gc
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from contextvars import ContextVar
from typing import cast

import pytest
from django.http import HttpResponse
from django.middleware.gzip import GZipMiddleware
from django.test import RequestFactory

from django_asgi_bridge.http.events import Event, EventSource
from django_asgi_bridge.http.eventstream import (
    AsyncSourceError,
    EventStreamResponse,
    last_event_id,
)


class FakeTimer:
    """Stands for `loop.call_later`: a test fires what was asked for."""

    def __init__(self) -> None:
        self.calls: list[tuple[float, Callable[[], None]]] = []
        self.asked = asyncio.Event()
        self.cancelled = 0

    def __call__(self, seconds: float, callback: Callable[[], None]) -> "FakeTimer":
        self.calls.append((seconds, callback))
        self.asked.set()
        return self

    def cancel(self) -> None:
        self.cancelled += 1

    async def fire(self) -> None:
        await self.asked.wait()
        self.asked.clear()
        self.calls[-1][1]()


async def never_ending(log: list[object]) -> AsyncIterator[str]:
    log.append(asyncio.current_task())
    try:
        yield "first"
        await asyncio.Event().wait()
    except BaseException as error:
        log.append(type(error))
        raise
    finally:
        log.append(asyncio.current_task())


async def read(response: EventStreamResponse) -> list[bytes]:
    return [chunk async for chunk in response]


# The format


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (Event("hello"), b"data: hello\n\n"),
        (Event(""), b"data: \n\n"),
        (Event(" padded"), b"data:  padded\n\n"),
        (Event("a\nb\rc\r\nd\n"), b"data: a\ndata: b\ndata: c\ndata: d\ndata: \n\n"),
        (Event("a\u2028b\x0bc"), "data: a\u2028b\x0bc\n\n".encode()),
        (Event({"a": [1, None]}), b'data: {"a": [1, null]}\n\n'),
        (Event(0), b"data: 0\n\n"),
        (Event(datetime.date(2026, 1, 2)), b'data: "2026-01-02"\n\n'),
        (Event(event="done"), b"event: done\ndata: \n\n"),
        (Event(id=""), b"id: \n\n"),
        (Event(retry=0), b"retry: 0\n\n"),
        (Event(comment="a\nb"), b": a\n: b\n\n"),
        (
            Event("x", event="e", id="7", retry=9, comment="c"),
            b": c\nevent: e\nid: 7\nretry: 9\ndata: x\n\n",
        ),
    ],
)
def test_event_writes_the_format_when_encoded(event, expected):
    """An event is written line by line, as the HTML standard reads it."""
    assert event.encode() == expected


@pytest.mark.parametrize("field", ["id", "event"])
@pytest.mark.parametrize("mark", ["\r", "\n", "\0"])
def test_event_refuses_the_field_when_it_would_end_the_line(field, mark):
    """No value of an id or a name can smuggle another field into the stream."""
    with pytest.raises(ValueError, match=f"Event {field} .* at position 1"):
        Event("x", **{field: f"a{mark}b"})  # type: ignore[arg-type]  # id or event


@pytest.mark.parametrize("retry", [-1, 1.5, True, "3"])
def test_event_refuses_retry_when_not_whole_milliseconds(retry):
    with pytest.raises(ValueError, match="whole number of milliseconds"):
        Event("x", retry=retry)


def test_event_refuses_to_be_made_when_empty():
    with pytest.raises(ValueError, match="nothing in it"):
        Event()


def test_event_raises_type_error_when_data_is_not_json():
    with pytest.raises(TypeError, match="not JSON serializable"):
        Event(object()).encode()


# The response, any source


def test_response_has_stream_headers_when_made():
    response = EventStreamResponse([], headers={"X-Mine": "1"}, status=202)
    assert response.status_code == 202
    assert response["Content-Type"] == "text/event-stream; charset=utf-8"
    assert response["Cache-Control"] == "no-cache, no-transform"
    assert response["X-Accel-Buffering"] == "no"
    assert response["X-Mine"] == "1"
    assert "Content-Encoding" not in response.headers


def test_response_keeps_the_header_when_the_view_gives_it():
    response = EventStreamResponse([], headers={"Cache-Control": "no-store"})
    assert response["Cache-Control"] == "no-store"


@pytest.mark.parametrize("event", ["text", b"bytes", {"a": 1}, Event("x")])
def test_response_refuses_the_source_when_it_is_one_event(event):
    with pytest.raises(TypeError, match="put it in a list"):
        EventStreamResponse(event)


@pytest.mark.parametrize("heartbeat", [0, -1, float("nan")])
def test_response_refuses_heartbeat_when_not_positive(heartbeat):
    with pytest.raises(ValueError, match="greater than 0"):
        EventStreamResponse([], heartbeat=heartbeat)


def test_sync_response_sends_each_kind_when_iterated():
    """Under WSGI a sync source is sent event by event."""
    source: list[EventSource] = [Event("a", id="1"), "b", {"c": 1}, b": raw\n\n"]
    response = EventStreamResponse(source, retry=500)
    assert list(response) == [
        b"retry: 500\n\n",
        b"id: 1\ndata: a\n\n",
        b"data: b\n\n",
        b'data: {"c": 1}\n\n',
        b": raw\n\n",
    ]
    assert not response.is_async


def test_sync_response_does_not_run_ahead_when_iterated():
    seen = []

    def source():
        for number in range(3):
            seen.append(number)
            yield str(number)

    chunks = iter(EventStreamResponse(source()))
    assert next(chunks) == b"data: 0\n\n"
    assert seen == [0]


@pytest.mark.django_db
def test_sync_response_closes_the_generator_when_closed():
    closed = []

    def source():
        try:
            yield "a"
        finally:
            closed.append(True)

    response = EventStreamResponse(source())
    next(iter(response))
    response.close()
    assert closed == [True]


@pytest.mark.django_db
def test_sync_response_closes_the_source_when_it_never_ran():
    class Source:
        closed = 0

        def __iter__(self):
            return iter(["a"])

        def close(self):
            self.closed += 1

    source = Source()
    EventStreamResponse(source).close()
    assert source.closed == 1


def test_response_says_what_it_needs_when_an_async_source_is_read_sync():
    response = EventStreamResponse(never_ending([]))
    with pytest.raises(AsyncSourceError, match="serve it by ASGI"):
        list(response)


def test_response_names_the_item_when_the_source_gives_a_wrong_one():
    with pytest.raises(TypeError, match="source gave 5, expected an Event"):
        list(EventStreamResponse([5]))  # type: ignore[list-item]  # the point


@pytest.mark.parametrize("make", [lambda: ["x" * 999], lambda: never_ending([])])
def test_gzip_leaves_the_stream_alone_when_the_client_accepts_gzip(make):
    """GZipMiddleware neither compresses an event stream nor touches its headers."""
    response = EventStreamResponse(make())
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})
    before = dict(response.headers)

    middleware = GZipMiddleware(lambda request: response)
    answer = middleware(request)

    assert isinstance(answer, EventStreamResponse)
    assert dict(answer.headers) == before
    assert answer.is_async or list(answer) == [b"data: " + b"x" * 999 + b"\n\n"]


def test_has_header_answers_truly_when_asked_for_other_headers():
    response = EventStreamResponse([])
    assert response.has_header("cache-control")
    assert not response.has_header("ETag")
    assert "Content-Encoding" in response


# The response, async sources


@pytest.mark.asyncio
async def test_async_response_sends_all_events_when_the_source_ends():
    async def source():
        yield Event("a")
        yield "b"

    response = EventStreamResponse(source(), retry=1)
    assert response.is_async
    assert await read(response) == [b"retry: 1\n\n", b"data: a\n\n", b"data: b\n\n"]


@pytest.mark.asyncio
async def test_async_response_does_not_run_ahead_when_the_client_is_slow():
    """The source stands still until the next event is asked for."""
    seen = []

    async def source():
        for number in range(3):
            seen.append(number)
            yield str(number)

    async with aclosing(aiter(EventStreamResponse(source()))) as chunks:
        await anext(chunks)
        for _ in range(5):
            await asyncio.sleep(0)
        assert seen == [0]


@pytest.mark.asyncio
async def test_async_response_beats_when_the_source_is_silent():
    """Each silence of `heartbeat` seconds sends one comment; the wait goes on."""
    timer, event = FakeTimer(), asyncio.Event()

    async def source():
        await event.wait()
        yield "late"

    response = EventStreamResponse(source(), heartbeat=7.0, timer=timer)
    async with aclosing(aiter(response)) as chunks:
        for _ in range(2):
            chunk, _ = await asyncio.gather(anext(chunks), timer.fire())
            assert chunk == b": keep-alive\n\n"
        event.set()
        assert await anext(chunks) == b"data: late\n\n"
    assert [seconds for seconds, _ in timer.calls] == [7.0] * len(timer.calls)
    assert timer.cancelled == len(timer.calls)


@pytest.mark.asyncio
async def test_async_response_sets_no_timer_when_heartbeat_is_none():
    async def source():
        await asyncio.sleep(0)
        yield "a"

    timer = FakeTimer()
    response = EventStreamResponse(source(), heartbeat=None, timer=timer)
    assert await read(response) == [b"data: a\n\n"]
    assert timer.calls == []


@pytest.mark.asyncio
async def test_source_stays_in_one_task_when_heartbeats_come_between():
    """Time-outs, task groups and context variables of a source span its yields."""
    variable: ContextVar[str] = ContextVar("variable", default="unset")
    timer, event, tasks = FakeTimer(), asyncio.Event(), []

    async def source():
        variable.set("set")
        async with asyncio.timeout(1000), asyncio.TaskGroup():
            tasks.append(asyncio.current_task())
            yield "a"
            await event.wait()
            tasks.append(asyncio.current_task())
            yield variable.get()
        tasks.append(asyncio.current_task())

    response = EventStreamResponse(source(), timer=timer)
    async with aclosing(aiter(response)) as chunks:
        await anext(chunks)
        timer.asked.clear()
        await asyncio.gather(anext(chunks), timer.fire())
        event.set()
        assert await anext(chunks) == b"data: set\n\n"
        with pytest.raises(StopAsyncIteration):
            await anext(chunks)
    assert len(tasks) == 3
    assert len(set(tasks)) == 1


@pytest.mark.asyncio
async def test_source_is_closed_in_its_task_when_it_stands_at_a_yield():
    log: list[object] = []
    async with aclosing(aiter(EventStreamResponse(never_ending(log)))) as chunks:
        await anext(chunks)
    started, error, ended = log
    assert error is GeneratorExit
    assert started is ended


@pytest.mark.asyncio
async def test_source_is_cancelled_at_once_when_it_awaits_something():
    """A client that leaves does not wait for the next event or heartbeat."""
    log: list[object] = []
    response = EventStreamResponse(never_ending(log), heartbeat=None)
    chunks = aiter(response)
    await anext(chunks)
    reader = asyncio.ensure_future(anext(chunks))
    for _ in range(5):
        await asyncio.sleep(0)

    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reader

    started, error, ended = log
    assert error is asyncio.CancelledError
    assert started is ended


@pytest.mark.asyncio
async def test_reader_ends_when_another_task_closes_the_response():
    log: list[object] = []
    response = EventStreamResponse(never_ending(log), heartbeat=None)
    chunks = aiter(response)
    await anext(chunks)
    reader = asyncio.ensure_future(anext(chunks))
    for _ in range(5):
        await asyncio.sleep(0)

    await response.aclose()

    with pytest.raises(StopAsyncIteration):
        await reader
    assert len(log) == 3


@pytest.mark.asyncio
async def test_close_waits_for_the_clean_up_when_the_source_awaits_in_it():
    log = []

    async def source():
        try:
            yield "a"
        finally:
            await asyncio.sleep(0)
            log.append("cleaned")

    async with aclosing(aiter(EventStreamResponse(source()))) as chunks:
        await anext(chunks)
    assert log == ["cleaned"]


@pytest.mark.asyncio
async def test_close_ends_when_the_source_ignores_its_cancellation():
    event = asyncio.Event()

    async def source():
        yield "a"
        try:
            await event.wait()
        except asyncio.CancelledError:
            yield "farewell"

    response = EventStreamResponse(source(), heartbeat=None)
    chunks = aiter(response)
    await anext(chunks)
    reader = asyncio.ensure_future(anext(chunks))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await response.aclose()
    await asyncio.wait({reader})
    assert reader.exception() is None or isinstance(
        reader.exception(), StopAsyncIteration
    )
    await chunks.aclose()


@pytest.mark.asyncio
async def test_source_error_reaches_the_reader_when_it_raises():
    async def source():
        yield "a"
        raise KeyError("lost")

    chunks = aiter(EventStreamResponse(source()))
    await anext(chunks)
    with pytest.raises(KeyError, match="lost"):
        await anext(chunks)


@pytest.mark.asyncio
async def test_type_error_of_the_source_reaches_the_reader_when_it_raises():
    """A TypeError of the source is not taken for a source of the wrong kind."""

    async def source():
        yield "a"
        raise TypeError("mine")

    with pytest.raises(TypeError, match="mine"):
        await read(EventStreamResponse(source()))


@pytest.mark.asyncio
async def test_source_is_closed_when_its_event_cannot_be_encoded():
    closed = []

    async def source():
        try:
            yield cast("str", object())
        finally:
            closed.append(True)

    with pytest.raises(TypeError, match="source gave"):
        await read(EventStreamResponse(source()))
    assert closed == [True]


@pytest.mark.asyncio
async def test_close_raises_when_the_clean_up_raises():
    async def source():
        try:
            yield "a"
        finally:
            raise OSError("clean-up")

    response = EventStreamResponse(source())
    chunks = aiter(response)
    await anext(chunks)
    with pytest.raises(OSError, match="clean-up"):
        await chunks.aclose()


@pytest.mark.asyncio
async def test_close_runs_nothing_when_the_source_never_ran():
    log: list[object] = []
    response = EventStreamResponse(never_ending(log))
    await response.aclose()
    response.close()
    assert log == []
    assert await read(response) == []


@pytest.mark.asyncio
async def test_sync_close_ends_the_task_when_nobody_closed_the_iterator():
    """Django's own `response.close()`, from a worker thread, is the last resort."""
    log: list[object] = []
    response = EventStreamResponse(never_ending(log))
    chunks = cast("AsyncIterator[bytes]", response.streaming_content)
    await anext(chunks)
    await asyncio.to_thread(response.close)
    await asyncio.wait({log[0]})  # type: ignore[type-var]  # the task
    assert len(log) == 3


@pytest.mark.asyncio
async def test_source_is_closed_when_middleware_wrapped_the_content():
    log: list[object] = []
    response = EventStreamResponse(never_ending(log))

    async def upper(content):
        try:
            async for chunk in content:
                yield chunk.upper()
        finally:
            log.append("end of middleware")

    response.streaming_content = upper(response.streaming_content)
    async with aclosing(aiter(response)) as chunks:
        assert await anext(chunks) == b"DATA: FIRST\n\n"
    assert len(log) == 4
    assert log[1] == "end of middleware"


@pytest.mark.asyncio
async def test_no_generator_is_left_when_middleware_wrapped_the_content():
    """Nothing of a stream is left to the garbage collector."""
    left: list[object] = []
    sys.set_asyncgen_hooks(finalizer=left.append)  # the loop's own, for this loop
    response = EventStreamResponse(never_ending([]))

    async def same(content):
        async for chunk in content:
            yield chunk

    response.streaming_content = same(response.streaming_content)
    async with aclosing(aiter(response)) as chunks:
        await anext(chunks)
    del response, chunks
    gc.collect()
    assert left == []


@pytest.mark.asyncio
async def test_no_task_is_left_when_the_stream_ends():
    before = asyncio.all_tasks()

    async def source():
        yield "a"

    await read(EventStreamResponse(source()))
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == before


# Last-Event-ID


@pytest.mark.parametrize(
    ("headers", "query", "expected"),
    [
        ({}, "", None),
        ({"Last-Event-ID": "7"}, "", "7"),
        ({"Last-Event-ID": "7"}, "lastEventId=8", "7"),
        ({}, "lastEventId=8", "8"),
        ({"Last-Event-ID": "ü".encode().decode("latin-1")}, "", "ü"),
        ({"Last-Event-ID": "\xff"}, "", "\ufffd"),
        ({"Last-Event-ID": "你"}, "", "你"),
        ({"Last-Event-ID": ""}, "", None),
        ({}, "lastEventId=a%0Ab", None),
        ({}, "lastEventId=a%00", None),
    ],
)
def test_last_event_id_reads_header_then_query_when_asked(headers, query, expected):
    """What could not be an id is no id, so that it can be sent back safely."""
    request = RequestFactory().get(f"/?{query}", headers=headers)
    assert last_event_id(request) == expected


def test_plain_responses_are_not_concerned_when_gzip_runs():
    """The test of GZipMiddleware above would notice a middleware that does nothing."""
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip"})
    answer = GZipMiddleware(lambda request: HttpResponse("x" * 999))(request)
    assert isinstance(answer, HttpResponse)
    assert answer["Content-Encoding"] == "gzip"
