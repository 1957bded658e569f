"""Request bodies: when they are received, who may read them, and what is too much."""

import asyncio
import gc
import logging
import threading
from typing import Any

import pytest
from django.http import HttpResponse, RawPostDataException
from django.http.request import UnreadablePostError
from django.utils.decorators import method_decorator
from django.views import View

from django_asgi_bridge.exceptions import ClientDisconnected
from django_asgi_bridge.http import abody, stream, streams_body
from django_asgi_bridge.threads import Lease
from tests.http.exchanges import Base, Gate, Ledger, Wire, lost_generators, site

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
FORM_TYPE = ("content-type", "application/x-www-form-urlencoded")


def chunks(count: int, size: int = 65536) -> list[bytes]:
    return [bytes([i % 251]) * size for i in range(count)]


def in_both_modes(answer: Any) -> list[Any]:
    """Make a sync and an async view of a function."""

    def view(request):
        return answer(request)

    async def async_view(request):
        return answer(request)

    return [pytest.param(view, id="sync"), pytest.param(async_view, id="async")]


def _length(request):
    return HttpResponse(str(len(request.body)))


# What views see.


@pytest.mark.parametrize("view", in_both_modes(lambda r: HttpResponse(r.body)))
@pytest.mark.parametrize(
    "body", [b"", b"one", [b"a", b"", b"b"], [b"", b"", b""], chunks(5)], ids=repr
)
async def test_body_is_whole_when_it_comes_in_any_number_of_events(view, body):
    """request.body works in sync and async views, however the body was cut."""
    expected = body if isinstance(body, bytes) else b"".join(body)

    with site(view) as handler:
        base = Base()
        wire = await Wire(method="POST", body=body).serve(handler)
        left = await base.left()

    assert wire.body == expected
    assert left == {}


@pytest.mark.parametrize(
    "view", in_both_modes(lambda r: HttpResponse(r.POST["a"] + r.POST["b"]))
)
async def test_form_is_there_when_the_view_asks_for_post(view):
    wire = Wire(method="POST", body=[b"a=1&", b"b=", b"2"], headers=[FORM_TYPE])

    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"12"


@pytest.mark.parametrize(
    "view",
    in_both_modes(lambda r: HttpResponse(r.read(2) + b"|" + r.readline() + r.read())),
)
async def test_request_reads_like_a_file_when_the_view_wants_that(view):
    wire = Wire(method="POST", body=[b"ab", b"cd\nef", b"gh"])

    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"ab|cd\nefgh"


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_body_raises_when_it_was_read_as_a_stream_before(mode):
    """As with Django: RawPostDataException, for body and for POST."""
    seen = []

    def use(request):
        request.read(1)
        for name in ("body",):
            try:
                getattr(request, name)
            except RawPostDataException as error:
                seen.append(str(error))
        return HttpResponse()

    async def view(request):
        return use(request)

    with site(use if mode == "sync" else view) as handler:
        await Wire(method="POST", body=[b"abc", b"def"]).serve(handler)

    assert seen == ["You cannot access body after reading from request's data stream"]


async def test_read_gives_exact_sizes_when_the_body_still_arrives():
    """A sync view that pulls gets what it asked for, not what came."""
    sizes = []

    def view(request):
        while piece := request.read(100_000):
            sizes.append(len(piece))
        return HttpResponse()

    with site(view) as handler:
        wire = await Wire(method="POST", body=chunks(5)).serve(handler)

    assert sizes == [100_000, 100_000, 100_000, 27_680]
    assert wire.received == 5


async def test_lines_are_whole_when_they_span_events():
    def view(request):
        return HttpResponse(b"|".join(request))

    body = [b"x" * 70_000, b"one\ntw", b"o\n", b"three"]
    with site(view) as handler:
        wire = await Wire(method="POST", body=body).serve(handler)

    assert wire.body == b"x" * 70_000 + b"one\n|two\n|three"


