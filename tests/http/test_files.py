"""File responses: in constant memory, in ranges, by the server's own means."""

import asyncio
import gc
import gzip
import io
import os
import threading
from pathlib import Path
from typing import Any

import pytest
from django.http import FileResponse, StreamingHttpResponse

from django_asgi_bridge.protocol.response import BadResponse
from tests.http.exchanges import Base, Gate, Ledger, Wire, site

pytestmark = pytest.mark.asyncio

MIB = 1024 * 1024
CONTENT = bytes(range(256)) * 1200
MODIFIED = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.fixture
def file(tmp_path) -> Path:
    """Give a file of 307,200 known bytes."""
    path = tmp_path / "known.bin"
    path.write_bytes(CONTENT)
    return path


def serving(make: Any, mode: str = "async", **headers: str) -> Any:
    """A view that answers with the file that ``make()`` opens."""

    def answer() -> FileResponse:
        response = FileResponse(make())
        for name, value in headers.items():
            response[name.replace("_", "-")] = value
        return response

    def view(request):
        return answer()

    async def async_view(request):
        return answer()

    return view if mode == "sync" else async_view


# Whole files.


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_file_is_sent_whole_in_blocks_and_closed(file, mode):
    """64 KiB a block, Content-Length set, nothing open afterwards."""
    files = []

    def make():
        files.append(file.open("rb"))
        return files[0]

    wire = Wire()
    with site(serving(make, mode)) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert wire.body == CONTENT
    assert max(map(len, wire.chunks)) <= 65_536
    assert wire.header("content-length") == str(len(CONTENT))
    assert files[0].closed
    assert left == {}


async def test_file_is_read_on_workers_and_not_ahead_of_the_client(file):
    """Blocks are read off the loop, at most one trip's before they are sent."""
    threads, ahead = set(), []

    class Watched(io.FileIO):
        def read(self, size=-1):
            threads.add(threading.get_ident())
            return super().read(size)

    files = []

    def make():
        files.append(Watched(file, "rb"))
        return files[0]

    def on_send(number, message):
        if message.get("body"):
            ahead.append(files[0].tell() - len(wire.body))

    wire = Wire(on_send=on_send)
    with site(serving(make)) as handler:
        await wire.serve(handler)

    assert wire.body == CONTENT
    assert threading.get_ident() not in threads
    assert max(ahead) <= 4 * 65_536


@pytest.mark.slow
async def test_memory_is_constant_when_four_large_files_are_sent(tmp_path):
    """Four downloads of 100 MB at once: at most 8 MB more."""
    psutil = pytest.importorskip("psutil")
    large = tmp_path / "large.bin"
    with large.open("wb") as written:
        written.truncate(100 * MIB)
    memory = psutil.Process()
    peak = [0]

    class Counting(Wire):
        count = 0

        async def send(self, message):
            self.count += len(message.get("body", b""))
            if self.count % (8 * MIB) < 65_536:
                peak[0] = max(peak[0], memory.memory_info().rss)
            await asyncio.sleep(0)

    with site(serving(lambda: large.open("rb"))) as handler:
        await Counting().serve(handler)
        gc.collect()
        base, before = Base(), memory.memory_info().rss
        wires = [Counting() for _ in range(4)]
        async with asyncio.TaskGroup() as group:
            for wire in wires:
                group.create_task(wire.serve(handler))
        left = await base.left()

    assert [wire.count for wire in wires] == [100 * MIB] * 4
    assert peak[0] - before <= 8 * MIB
    assert left == {}


async def test_no_worker_is_held_while_the_client_reads_slowly(file):
    """A download that waits for its client leaves the thread to others."""
    from django_asgi_bridge.threads import get_pool

    go_on, stuck = Gate(), Gate()

    class Slow(Wire):
        async def send(self, message):
            await super().send(message)
            if len(self.sent) == 3:
                stuck.open()
                await go_on.opened()

    wire = Slow()
    with site(serving(lambda: file.open("rb"))) as handler:
        wire.start(handler)
        await stuck.opened()
        leased = get_pool().stats().leased
        go_on.open()
        await wire.ended()

    assert leased == 0
    assert wire.body == CONTENT


@pytest.mark.parametrize("kind", ["BytesIO", "pipe", "no seek"])
async def test_anything_readable_is_sent(kind, file):
    """Files in memory, pipes, and objects that can only read."""

    class Plain:
        def __init__(self):
            self._chunks = iter([b"one", b"two"])

        def read(self, size=-1):
            return next(self._chunks, b"")

        def close(self):
            closed.append(True)

    closed: list[bool] = []

    def make():
        if kind == "BytesIO":
            return io.BytesIO(b"onetwo")
        if kind == "pipe":
            reading, writing = os.pipe()
            os.write(writing, b"onetwo")
            os.close(writing)
            return os.fdopen(reading, "rb")
        return Plain()

    wire = Wire(headers=[("range", "bytes=0-1")] if kind != "BytesIO" else [])
    with site(serving(make)) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert wire.body == b"onetwo"
    assert left == {}


