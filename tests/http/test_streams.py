"""Streamed responses: sent as they are made, closed where they ran, held to length."""

import asyncio
import contextlib
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.db import connections
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.gzip import GZipMiddleware

from django_asgi_bridge.http import streams_body
from django_asgi_bridge.http.eventstream import EventStreamResponse
from django_asgi_bridge.protocol.response import BadResponse
from django_asgi_bridge.threads import get_pool, run_sync
from tests.http.exchanges import Base, Gate, Ledger, Wire, lost_generators, settle, site

pytestmark = pytest.mark.asyncio

GZIP = "django.middleware.gzip.GZipMiddleware"
ALIAS = "scratch"


def answering(make: Any, mode: str) -> Any:
    """A view, sync or async, that streams what ``make()`` gives."""

    def view(request):
        return StreamingHttpResponse(make())

    async def async_view(request):
        return StreamingHttpResponse(make())

    return view if mode == "sync" else async_view


@pytest.fixture
def scratch(tmp_path, monkeypatch, django_db_blocker) -> Iterator[str]:
    """Give the alias of a SQLite file with 50 lines and 200 groups."""
    options = {**connections.settings["default"], "NAME": str(tmp_path / "db.sqlite3")}
    options["ENGINE"] = "django.db.backends.sqlite3"
    monkeypatch.setitem(connections.settings, ALIAS, options)
    with django_db_blocker.unblock():
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("CREATE TABLE line (words text)")
            cursor.executemany(
                "INSERT INTO line VALUES (%s)", [(f"line {i}",) for i in range(50)]
            )
        with connections[ALIAS].schema_editor() as editor:
            editor.create_model(Group)
        Group.objects.using(ALIAS).bulk_create(
            [Group(name=f"group {i}") for i in range(200)]
        )
        connections[ALIAS].close()
        yield ALIAS
        connections[ALIAS].close()
        del connections[ALIAS]


# Sync iterators.


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_item_leaves_before_the_next_is_made_when_items_are_slow(mode):
    """The generator goes on only after its item was sent."""
    sent = [Gate() for _ in range(4)]

    def items():
        yield b"first"
        for i, gate in enumerate(sent[:3]):
            # Stuck for ever if the item before were held back.
            gate.wait()
            yield b"item %d" % i

    def on_send(number, message):
        if message.get("body"):
            sent[sum(bool(each) for each in wire.chunks)].open()

    wire = Wire(on_send=on_send)
    with site(answering(items, mode)) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.chunks == [b"first", b"item 0", b"item 1", b"item 2", b""]
    assert left == {}