async def test_read_waits_once_when_many_events_bring_its_bytes(monkeypatch):
    """A wait takes two changes of the thread, so it is not one for each event."""
    waits = []
    call_async = Lease.call_async

    def counted(self, make, *args):
        waits.append(args)
        return call_async(self, make, *args)

    monkeypatch.setattr(Lease, "call_async", counted)
    sizes = []

    def view(request):
        while piece := request.read(100_000):
            sizes.append(len(piece))
        return HttpResponse()

    with site(view) as handler:
        wire = await Wire(method="POST", body=chunks(300, 1000)).serve(handler)

    assert sizes == [100_000, 100_000, 100_000]
    assert len(waits) == 3
    assert wire.received == 300


# Unread.


@pytest.mark.parametrize("kind", ["no such page", "streams_body", "too long"])
async def test_nothing_is_received_when_nobody_asks_for_the_body(kind):
    """404, @streams_body and an announced length over the limit read no byte."""

    @streams_body
    async def view(request):
        return HttpResponse("unread")

    path = "/nowhere" if kind == "no such page" else "/"
    bridge = {"MAX_BODY_SIZE": MIB} if kind == "too long" else {}
    wire = Wire(
        path,
        "POST",
        body=chunks(100),
        headers=[("content-length", str(100 * 65536))],
    )
    with site(view, bridge=bridge) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    expected = {"no such page": 404, "streams_body": 200, "too long": 413}
    assert wire.status == expected[kind]
    assert wire.asked == 0
    assert left == {}


# Limits.


async def test_view_is_refused_early_when_an_async_view_announces_too_much():
    """A Content-Length over DATA_UPLOAD_MAX_MEMORY_SIZE is 413 unread."""
    ledger = Ledger()

    async def view(request):
        raise AssertionError("called")

    wire = Wire(method="POST", body=b"x" * 200, headers=[("content-length", "200")])
    with site(view, DATA_UPLOAD_MAX_MEMORY_SIZE=100) as handler, ledger.watching():
        await wire.serve(handler)

    assert wire.status == 413
    assert wire.asked == 0
    assert ledger.counts == (0, 0, 0)


@pytest.mark.parametrize("mode", ["sync", "async", "sync POST", "abody", "sync abody"])
async def test_receiving_stops_when_a_chunked_body_passes_the_limit(mode, caplog):
    """DATA_UPLOAD_MAX_MEMORY_SIZE: 413 after at most the limit and one chunk."""

    def view(request):
        return HttpResponse(request.body)

    async def async_view(request):
        return HttpResponse(request.body)

    def post_view(request):
        return HttpResponse(repr(request.POST))

    @streams_body
    async def abody_view(request):
        return HttpResponse(await request.abody())

    @streams_body
    def sync_streaming_view(request):
        return HttpResponse(request.body)

    views = {
        "sync": view,
        "async": async_view,
        "sync POST": post_view,
        "abody": abody_view,
        "sync abody": sync_streaming_view,
    }
    wire = Wire(method="POST", body=chunks(1000), headers=[FORM_TYPE])
    with site(views[mode], DATA_UPLOAD_MAX_MEMORY_SIZE=4 * 65536) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 413
    assert wire.received == 5
    assert left == {}


@pytest.mark.parametrize("mode", ["sync", "async", "stream", "multipart"])
async def test_receiving_stops_when_a_body_passes_max_body_size(mode):
    """MAX_BODY_SIZE holds for every body, however it is read."""

    def view(request):
        while request.read(65536):
            pass
        return HttpResponse("all")

    async def async_view(request):
        return HttpResponse("all")

    @streams_body
    async def stream_view(request):
        async for _ in request.stream():
            pass
        return HttpResponse("all")

    def multipart_view(request):
        return HttpResponse(repr(request.FILES))

    views = {
        "sync": view,
        "async": async_view,
        "stream": stream_view,
        "multipart": multipart_view,
    }
    headers = [("content-type", "multipart/form-data; boundary=x")]
    head = b'--x\r\nContent-Disposition: form-data; name="f"; filename="f"\r\n\r\n'
    wire = Wire(method="POST", body=[head, *chunks(1000)], headers=headers)
    with site(views[mode], bridge={"MAX_BODY_SIZE": 4 * 65536}) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 413
    assert wire.received <= 6
    assert left == {}


async def test_read_body_is_unlimited_when_it_is_called_directly():
    """Django's own door keeps Django's behaviour."""
    wire = Wire(method="POST", body=chunks(10))
    with site(lambda request: None, DATA_UPLOAD_MAX_MEMORY_SIZE=10) as handler:
        body = await handler.read_body(wire.receive)

    with body:
        assert len(body.read()) == 10 * 65536


