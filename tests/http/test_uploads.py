"""Multipart uploads: parsed while they arrive, limited, and gone when they fail."""

import asyncio
import gc
import threading
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadhandler import (
    FileUploadHandler,
    StopUpload,
    TemporaryFileUploadHandler,
)
from django.http import HttpResponse, UnreadablePostError

from django_asgi_bridge.http import streams_body
from testproject.bench.bombs import BOMBS, Bomb
from tests.http.exchanges import Base, Gate, Ledger, Wire, site

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
BOUNDARY = "limit"
MULTIPART = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")
TEMPORARY = "django.core.files.uploadhandler.TemporaryFileUploadHandler"


def head_of(name: str = "paper") -> bytes:
    return (
        f"--{BOUNDARY}\r\n"
        f'Content-Disposition: form-data; name="{name}"; filename="{name}.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    ).encode()


def field(name: str, value: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n'
    return head.encode() + value + b"\r\n"


TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def file(name: str, content: bytes) -> bytes:
    return head_of(name) + content + b"\r\n"


def names(request):
    """Answer with what came: a view for any mode."""
    fields = [f"{key}={value}" for key, value in sorted(request.POST.items())]
    files = [f"{key}:{each.size}" for key, each in sorted(request.FILES.items())]
    return HttpResponse(" ".join([*fields, *files]))


async def names_async(request):
    return names(request)


VIEWS = [pytest.param(names, id="sync"), pytest.param(names_async, id="async")]


# Parsing.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("length", [True, False], ids=["with length", "chunked"])
@pytest.mark.parametrize("size", [1, 70, 5000, 10**9], ids=str)
async def test_form_is_parsed_when_cut_anywhere(view, length, size):
    """Fields and files are the same, whatever the events' size, length or not."""
    if size == 1:
        content = form(field("a", b"1"), file("small", b"abc"))
        expected = b"a=1 small:3"
    else:
        content = form(
            field("a", b"1"), file("big", b"B" * 200_000), field("b", b"2" * 100)
        )
        expected = b"a=1 b=" + b"2" * 100 + b" big:200000"
    body = [content[i : i + size] for i in range(0, len(content), size)]
    headers = [MULTIPART]
    if length:
        headers.append(("content-length", str(len(content))))

    with site(view) as handler:
        base = Base()
        wire = await Wire(method="POST", body=body, headers=headers).serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert wire.body == expected
    assert left == {}


@pytest.mark.parametrize("view", VIEWS)
async def test_nothing_is_lost_when_post_is_read_before_files(view):
    """CSRF's look at POST in middleware leaves everything to the view."""
    content = form(field("csrfmiddlewaretoken", b"x" * 32), file("big", b"B" * 200_000))
    body = [content[i : i + 30_000] for i in range(0, len(content), 30_000)]
    with site(
        view, middleware=["django.middleware.csrf.CsrfViewMiddleware"]
    ) as handler:
        wire = await Wire(method="POST", body=body, headers=[MULTIPART]).serve(handler)

    # Refused for its token, not for its body.
    assert wire.status == 403
    assert wire.is_complete


# Back-pressure.


class Noting(FileUploadHandler):
    """Notes how many events had been received when a chunk of a file came."""

    chunk_size = 64 * 1024
    seen: list[tuple[int, int]]
    threads: set[int]
    wire: Wire

    def receive_data_chunk(self, raw_data, start):
        self.seen.append((self.wire.received, start + len(raw_data)))
        self.threads.add(threading.get_ident())

    def file_complete(self, file_size):
        return None


@pytest.fixture
def noting():
    Noting.seen, Noting.threads = [], set()
    return Noting


@pytest.mark.parametrize("marked", [False, True], ids=["plain", "streams_body"])
async def test_upload_handler_sees_a_chunk_before_the_next_one_is_received(
    noting, marked
):
    """The file is handed on as it arrives: never more than a few events ahead."""
    size, count = 64 * 1024, 60

    def view(request):
        request.upload_handlers.insert(0, Noting(request))
        return HttpResponse(",".join(request.POST))

    chunks = [head_of(), *([b"x" * size] * count), TAIL]
    wire = noting.wire = Wire(method="POST", body=chunks, headers=[MULTIPART])
    with site(streams_body(view) if marked else view) as handler:
        await wire.serve(handler)

    assert wire.status == 200
    assert len(noting.seen) >= count
    # What was received and not yet handed on: at most some events.
    ahead = [received * size - handed for received, handed in noting.seen]
    assert max(ahead) <= 5 * size
    assert len(noting.threads) == 1
    assert threading.get_ident() not in noting.threads


async def test_view_can_refuse_an_upload_before_it_has_arrived(noting):
    """StopUpload by a handler: the rest is not received."""

    class Refusing(FileUploadHandler):
        def receive_data_chunk(self, raw_data, start):
            raise StopUpload(connection_reset=True)

        def file_complete(self, file_size):
            return None

    def view(request):
        request.upload_handlers.insert(0, Refusing(request))
        return HttpResponse(str(len(request.FILES)))

    wire = Wire(
        method="POST",
        body=[head_of(), *([b"x" * 65536] * 100), TAIL],
        headers=[MULTIPART],
    )
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.status == 200
    assert wire.received < 10


async def test_one_temporary_file_is_made_when_a_sync_view_takes_an_upload(
    tmp_path, monkeypatch
):
    """The body itself is not spooled: the upload's own file is the only one."""
    spooled: list[Any] = []
    from tempfile import SpooledTemporaryFile

    class Watched(SpooledTemporaryFile):
        def __init__(self, *args, **kwargs):
            spooled.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr("tempfile.SpooledTemporaryFile", Watched)
    seen = []

    def view(request):
        upload = request.FILES["paper"]
        seen.append((len(list(tmp_path.iterdir())), Path(upload.name).suffix))
        seen.append(upload.size)
        return HttpResponse("kept")

    wire = Wire(
        method="POST",
        body=[head_of(), *([b"x" * 65536] * 64), TAIL],
        headers=[MULTIPART],
    )
    with site(view, FILE_UPLOAD_TEMP_DIR=str(tmp_path)) as handler:
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.body == b"kept"
    assert seen == [(1, ".bin"), 4 * MIB]
    assert spooled == []
    assert left == {}


@pytest.mark.slow
async def test_memory_is_flat_when_a_gigabyte_is_uploaded(tmp_path):
    """1 GB through a sync view: RSS grows by a few MB, one temporary file."""
    psutil = pytest.importorskip("psutil")
    block = b"x" * (256 * 1024)
    count = 1024 * MIB // len(block)
    memory = psutil.Process()
    peak = []

    def chunks():
        yield head_of()
        for i in range(count):
            if i % 256 == 0:
                peak.append(memory.memory_info().rss)
            yield block
        yield TAIL

    def view(request):
        upload = request.FILES["paper"]
        return HttpResponse(f"{upload.size} {len(list(tmp_path.iterdir()))}")

    with site(view, FILE_UPLOAD_TEMP_DIR=str(tmp_path)) as handler:
        await Wire(
            method="POST", body=form(file("a", b"a")), headers=[MULTIPART]
        ).serve(handler)
        gc.collect()
        base, before = Base(tmp_path), memory.memory_info().rss
        wire = Wire(method="POST", body=chunks(), headers=[MULTIPART])
        wire.start(handler)
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert wire.body == f"{1024 * MIB} 1".encode()
    assert max(peak) - before <= 16 * MIB
    assert left == {}


async def test_rest_spools_first_when_a_quarter_of_the_pool_waits_for_bytes(tmp_path):
    """More uploads than a quarter of THREADS: the others do not hold a worker."""
    first_wave, go_on = Gate(), Gate()
    waiting = []

    def slow(number):
        async def chunks():
            yield head_of()
            yield b"x" * 100_000
            waiting.append(number)
            if len(waiting) == 6:
                first_wave.open()
            await go_on.opened()
            yield TAIL

        return chunks()

    started = []

    def view(request):
        started.append(threading.get_ident())
        return HttpResponse(str(request.FILES["paper"].size))

    bridge = {"THREADS": 8, "MAX_THREADS": 8}
    with site(view, bridge=bridge, FILE_UPLOAD_TEMP_DIR=str(tmp_path)) as handler:
        base = Base(tmp_path)
        wires = [
            Wire(method="POST", body=slow(number), headers=[MULTIPART])
            for number in range(6)
        ]
        for wire in wires:
            wire.start(handler)
        await first_wave.opened()
        began_early = len(started)
        go_on.open()
        for wire in wires:
            assert await wire.ended() is None
        left = await base.left()

    assert began_early <= 2
    assert {wire.body for wire in wires} == {b"100000"}
    assert left == {}


# Files that must not stay.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("count", range(1, 8))
async def test_no_file_stays_when_the_client_leaves_at_a_chunk(view, count, tmp_path):
    """A disconnect at each boundary: no view result, no file, no descriptor."""
    ledger = Ledger()
    content = form(file("one", b"1" * 150_000), file("two", b"2" * 150_000))
    body = [content[i : i + 40_000] for i in range(0, len(content), 40_000)]

    def on_receive(number):
        return {"type": "http.disconnect"} if number == count else None

    wire = Wire(method="POST", body=body, headers=[MULTIPART], on_receive=on_receive)
    with (
        site(
            view,
            FILE_UPLOAD_TEMP_DIR=str(tmp_path),
            FILE_UPLOAD_HANDLERS=[TEMPORARY],
        ) as handler,
        ledger.watching(),
    ):
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.sent == []
    assert ledger.started == ledger.finished
    assert left == {}


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_uploaded_file_is_closed_when_the_client_leaves_before_the_answer(
    mode, tmp_path
):
    """W3: the client goes after the upload was parsed; the file is closed and gone."""
    parsed, go_on, files = Gate(), Gate(), []

    def view(request):
        files.append(request.FILES["paper"])
        parsed.open()
        go_on.wait()
        return HttpResponse()

    async def async_view(request):
        files.append(request.FILES["paper"])
        parsed.open()
        await go_on.opened()
        return HttpResponse()

    content = form(file("paper", b"p" * 100_000))
    wire = Wire(method="POST", body=content, headers=[MULTIPART])
    with site(
        view if mode == "sync" else async_view,
        FILE_UPLOAD_TEMP_DIR=str(tmp_path),
        FILE_UPLOAD_HANDLERS=[TEMPORARY],
    ) as handler:
        base = Base(tmp_path)
        wire.start(handler)
        await parsed.opened()
        wire.leave()
        go_on.open()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert files[0].closed
    assert left == {}


@pytest.mark.parametrize("view", VIEWS)
async def test_interrupted_upload_is_told_to_its_handlers_when_the_client_leaves(
    view, tmp_path
):
    """The file being written is closed by its handler, not by the collector."""
    handlers: list[Any] = []

    class Kept(TemporaryFileUploadHandler):
        def new_file(self, *args, **kwargs):
            handlers.append(self)
            super().new_file(*args, **kwargs)

    def keeping(request):
        request.upload_handlers = [Kept(request)]
        return names(request)

    async def keeping_async(request):
        return keeping(request)

    def on_receive(number):
        return {"type": "http.disconnect"} if number == 4 else None

    wire = Wire(
        method="POST",
        body=[head_of(), *([b"x" * 65536] * 20), TAIL],
        headers=[MULTIPART],
        on_receive=on_receive,
    )
    chosen = keeping if view is names else keeping_async
    with site(chosen, FILE_UPLOAD_TEMP_DIR=str(tmp_path)) as handler:
        await wire.serve(handler)

    assert [each.file.closed for each in handlers] == [True] * len(handlers)
    assert list(tmp_path.iterdir()) == []


# Bombs.


def _wire(bomb: Bomb) -> Wire:
    content_type = f"multipart/form-data; boundary={bomb.boundary}"
    headers = [("content-type", content_type)]
    return Wire(method="POST", body=bomb.chunks(), headers=headers)


def _base64(content: bytes) -> bytes:
    head = (
        f"--{BOUNDARY}\r\n"
        'Content-Disposition: form-data; name="a"; filename="a"\r\n'
        "Content-Transfer-Encoding: base64\r\n\r\n"
    )
    return form(head.encode() + content + b"\r\n")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", BOMBS)
async def test_multipart_bomb_is_refused(view, name, tmp_path):
    """400 or 413, after a few events where the view reads them as they arrive."""
    bomb = BOMBS[name]
    wire = _wire(bomb)
    with site(
        view, FILE_UPLOAD_TEMP_DIR=str(tmp_path), FILE_UPLOAD_HANDLERS=[TEMPORARY]
    ) as handler:
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.status in {400, 413}
    assert wire.is_complete
    assert left == {}
    if view is names and bomb.early is not None:
        assert wire.received <= bomb.early


HARMLESS = {
    "base64 of spaces": Bomb(_base64(b" " * 5 * MIB)),
    "no end": Bomb(head_of() + b"x" * 100_000),
    "an empty name": Bomb(form(field("", b"1"))),
    "nothing": Bomb(b""),
    "a bad charset": Bomb(
        form(
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            "name*=nowhere'en'%ff; filename=\"../../etc/passwd\"\r\n\r\nx\r\n".encode()
        )
    ),
    "a preamble and an epilogue": Bomb(
        b"\r\n\r\n" * 15_000 + form(field("a", b"1")) + b"\r\n\r\n" * 15_000
    ),
}


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("name", HARMLESS)
async def test_odd_multipart_body_is_answered(view, name, tmp_path):
    """What Django's parser takes is taken, and nothing is left."""
    wire = _wire(HARMLESS[name])
    with site(
        view, FILE_UPLOAD_TEMP_DIR=str(tmp_path), FILE_UPLOAD_HANDLERS=[TEMPORARY]
    ) as handler:
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert left == {}


# Off the event loop.


@pytest.mark.parametrize("is_streamed", [False, True], ids=["buffered", "streamed"])
async def test_aform_parses_on_a_worker(is_streamed, tmp_path):
    """The event loop has its time meanwhile; POST and FILES are there afterwards."""
    threads: list[threading.Thread] = []

    class Seen(TemporaryFileUploadHandler):
        def receive_data_chunk(self, raw_data, start):
            threads.append(threading.current_thread())
            super().receive_data_chunk(raw_data, start)

    async def view(request):
        request.upload_handlers = [Seen(request)]
        form = await request.aform()
        return HttpResponse(f"{form['a']} {request.FILES['paper'].size}")

    content = field("a", b"1") + file("paper", b"x" * 300_000) + form()
    wire = _wire(Bomb(content))
    with site(
        streams_body(view) if is_streamed else view, FILE_UPLOAD_TEMP_DIR=str(tmp_path)
    ) as handler:
        base = Base(tmp_path)
        await wire.serve(handler)
        left = await base.left()

    assert wire.body == b"1 300000"
    assert threads
    assert threading.current_thread() not in threads
    assert left == {}


@pytest.mark.parametrize("how", ["in a task", "twice", "urlencoded", "without a body"])
async def test_aform_gives_the_form_wherever_it_is_called(how):
    """Another task may ask, and what was parsed is not parsed again."""

    async def view(request):
        if how == "in a task":
            form = await asyncio.create_task(request.aform())
        else:
            form = await request.aform()
        assert await request.aform() is form
        return HttpResponse(form.get("a", "none"))

    wire = _wire(Bomb(form(field("a", b"1"))))
    if how == "urlencoded":
        encoded = ("content-type", "application/x-www-form-urlencoded")
        wire = Wire(method="POST", body=b"a=1", headers=[encoded])
    if how == "without a body":
        wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.body == (b"none" if how == "without a body" else b"1")


@pytest.mark.parametrize("is_streamed", [False, True], ids=["buffered", "streamed"])
async def test_aform_gives_400_when_the_body_is_no_form(is_streamed):
    """As request.POST does."""

    async def view(request):
        await request.aform()
        return HttpResponse()

    wire = _wire(BOMBS["10 MB of preamble"])
    with site(streams_body(view) if is_streamed else view) as handler:
        await wire.serve(handler)

    assert wire.status == 400
    assert not is_streamed or wire.received <= 3


async def test_aform_tells_of_a_client_that_left_in_mid_body():
    """As a sync read of the body does; nothing is logged as an error."""
    seen: list[BaseException] = []

    @streams_body
    async def view(request):
        try:
            await request.aform()
        except UnreadablePostError as error:
            seen.append(error)
            raise
        return HttpResponse()

    def on_receive(number):
        return {"type": "http.disconnect"} if number == 2 else None

    wire = Wire(
        method="POST",
        body=[head_of(), *([b"x" * 65536] * 20), TAIL],
        headers=[MULTIPART],
        on_receive=on_receive,
    )
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert len(seen) == 1
    assert wire.sent == []
    assert left == {}