class Silence:
    """Stands for `loop.call_later`: keeps what was asked for, for a test to fire."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.seconds: list[float] = []
        self._has_asked = asyncio.Event()

    def __call__(self, seconds: float, callback: Any) -> "Silence":
        self.seconds.append(seconds)
        self.asked.append(callback)
        self._has_asked.set()
        return self

    def cancel(self) -> None:
        self.asked.clear()
        self._has_asked.clear()

    async def fire(self) -> None:
        await settle()  # what was sent last is out of the way
        await self._has_asked.wait()
        callback = self.asked.pop()
        self.cancel()
        callback()


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_event_stream_of_a_sync_source_beats_while_it_is_silent(mode):
    """Comments between the events, while the source is stuck on its worker."""
    silence = Silence()
    go_on = [Gate(), Gate()]

    def events():
        go_on[0].wait()
        yield "one"
        go_on[1].wait()
        yield "two"

    def make(request):
        return EventStreamResponse(events(), heartbeat=7, timer=silence)

    async def make_async(request):
        return make(request)

    wire = Wire()
    with site(make if mode == "sync" else make_async) as handler:
        base = Base()
        wire.start(handler)
        for number, gate in enumerate(go_on):
            # The start of the response, then two beats and an event in turns.
            await wire.until_sent(1 + 3 * number)
            for nth in (1, 2):
                await silence.fire()
                await wire.until_sent(1 + 3 * number + nth)
            gate.open()
        error = await wire.ended()
        left = await base.left()

    beat = b": keep-alive\n\n"
    assert error is None
    assert wire.body == beat * 2 + b"data: one\n\n" + beat * 2 + b"data: two\n\n"
    assert set(silence.seconds) == {7}
    assert silence.asked == []
    assert left == {}


async def test_beat_follows_the_items_that_were_made_before_it():
    """A heartbeat never overtakes an event, and none comes after the end."""
    silence = Silence()
    made, go_on = Gate(), Gate()

    def events():
        yield "one"
        made.open()
        go_on.wait()

    def view(request):
        return EventStreamResponse(events(), heartbeat=7, timer=silence)

    wire = Wire()
    with site(view) as handler:
        wire.start(handler)
        await made.opened()
        late = list(silence.asked)
        late[-1]()
        await wire.until_sent(2)
        go_on.open()
        await wire.ended()
        late[-1]()
        await settle()

    assert wire.body == b"data: one\n\n"


async def test_event_stream_does_not_beat_when_middleware_wrapped_its_items():
    """What another iterator makes of the events may be cut anywhere."""

    def view(request):
        response = EventStreamResponse(iter(["one"]), heartbeat=7)
        assert response.sync_beat is not None
        response.streaming_content = map(bytes.upper, response.streaming_content)
        assert response.sync_beat is None
        return response

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"DATA: ONE\n\n"


async def test_first_byte_leaves_when_a_generator_never_ends():
    """An endless generator is sent from, not collected."""
    made = []

    def items():
        while True:
            made.append(1)
            yield b"x" * 1000

    wire = Wire(leaves_at=1)
    with site(answering(items, "sync")) as handler:
        await wire.serve(handler)

    assert len(wire.chunks[0]) >= 1000
    # One trip's worth: 64 KiB, or what 10 ms make.
    assert len(made) <= 3 * 66


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_look_ahead_is_bounded_when_the_client_reads_slowly(mode):
    """Not more than a trip's 64 KiB is made ahead of what was sent."""
    made, ahead = [], []

    def items():
        for i in range(100):
            made.append(i)
            yield bytes(32_768)

    def on_send(number, message):
        if message.get("body"):
            ahead.append(len(made) * 32_768 - len(wire.body))

    wire = Wire(on_send=on_send)
    with site(answering(items, mode)) as handler:
        await wire.serve(handler)

    assert len(wire.body) == 100 * 32_768
    assert max(ahead) <= 3 * 65_536


async def test_small_items_share_events_when_they_come_fast():
    """A generator of many small items does not cost an event each."""

    def items():
        for _ in range(5000):
            yield b"row\n"

    wire = Wire()
    with site(answering(items, "sync")) as handler:
        await wire.serve(handler)

    assert wire.body == b"row\n" * 5000
    assert len(wire.sent) < 500


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("end", ["exhausted", "client leaves", "raises", "cancelled"])
async def test_generator_runs_and_is_closed_on_one_worker(mode, end):
    """Each step and the finally clause see the same thread, not the loop's."""
    threads = []
    entered = Gate()

    def items():
        try:
            for i in range(20):
                threads.append(threading.get_ident())
                if end == "raises" and i == 10:
                    raise ValueError(end)
                yield bytes(65_536)
                entered.open()
        finally:
            threads.append(threading.get_ident())

    def on_send(number, message):
        if number == 5 and end == "client leaves":
            wire.leave()
        if number == 5 and end == "cancelled":
            wire.task.cancel()

    wire = Wire(on_send=on_send)
    with site(answering(items, mode)) as handler:
        base = Base()
        wire.start(handler)
        await wire.ended()
        left = await base.left()

    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads
    assert left == {}