# Time.


@pytest.mark.parametrize("mode", ["sync", "async", "in the view", "abody"])
@pytest.mark.parametrize("first", [b"", b"some"], ids=["at once", "after a chunk"])
async def test_client_gets_408_when_its_body_stays_away(mode, first):
    """BODY_TIMEOUT: no byte for so long, and the request ends."""
    ledger = Ledger()

    async def arriving():
        if first:
            yield first
            yield b"x" * 70_000
        await asyncio.Event().wait()

    def view(request):
        return HttpResponse(request.body)

    async def async_view(request):
        return HttpResponse(request.body)

    @streams_body
    def pulling_view(request):
        return HttpResponse(request.read())

    @streams_body
    async def abody_view(request):
        return HttpResponse(await request.abody())

    views = {
        "sync": view,
        "async": async_view,
        "in the view": pulling_view,
        "abody": abody_view,
    }
    wire = Wire(method="POST", body=arriving())
    with (
        site(views[mode], bridge={"BODY_TIMEOUT": 0.02}) as handler,
        ledger.watching(),
    ):
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 408
    assert wire.header("connection") == "close"
    assert ledger.started == ledger.finished
    assert left == {}


async def test_slow_clients_hold_no_more_than_a_quarter_of_the_threads():
    """Bodies that stay away leave the workers to others."""
    on_the_way, go_on = Gate(), Gate()
    started = []

    async def arriving():
        yield b"x" * 70_000
        started.append(1)
        if len(started) == 20:
            on_the_way.open()
        await go_on.opened()
        yield b"y"

    def view(request):
        return HttpResponse(str(len(request.read())))

    def quick(request):
        return HttpResponse("quick")

    bridge = {"THREADS": 8, "MAX_THREADS": 8}
    with site(view, quick, bridge=bridge) as handler:
        base = Base()
        wires = [Wire(method="POST", body=arriving()) for _ in range(20)]
        for wire in wires:
            wire.start(handler)
        await on_the_way.opened()
        other = await Wire("/quick").serve(handler)
        waiting = handler.upload_places.acquire(blocking=False)
        go_on.open()
        for wire in wires:
            await wire.ended()
        left = await base.left()

    assert other.body == b"quick"
    assert not waiting
    assert {wire.body for wire in wires} == {b"70001"}
    assert left == {}


# @streams_body.


async def test_stream_gives_chunks_as_they_come_when_the_view_streams():
    """The view has chunk n before chunk n + 1 is received."""
    log: list[Any] = []

    @streams_body
    async def view(request):
        async for chunk in request.stream():
            log.append((wire.received, chunk[:1]))  # noqa: PERF401 - order matters
        return HttpResponse("done")

    wire = Wire(method="POST", body=[b"a", b"b", b"c"])
    with site(view) as handler:
        await wire.serve(handler)

    assert log == [(1, b"a"), (2, b"b"), (3, b"c")]
    assert wire.body == b"done"


async def test_abody_makes_body_and_post_work_when_awaited_first():
    @streams_body
    async def view(request):
        first = await request.abody()
        again = await abody(request)
        assert first == again == request.body
        return HttpResponse(request.POST["a"])

    wire = Wire(method="POST", body=[b"a=", b"yes"], headers=[FORM_TYPE])
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"yes"


@pytest.mark.parametrize("name", ["body", "POST", "FILES", "read"])
async def test_error_says_what_to_do_when_a_streaming_view_reads_synchronously(
    name, caplog
):
    """request.body before the body is there: an error that names abody()."""

    @streams_body
    async def view(request):
        value = getattr(request, name)
        return HttpResponse(repr(value() if callable(value) else value))

    wire = Wire(method="POST", body=[b"a=1", b"2"], headers=[FORM_TYPE])
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 500
    assert "await request.abody()" in caplog.text
    assert left == {}


@pytest.mark.parametrize("marked", [True, False], ids=["marked", "unmarked"])
async def test_functions_work_on_complete_bodies_too(marked):
    """abody() and stream() work in every view."""

    async def view(request):
        parts = [chunk async for chunk in stream(request)]
        return HttpResponse(b"".join(parts))

    view = streams_body(view) if marked else view
    wire = Wire(method="POST", body=[b"a", b"b", b"c"])
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"abc"