async def test_rest_of_a_file_is_sent_when_it_stands_in_the_middle(file):
    def make():
        opened = file.open("rb")
        opened.seek(300_000)
        return opened

    wire = Wire()
    with site(serving(make)) as handler:
        await wire.serve(handler)

    assert wire.body == CONTENT[300_000:]
    assert wire.header("content-length") == str(len(CONTENT) - 300_000)


# Ranges.


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=100000-", 100_000, len(CONTENT)),
        ("bytes=-5", len(CONTENT) - 5, len(CONTENT)),
        ("bytes=0-999999999", 0, len(CONTENT)),
        ("BYTES=1-2", 1, 3),
    ],
)
@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_range_is_sent_alone_when_asked_for(file, mode, asked, start, stop):
    wire = Wire(headers=[("range", asked)])
    with site(serving(lambda: file.open("rb"), mode)) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 206
    assert wire.body == CONTENT[start:stop]
    assert wire.header("content-range") == f"bytes {start}-{stop - 1}/{len(CONTENT)}"
    assert wire.header("content-length") == str(stop - start)
    assert left == {}


@pytest.mark.parametrize(
    "asked", ["bytes=5-1", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=-", "x"]
)
async def test_whole_file_is_sent_when_the_range_is_none(file, asked):
    wire = Wire(headers=[("range", asked)])
    with site(serving(lambda: file.open("rb"))) as handler:
        await wire.serve(handler)

    assert wire.status == 200
    assert wire.body == CONTENT


@pytest.mark.parametrize("asked", ["bytes=307200-", "bytes=9999999-", "bytes=-0"])
async def test_416_is_answered_when_the_range_lies_outside(file, asked):
    wire = Wire(headers=[("range", asked)])
    with site(serving(lambda: file.open("rb"))) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 416
    assert wire.header("content-range") == f"bytes */{len(CONTENT)}"
    assert wire.header("content-length") == "0"
    assert wire.body == b""
    assert left == {}


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ('"v1"', 206),
        ('"v2"', 200),
        ('W/"v1"', 200),
        (MODIFIED, 206),
        ("Thu, 22 Oct 2015 07:28:00 GMT", 200),
        ("nonsense", 200),
    ],
)
async def test_range_holds_only_while_if_range_does(file, condition, status):
    view = serving(lambda: file.open("rb"), ETag='"v1"', Last_Modified=MODIFIED)
    wire = Wire(headers=[("range", "bytes=0-9"), ("if-range", condition)])
    with site(view) as handler:
        await wire.serve(handler)

    assert wire.status == status
    assert len(wire.body) == (10 if status == 206 else len(CONTENT))


@pytest.mark.parametrize("method", ["HEAD", "POST"])
async def test_range_is_ignored_when_the_method_is_not_get(file, method):
    wire = Wire(method=method, headers=[("range", "bytes=0-9")])
    with site(serving(lambda: file.open("rb"))) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert wire.header("content-length") == str(len(CONTENT))
    assert wire.body == (b"" if method == "HEAD" else CONTENT)
    assert left == {}


async def test_range_is_that_of_the_rest_when_the_file_stands_in_the_middle(file):
    def make():
        opened = file.open("rb")
        opened.seek(1000)
        return opened

    wire = Wire(headers=[("range", "bytes=0-9")])
    with site(serving(make)) as handler:
        await wire.serve(handler)

    assert wire.status == 206
    assert wire.body == CONTENT[1000:1010]


# The server's own means.


async def test_path_is_sent_when_the_server_offers_pathsend(file):
    wire = Wire(extensions={"http.response.pathsend": {}})
    with site(serving(lambda: file.open("rb"))) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.types == ["start", "pathsend"]
    assert wire.sent[-1]["path"] == str(file)
    assert wire.header("content-length") == str(len(CONTENT))
    assert left == {}


@pytest.mark.parametrize("why", ["range", "offset", "replaced", "deleted", "HEAD"])
async def test_path_is_not_sent_when_it_is_not_the_whole_open_file(file, why):
    """Only a path that still names the open file, as a whole, is handed over."""

    def make():
        opened = file.open("rb")
        if why == "offset":
            opened.seek(5)
        if why == "replaced":
            other = file.with_name("other")
            other.write_bytes(b"other")
            other.rename(file)
        if why == "deleted":
            file.unlink()
        return opened

    wire = Wire(
        method="HEAD" if why == "HEAD" else "GET",
        headers=[("range", "bytes=5-")] if why == "range" else [],
        extensions={"http.response.pathsend": {}},
    )
    with site(serving(make)) as handler:
        await wire.serve(handler)

    assert "pathsend" not in wire.types
    skipped = 5 if why in {"range", "offset"} else 0
    assert wire.body == (b"" if why == "HEAD" else CONTENT[skipped:])