async def test_generator_never_begun_is_closed_when_the_start_is_not_sent():
    closed = []

    class Items:
        def __iter__(self):
            return self

        def __next__(self):
            return b"x"

        def close(self):
            closed.append(threading.get_ident())

    def on_send(number, message):
        raise OSError("the peer is gone")

    wire = Wire(on_send=on_send)
    with site(answering(Items, "sync")) as handler:
        await wire.serve(handler)

    assert len(closed) == 1
    assert threading.get_ident() not in closed


@pytest.mark.parametrize("end", ["exhausted", "client leaves"])
@pytest.mark.parametrize("source", ["cursor", "chunked"])
async def test_cursor_stays_open_when_a_generator_reads_it(end, source, scratch):
    """A generator over an open cursor has its connection until it is closed."""
    threads, open_after = set(), []

    def items():
        with contextlib.ExitStack() as stack:
            cursor = stack.enter_context(connections[scratch].cursor())
            cursor.execute("SELECT words FROM line")
            stack.callback(
                lambda: open_after.append(connections[scratch].connection is not None)
            )
            rows = iter(cursor) if source == "cursor" else iter(cursor.fetchone, None)
            for (words,) in rows:
                threads.add(threading.get_ident())
                yield words.encode().ljust(40_000)

    wire = Wire(leaves_at=5 if end == "client leaves" else None)
    with site(answering(items, "sync")) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    if end == "exhausted":
        assert len(wire.body) == 50 * 40_000
    assert len(threads) == 1
    assert open_after == [True]
    assert left == {}


@pytest.mark.parametrize("end", ["exhausted", "client leaves"])
async def test_queryset_iterator_streams_when_a_view_hands_it_over(end, scratch):
    """QuerySet.iterator() under a sync view: all rows, on one worker."""
    threads = set()

    def items():
        for group in Group.objects.using(scratch).iterator(chunk_size=10):
            threads.add(threading.get_ident())
            yield group.name.encode().ljust(10_000)

    wire = Wire(leaves_at=5 if end == "client leaves" else None)
    with site(answering(items, "sync")) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    if end == "exhausted":
        assert len(wire.body) == 200 * 10_000
    assert len(threads) == 1
    assert left == {}


async def test_503_is_answered_when_too_many_sync_streams_are_under_way():
    """MAX_SYNC_STREAMS: the next one gets Retry-After, others go on."""
    under_way, go_on = Gate(), Gate()

    def items():
        yield b"a" * 65_536
        under_way.open()
        go_on.wait()
        yield b"b"

    def stream(request):
        return StreamingHttpResponse(items())

    def plain(request):
        return HttpResponse("plain")

    with site(stream, plain, bridge={"MAX_SYNC_STREAMS": 1}) as handler:
        base = Base()
        first = Wire()
        first.start(handler)
        await under_way.opened()
        second = await Wire().serve(handler)
        third = await Wire("/plain").serve(handler)
        go_on.open()
        await first.ended()
        fourth = await Wire().serve(handler)
        left = await base.left()

    assert first.body == b"a" * 65_536 + b"b"
    assert second.status == 503
    assert int(second.header("retry-after")) >= 1
    assert third.body == b"plain"
    assert fourth.status == 200
    assert left == {}


# Async iterators.