async def test_stream_after_abody_gives_the_body_again():
    @streams_body
    async def view(request):
        await request.abody()
        return HttpResponse(b"".join([chunk async for chunk in request.stream()]))

    wire = Wire(method="POST", body=[b"a", b"b"])
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == b"ab"


async def test_abody_raises_when_the_stream_was_begun(caplog):
    """What was streamed away cannot be had again."""
    seen = []

    @streams_body
    async def view(request):
        async for _ in request.stream():
            pass
        try:
            await request.abody()
        except RawPostDataException:
            seen.append(True)
        return HttpResponse()

    wire = Wire(method="POST", body=[b"a", b"b"])
    with site(view) as handler:
        await wire.serve(handler)

    assert seen == [True]


async def test_no_generator_is_lost_when_a_view_stops_reading():
    """A loop over the stream may be left with break."""

    @streams_body
    async def view(request):
        async for _ in request.stream():
            break
        return HttpResponse("enough")

    wire = Wire(method="POST", body=[b"a", b"b", b"c"])
    with site(view) as handler, lost_generators() as lost:
        await wire.serve(handler)
        gc.collect()

    assert wire.body == b"enough"
    assert wire.received == 1
    assert lost == []


async def test_sync_view_pulls_when_it_is_marked():
    """@streams_body on a sync view: not even the first chunk is received before."""
    before = []

    @streams_body
    def view(request):
        before.append(wire.received)
        return HttpResponse(request.read())

    wire = Wire(method="POST", body=[b"a", b"b"])
    with site(view) as handler:
        await wire.serve(handler)

    assert before == [0]
    assert wire.body == b"ab"


async def test_class_based_view_streams_when_its_dispatch_is_marked():
    @method_decorator(streams_body, name="dispatch")
    class Upload(View):
        async def post(self, request):
            size = 0
            async for chunk in request.stream():
                size += len(chunk)
            return HttpResponse(f"{size} {wire.received}")

    wire = Wire(method="POST", body=[b"a", b"b"])
    with site(Upload.as_view()) as handler:
        await wire.serve(handler)

    assert wire.body == b"2 2"


async def test_view_is_cancelled_by_a_leaving_client_when_the_body_was_streamed():
    """Cancel on disconnect starts when the body ends."""
    read, seen = Gate(), []

    @streams_body
    async def view(request):
        async for _ in request.stream():
            pass
        read.open()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(request.is_disconnected())
            raise

    wire = Wire(method="POST", body=[b"a", b"b"])
    with site(view) as handler:
        wire.start(handler)
        await read.opened()
        wire.leave()
        error = await wire.ended()

    assert error is None
    assert seen == [True]


# Clients that leave in mid-body.


@pytest.mark.parametrize("count", range(1, 6))
@pytest.mark.parametrize("mode", ["sync", "async", "pulled", "stream", "abody"])
async def test_no_view_takes_a_cut_body_for_a_whole_one(mode, count, caplog):
    """A disconnect at each chunk boundary: no body, an error, and no trace."""
    whole, ledger = [], Ledger()

    def view(request):
        whole.append(request.body)
        return ledger.keep(HttpResponse())

    async def async_view(request):
        whole.append(request.body)
        return ledger.keep(HttpResponse())

    @streams_body
    def pulling_view(request):
        with pytest.raises(UnreadablePostError):
            whole.append(request.read())
        return ledger.keep(HttpResponse())

    @streams_body
    async def stream_view(request):
        try:
            parts = [chunk async for chunk in request.stream()]
        except ClientDisconnected:
            assert request.is_disconnected()
            raise
        whole.append(parts)
        return ledger.keep(HttpResponse())

    @streams_body
    async def abody_view(request):
        whole.append(await request.abody())
        return ledger.keep(HttpResponse())

    views = {
        "sync": view,
        "async": async_view,
        "pulled": pulling_view,
        "stream": stream_view,
        "abody": abody_view,
    }

    def on_receive(number):
        return {"type": "http.disconnect"} if number == count else None

    caplog.set_level(logging.WARNING)
    wire = Wire(method="POST", body=chunks(6, 40_000), on_receive=on_receive)
    with (
        site(views[mode], FILE_UPLOAD_MAX_MEMORY_SIZE=50_000) as handler,
        ledger.watching(),
    ):
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert whole == []
    assert wire.sent == []
    assert ledger.started == ledger.finished
    assert left == {}
    assert [each.getMessage() for each in caplog.records] == []