@pytest.mark.parametrize("asked", [None, "bytes=100-199"])
async def test_descriptor_is_sent_when_the_server_offers_zerocopysend(file, asked):
    """The file is open while the server reads it and closed afterwards."""
    read = []

    def on_send(number, message):
        if message["type"] == "http.response.zerocopysend":
            read.append(os.pread(message["file"], message["count"], message["offset"]))

    wire = Wire(
        headers=[("range", asked)] if asked else [],
        extensions={"http.response.zerocopysend": {}},
        on_send=on_send,
    )
    with site(serving(lambda: file.open("rb"))) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.types == ["start", "zerocopysend"]
    assert read == [CONTENT[100:200] if asked else CONTENT]
    assert left == {}


async def test_bytes_are_sent_when_an_object_has_no_descriptor():
    wire = Wire(
        extensions={"http.response.zerocopysend": {}, "http.response.pathsend": {}}
    )
    with site(serving(lambda: io.BytesIO(b"memory"))) as handler:
        await wire.serve(handler)

    assert wire.body == b"memory"


# Middleware in front.


@pytest.mark.parametrize("extension", ["pathsend", "zerocopysend"])
async def test_compressed_file_is_sent_as_a_stream(file, extension):
    """gzip in front replaces the content: the file itself must not be sent."""
    wire = Wire(
        headers=[("accept-encoding", "gzip"), ("range", "bytes=0-9")],
        extensions={f"http.response.{extension}": {}},
    )
    with site(
        serving(lambda: file.open("rb")),
        middleware=["django.middleware.gzip.GZipMiddleware"],
    ) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 200
    assert wire.header("content-encoding") == "gzip"
    assert gzip.decompress(wire.body) == CONTENT
    assert left == {}


async def test_304_is_answered_when_a_middleware_turns_the_file_down(file):
    """ConditionalGetMiddleware and the like: the file is closed unread."""
    view = serving(lambda: file.open("rb"), Last_Modified=MODIFIED)
    wire = Wire(headers=[("if-modified-since", MODIFIED)])
    with site(
        view, middleware=["django.middleware.http.ConditionalGetMiddleware"]
    ) as handler:
        base = Base()
        await wire.serve(handler)
        gc.collect()
        left = await base.left()

    assert wire.status == 304
    assert wire.body == b""
    assert left == {}


# Files that fail.


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_connection_is_broken_off_when_the_file_becomes_shorter(file, mode):
    """A truncated file: no end of the body is sent, everything is closed."""
    ledger = Ledger()

    def answer(request):
        return ledger.keep(FileResponse(file.open("rb", buffering=0)))

    async def answer_async(request):
        return answer(request)

    def on_send(number, message):
        if number == 1:
            os.truncate(file, 1000)

    wire = Wire(on_send=on_send)
    with (
        site(answer if mode == "sync" else answer_async) as handler,
        ledger.watching(),
    ):
        base = Base()
        with pytest.raises(BadResponse, match="ended"):
            await wire.serve(handler)
        left = await base.left()

    assert not wire.is_complete
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_file_that_grows_is_sent_up_to_its_announced_length(file):
    def on_send(number, message):
        if number == 1:
            with file.open("ab") as longer:
                longer.write(b"more")

    wire = Wire(on_send=on_send)
    with site(serving(lambda: file.open("rb", buffering=0))) as handler:
        await wire.serve(handler)

    assert wire.body == CONTENT


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_500_is_answered_when_the_file_is_closed_already(file, mode):
    def make():
        opened = file.open("rb")
        opened.close()
        return opened

    def view(request):
        return FileResponse(make(), as_attachment=True, filename="x")

    async def async_view(request):
        return view(request)

    ledger = Ledger()
    wire = Wire()
    with (
        site(view if mode == "sync" else async_view) as handler,
        ledger.watching(),
    ):
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 500
    assert ledger.counts[:2] == (1, 1)
    assert left == {}


async def test_500_is_answered_when_the_view_closes_the_file_after_making_the_response(
    file,
):
    """`with open(...)` around the response: a clean 500 instead of a broken reply."""

    async def view(request):
        with file.open("rb") as opened:
            return FileResponse(opened)

    wire = Wire()
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.status == 500
    assert wire.is_complete
    assert left == {}


async def test_replaced_content_of_a_file_response_is_what_is_sent(file):
    """A view or middleware may set streaming_content anew."""

    async def view(request):
        response = FileResponse(file.open("rb"))
        response.streaming_content = iter([b"re", b"placed"])
        del response["Content-Length"]
        return response

    wire = Wire()
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        gc.collect()
        left = await base.left()

    assert wire.body == b"replaced"
    assert left == {}


async def test_file_in_a_plain_streaming_response_is_streamed(file):
    async def view(request):
        return StreamingHttpResponse(file.open("rb"))

    wire = Wire()
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert wire.body == CONTENT
    assert left == {}