async def test_async_item_leaves_before_the_next_is_made():
    made = []

    async def items():
        for i in range(5):
            made.append((i, len(wire.chunks)))
            yield b"%d" % i

    wire = Wire()
    with site(answering(items, "async")) as handler:
        await wire.serve(handler)

    assert made == [(i, i) for i in range(5)]
    assert wire.chunks == [b"0", b"1", b"2", b"3", b"4", b""]


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_worker_and_connections_are_back_before_an_async_stream_begins(
    mode, scratch
):
    """A view that asked the database holds neither while it streams."""
    stats, closed = [], []
    kept: list[Any] = []

    def ask():
        with connections[scratch].cursor() as cursor:
            cursor.execute("SELECT 1")
        kept.append(connections[scratch].connection)

    def is_closed():
        import sqlite3

        try:
            kept[0].execute("SELECT 1")
        except sqlite3.ProgrammingError as error:
            return "closed" in str(error)
        return False

    async def items() -> AsyncIterator[bytes]:
        stats.append(get_pool().stats().leased)
        closed.append(is_closed())
        yield b"one"
        await run_sync(ask)
        stats.append(get_pool().stats().leased)
        yield b"two"

    def view(request):
        ask()
        return StreamingHttpResponse(items())

    async def async_view(request):
        await run_sync(ask)
        return StreamingHttpResponse(items())

    wire = Wire()
    monkey = pytest.MonkeyPatch()
    # The connection is looked at from the loop's thread.
    monkey.setitem(
        connections.settings[scratch], "OPTIONS", {"check_same_thread": False}
    )
    with site(view if mode == "sync" else async_view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()
    monkey.undo()

    assert wire.body == b"onetwo"
    assert stats == [0, 0]
    assert closed == [True]
    assert left == {}


async def test_no_worker_is_busy_when_200_async_streams_are_open():
    """Open event streams cost neither threads nor slots."""
    go_on, begun = Gate(), []
    all_begun = Gate()

    async def items():
        begun.append(1)
        if len(begun) == 200:
            all_begun.open()
        yield b"hello"
        await go_on.opened()

    async def view(request):
        await run_sync(threading.get_ident)
        return StreamingHttpResponse(items())

    with site(view) as handler:
        base = Base()
        wires = [Wire() for _ in range(200)]
        for wire in wires:
            wire.start(handler)
        await all_begun.opened()
        await settle()
        stats = get_pool().stats()
        go_on.open()
        for wire in wires:
            await wire.ended()
        left = await base.left()

    assert (stats.leased, stats.running, stats.waiting) == (0, 0, 0)
    assert {wire.body for wire in wires} == {b"hello"}
    assert left == {}


async def test_stream_reads_the_request_body_while_it_answers():
    """An echo: the response is made of the request as it comes."""
    log = []

    @streams_body
    async def view(request):
        async def items():
            async for chunk in request.stream():
                log.append((wire.received, len(wire.chunks)))
                yield chunk.upper()

        return StreamingHttpResponse(items())

    wire = Wire(method="POST", body=[b"a", b"b", b"c"])
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"ABC"
    assert log == [(1, 0), (2, 1), (3, 2)]


# Compression.


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_compressed_stream_is_whole_and_closed(kind):
    import gzip

    closed = []

    def items():
        try:
            for i in range(20):
                yield b"%d " % i * 500
        finally:
            closed.append(threading.get_ident())

    async def async_items():
        try:
            for item in items():
                yield item
        finally:
            closed.append("async")

    make = items if kind == "sync" else async_items
    wire = Wire(headers=[("accept-encoding", "gzip")])
    with (
        site(answering(make, "async"), middleware=[GZIP]) as handler,
        lost_generators() as lost,
    ):
        base = Base()
        await wire.serve(handler)
        gc.collect()
        left = await base.left()

    assert wire.header("content-encoding") == "gzip"
    assert gzip.decompress(wire.body) == b"".join(b"%d " % i * 500 for i in range(20))
    assert closed
    assert lost == []
    assert left == {}


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_compressed_stream_is_closed_when_the_client_leaves(kind):
    """gzip's wrapper does not close what it wraps; the handler does."""
    closed = []

    def items():
        try:
            while True:
                yield bytes(range(256)) * 1000
        finally:
            closed.append("sync")

    async def async_items():
        try:
            while True:
                yield bytes(range(256)) * 1000
        finally:
            closed.append("async")

    make = items if kind == "sync" else async_items
    wire = Wire(
        headers=[("accept-encoding", "gzip")],
        leaves_at=3,
    )
    with (
        site(answering(make, "async"), middleware=[GZIP]) as handler,
        lost_generators() as lost,
    ):
        base = Base()
        await wire.serve(handler)
        after = list(closed)
        left = await base.left()

    assert after == [kind]
    assert lost == []
    assert left == {}


async def test_stream_wrapped_by_a_middleware_of_the_site_is_closed():
    """A map over streaming_content, as many projects have it."""
    closed = []

    def items():
        try:
            while True:
                yield b"x" * 65_536
        finally:
            closed.append(threading.get_ident())

    wire = Wire(leaves_at=3)
    with site(answering(items, "sync"), middleware=[f"{__name__}.upper"]) as handler:
        await wire.serve(handler)

    assert len(closed) == 1
    assert wire.chunks[0][:1] == b"X"


def upper(get_response):
    """Make a sync middleware that maps a stream."""

    def middleware(request):
        response = get_response(request)
        response.streaming_content = map(bytes.upper, response.streaming_content)
        return response

    return middleware


# Length.


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("length", [5, 15])
async def test_stream_is_held_to_its_length_when_it_announces_one(kind, length):
    """Excess is not sent, shortage breaks the connection off."""

    def items():
        yield b"12345"
        yield b"67890"

    async def async_items():
        for item in items():
            yield item

    ledger = Ledger()

    async def view(request):
        response = StreamingHttpResponse(items() if kind == "sync" else async_items())
        response["Content-Length"] = str(length)
        return ledger.keep(response)

    wire = Wire()
    with site(view) as handler, ledger.watching():
        base = Base()
        with pytest.raises(BadResponse, match="Content-Length announced"):
            await wire.serve(handler)
        left = await base.left()

    assert len(wire.body) <= length
    assert not wire.is_complete
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_right_length_is_kept_when_a_stream_announces_it():
    async def view(request):
        response = StreamingHttpResponse(iter([b"12345", b"67890"]))
        response["Content-Length"] = "10"
        return response

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"1234567890"
    assert wire.header("content-length") == "10"
    assert wire.is_complete


async def test_real_length_is_sent_when_a_plain_response_announces_another():
    async def view(request):
        return HttpResponse("four", headers={"Content-Length": "400"})

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.header("content-length") == "4"
    assert wire.body == b"four"


# Responses without a body.


@pytest.mark.parametrize("status", [200, 204, 304])
@pytest.mark.parametrize("kind", ["plain", "sync", "async"])
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_stream_is_closed_unread_when_the_answer_has_no_body(mode, kind, status):
    """HEAD, 204, 304: the view runs, nothing is pulled, no byte leaves."""
    made, closed = [], []

    class Items:
        def __iter__(self):
            return self

        def __next__(self):
            made.append(1)
            return b"x"

        def close(self):
            closed.append(True)

    class AsyncItems:
        def __aiter__(self):
            return self

        async def __anext__(self):
            made.append(1)
            return b"x"

        async def aclose(self):
            closed.append(True)

    ledger = Ledger()

    def answer():
        if kind == "plain":
            return ledger.keep(HttpResponse("body", status=status))
        content = Items() if kind == "sync" else AsyncItems()
        return ledger.keep(StreamingHttpResponse(content, status=status))

    def view(request):
        return answer()

    async def async_view(request):
        return answer()

    wire = Wire(method="HEAD" if status == 200 else "GET")
    with site(view if mode == "sync" else async_view) as handler, ledger.watching():
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == status
    assert wire.body == b""
    assert wire.is_complete
    assert made == []
    assert closed == ([] if kind == "plain" else [True])
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_async_generator_is_not_lost_when_a_head_request_leaves_it_unread():
    async def items():
        yield b"x"

    wire = Wire(method="HEAD")
    with site(answering(items, "async")) as handler, lost_generators() as lost:
        await wire.serve(handler)
        gc.collect()

    assert lost == []
    assert wire.body == b""


async def test_gzip_middleware_is_djangos_own():
    """The tests above speak of the class that projects name in their settings."""
    assert f"{GZipMiddleware.__module__}.{GZipMiddleware.__qualname__}" == GZIP