# Where the work is done.


async def test_spooled_body_goes_to_the_upload_folder_off_the_event_loop(
    tmp_path, monkeypatch
):
    """FILE_UPLOAD_TEMP_DIR holds it; every write that touches it is on a worker."""
    from tempfile import SpooledTemporaryFile

    folders, threads = [], []
    here = threading.get_ident()

    class Watched(SpooledTemporaryFile):
        def __init__(self, *args, **kwargs):
            folders.append(kwargs.get("dir"))
            super().__init__(*args, **kwargs)

        def rollover(self):
            threads.append(threading.get_ident())
            super().rollover()

        def write(self, content):
            written = super().write(content)
            if self._rolled:
                threads.append(threading.get_ident())
            return written

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", Watched)

    async def view(request):
        return HttpResponse(str(len(request.read())))

    wire = Wire(method="POST", body=chunks(5))
    with site(
        view,
        FILE_UPLOAD_TEMP_DIR=str(tmp_path),
        FILE_UPLOAD_MAX_MEMORY_SIZE=100_000,
    ) as handler:
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.body == str(5 * 65536).encode()
    assert folders == [str(tmp_path)]
    assert len(threads) >= 4
    assert here not in threads
    assert left == {}


async def test_answer_is_a_clean_5xx_when_the_upload_folder_is_full(
    tmp_path, monkeypatch, caplog
):
    """A disk without space: the client hears of it, the file is closed."""
    import errno
    from tempfile import SpooledTemporaryFile

    files: list[Any] = []

    class Full(SpooledTemporaryFile):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            files.append(self)

        def rollover(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", Full)
    ledger = Ledger()

    async def view(request):
        return HttpResponse(str(len(request.body)))

    async def other(request):
        return HttpResponse("fine")

    wire = Wire(method="POST", body=chunks(5))
    with (
        site(view, other, FILE_UPLOAD_MAX_MEMORY_SIZE=100_000) as handler,
        ledger.watching(),
    ):
        base = Base()
        await wire.serve(handler)
        next_wire = await Wire("/other").serve(handler)
        left = await base.left()

    assert wire.status in {500, 507}
    assert wire.is_complete
    assert [file.closed for file in files] == [True]
    assert next_wire.body == b"fine"
    assert ledger.started == ledger.finished
    assert left == {}


# Cost.


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_one_byte_chunks_cost_no_more_than_their_number(mode):
    """Bytes are copied a bounded number of times, however small the chunks."""
    import time

    def view(request):
        return HttpResponse(str(len(request.body)))

    async def async_view(request):
        return HttpResponse(str(len(request.body)))

    async def seconds(count: int) -> float:
        events = [{"type": "http.request", "body": b"x", "more_body": True}] * count
        events[-1] = {"type": "http.request", "body": b"x", "more_body": False}
        coming = iter(events)

        async def receive():
            return next(coming, None) or await asyncio.Event().wait()

        wire = Wire(method="POST")
        begun = time.process_time()
        await handler(wire.scope, receive, wire.send)
        assert wire.body == str(count).encode()
        return time.process_time() - begun

    with site(view if mode == "sync" else async_view) as handler:
        await seconds(1000)
        few = max([await seconds(5_000) for _ in range(3)])
        many = min([await seconds(50_000) for _ in range(3)])

    # Linear is 10; quadratic would be 100. CPU time, so that load does not count.
    assert many / few < 30


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_connection_is_closed_after_413_when_http_1(mode):
    """The rest of a refused body must not be read as the next request."""

    def view(request):
        return HttpResponse(request.body)

    async def async_view(request):
        return HttpResponse(request.body)

    wire = Wire(method="POST", body=chunks(1000))
    view_of = {"sync": view, "async": async_view}
    with site(view_of[mode], DATA_UPLOAD_MAX_MEMORY_SIZE=65536) as handler:
        await wire.serve(handler)

    assert wire.status == 413
    assert wire.header("connection") == "close"
