"""Requests that end at any moment: at each step in turn, and at random."""

import asyncio
import contextlib
import random
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadhandler import TemporaryFileUploadHandler
from django.db import connections
from django.db.backends.sqlite3.base import DatabaseWrapper
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from django_asgi_bridge.db import atomic
from django_asgi_bridge.http import streams_body
from django_asgi_bridge.threads import get_pool, run_sync
from tests.http.exchanges import (
    Base,
    Ledger,
    Wire,
    lost_generators,
    settle,
    site,
    stepped,
)

pytestmark = pytest.mark.asyncio

ALIAS = "scratch"
REQUESTS = 10_000
AT_ONCE = 50
MAX_STEPS = 400

DEFAULT_MIDDLEWARE = (
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
)

BOUNDARY = "limit"
FORM = (
    b"--limit\r\n"
    b'Content-Disposition: form-data; name="note"\r\n\r\n'
    b"hello\r\n"
    b"--limit\r\n"
    b'Content-Disposition: form-data; name="paper"; filename="paper.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\n" + b"p" * 200_000 + b"\r\n--limit--\r\n"
)


class Database:
    """A SQLite file of its own, whose open connections can be counted."""

    def __init__(self) -> None:
        self._opened: list[sqlite3.Connection] = []
        self._lock = threading.Lock()

    def note(self, connection: sqlite3.Connection) -> sqlite3.Connection:
        with self._lock:
            self._opened.append(connection)
        return connection

    @property
    def open_connections(self) -> int:
        with self._lock:
            self._opened = [each for each in self._opened if _is_open(each)]
            return len(self._opened)


def _is_open(connection: sqlite3.Connection) -> bool:
    try:
        return connection.total_changes >= 0
    except sqlite3.ProgrammingError:
        return False


@pytest.fixture
def database(tmp_path, monkeypatch, django_db_blocker) -> Iterator[Database]:
    """Give a database in a file, with a table ``line``."""
    options = {**connections.settings["default"], "NAME": str(tmp_path / "db.sqlite3")}
    options["ENGINE"] = "django.db.backends.sqlite3"
    monkeypatch.setitem(connections.settings, ALIAS, options)
    found = Database()
    connect = DatabaseWrapper.get_new_connection
    monkeypatch.setattr(
        DatabaseWrapper,
        "get_new_connection",
        lambda self, params: found.note(connect(self, params)),
    )
    monkeypatch.setattr(
        DatabaseWrapper, "validate_thread_sharing", lambda self: None, raising=True
    )
    with django_db_blocker.unblock():
        with connections[ALIAS].cursor() as cursor:
            cursor.execute("PRAGMA synchronous = OFF")
            cursor.execute("CREATE TABLE line (words text)")
            cursor.executemany(
                "INSERT INTO line VALUES (%s)", [(f"line {i}",) for i in range(50)]
            )
        connections[ALIAS].close()
        yield found
        connections[ALIAS].close()
        del connections[ALIAS]


def rows(count: int = 20) -> list[Any]:
    with connections[ALIAS].cursor() as cursor:
        cursor.execute("SELECT words FROM line LIMIT %s", [count])
        return cursor.fetchall()


class Sites:
    """The views that are cut off, and what they made."""

    def __init__(self, folder: Path) -> None:
        self.ledger = Ledger()
        self.file = folder / "large.bin"
        self.file.write_bytes(bytes(400_000))
        views: list[Callable[..., Any]] = [
            self.plain,
            self.plain_async,
            self.sync_stream,
            self.async_stream,
            self.download,
            self.download_async,
            self.upload,
            self.upload_async,
            self.upload_streamed,
            self.query,
            self.query_async,
            self.transaction,
            self.afterwards,
            self.cursor_stream,
        ]
        self.views = views

    def plain(self, request):
        return self.ledger.keep(HttpResponse(b"x" * 100_000))

    async def plain_async(self, request):
        await asyncio.sleep(0)
        return self.ledger.keep(HttpResponse(b"x" * 100_000))

    def sync_stream(self, request):
        return self.ledger.keep(StreamingHttpResponse(bytes(70_000) for _ in range(4)))

    async def async_stream(self, request):
        async def items() -> AsyncIterator[bytes]:
            for _ in range(4):
                await asyncio.sleep(0)
                yield bytes(10_000)

        return self.ledger.keep(StreamingHttpResponse(items()))

    def download(self, request):
        return self.ledger.keep(FileResponse(self.file.open("rb")))

    async def download_async(self, request):
        return self.download(request)

    def upload(self, request):
        names = [each.name for each in request.FILES.values()]
        return self.ledger.keep(HttpResponse(",".join(names)))

    async def upload_async(self, request):
        await asyncio.sleep(0)
        return self.ledger.keep(HttpResponse(",".join(request.FILES)))

    @streams_body
    async def upload_streamed(self, request):
        size = 0
        async for chunk in request.stream():
            size += len(chunk)
        return self.ledger.keep(HttpResponse(str(size)))

    def query(self, request):
        return self.ledger.keep(HttpResponse(str(len(rows()))))

    async def query_async(self, request):
        found = await run_sync(rows)
        return self.ledger.keep(HttpResponse(str(len(found))))

    async def transaction(self, request):
        async with atomic(using=ALIAS):
            found = await run_sync(rows)
            await asyncio.sleep(0)
            found += await run_sync(rows)
        return self.ledger.keep(HttpResponse(str(len(found))))

    async def afterwards(self, request):
        async def late() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)

        request.after(late)
        request.after(rows)
        await asyncio.sleep(0)
        return self.ledger.keep(HttpResponse("x"))

    def cursor_stream(self, request):
        def items() -> Iterator[bytes]:
            with connections[ALIAS].cursor() as cursor:
                cursor.execute("SELECT words FROM line")
                for (words,) in cursor:
                    yield words.encode() * 5000

        return self.ledger.keep(StreamingHttpResponse(items()))


def wire_for(view: Any, **options: Any) -> Wire:
    """A fitting request for a view of ``Sites``."""
    name = view.__name__
    if not name.startswith("upload"):
        return Wire(f"/{name}", **options)
    size = 30_000
    chunks = [FORM[i : i + size] for i in range(0, len(FORM), size)]
    headers = [
        ("content-type", f"multipart/form-data; boundary={BOUNDARY}"),
        ("content-length", str(len(FORM))),
    ]
    return Wire(f"/{name}", "POST", body=chunks, headers=headers, **options)


@contextlib.contextmanager
def served(folder: Path, **options: Any) -> Iterator[tuple[Sites, Any]]:
    sites = Sites(folder)
    uploads = folder / "uploads"
    uploads.mkdir(exist_ok=True)
    with site(
        sites.plain,
        *sites.views,
        FILE_UPLOAD_TEMP_DIR=str(uploads),
        FILE_UPLOAD_MAX_MEMORY_SIZE=100_000,
        FILE_UPLOAD_HANDLERS=[
            f"{TemporaryFileUploadHandler.__module__}.TemporaryFileUploadHandler"
        ],
        **options,
    ) as handler:
        yield sites, handler


SCENARIOS = [view.__name__ for view in Sites.__dict__.values() if callable(view)][1:]
SCENARIOS = [name for name in SCENARIOS if not name.startswith("_")]


HARMS = {
    "leaves": ("leave",),
    "is cancelled": ("cancel",),
    "is cancelled twice": ("cancel", "cancel"),
    "leaves and is cancelled": ("leave", "cancel"),
    "is cancelled later again": ("cancel", None, "cancel"),
}
"""What happens at a step and those after it."""


async def harmed_at(step: int, handler: Any, wire: Wire, harm: str) -> bool:
    """Serve a request that meets its harm at a step; tell whether it got so far."""
    what = {"leave": wire.leave, "cancel": lambda: wire.task.cancel()}
    harms = {step + i: what[name] for i, name in enumerate(HARMS[harm]) if name}

    async def app(scope: Any, receive: Any, send: Any) -> None:
        steps.append(await stepped(handler(scope, receive, send), harms))

    steps: list[int] = []
    wire.start(app)
    error = await wire.ended()
    if error is not None and not isinstance(error, asyncio.CancelledError):
        raise error
    await settle()
    return not steps or steps[0] > step


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", SCENARIOS)
async def test_request_is_settled_once_when_harmed_at_each_step(
    name, harm, tmp_path, database
):
    """Disconnect and cancellation at every await: signals in pairs, nothing left."""
    with (
        served(tmp_path, middleware=DEFAULT_MIDDLEWARE[:2]) as (sites, handler),
        lost_generators() as lost,
    ):
        view = getattr(sites, name)
        uploads = tmp_path / "uploads"
        await wire_for(view).serve(handler)
        await settle()
        before = sites.ledger.made, sites.ledger.closed
        assert before == (1, 1)
        was_reached = True
        for step in range(MAX_STEPS):
            ledger = sites.ledger = Ledger()
            with ledger.watching():
                base = Base(uploads)
                was_reached = await harmed_at(step, handler, wire_for(view), harm)
                left = await base.left()
            assert left == {}, step
            assert ledger.started == ledger.finished <= 1, step
            assert ledger.closed == ledger.made, step
            assert database.open_connections == 0, step
            if not was_reached:
                break
        assert not was_reached
    assert lost == []


@pytest.mark.slow
async def test_nothing_is_left_when_10000_requests_end_at_random_points(
    tmp_path, database
):
    """Threads, tasks, connections, descriptors, files and places as before."""
    dice = random.Random(20261121)
    ledger = Ledger()
    broken: list[BaseException] = []
    with served(tmp_path, middleware=DEFAULT_MIDDLEWARE[:2]) as (sites, handler):
        sites.ledger = ledger
        for view in sites.views:
            await wire_for(view).serve(handler)
        places = [_places(handler.upload_places), _places(handler.stream_places)]
        with ledger.watching(), lost_generators() as lost:
            ledger.made = ledger.closed = 0
            base = Base(tmp_path / "uploads")
            queue = iter(range(REQUESTS))

            async def client() -> None:
                for _ in queue:
                    wire = wire_for(dice.choice(sites.views))
                    harm = dice.choice(["leaves", "is cancelled"])
                    wire.start(handler)
                    for _ in range(dice.randrange(25)):
                        await asyncio.sleep(0)
                    if harm == "leaves":
                        wire.leave()
                    else:
                        wire.task.cancel()
                    error = await wire.ended()
                    if error and not isinstance(error, asyncio.CancelledError):
                        broken.append(error)

            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(client())
            left = await base.left()

    assert broken == []
    assert left == {}
    assert lost == []
    assert ledger.started == ledger.finished
    assert ledger.closed == ledger.made
    assert database.open_connections == 0
    assert [_places(handler.upload_places), _places(handler.stream_places)] == places
    assert get_pool().stats().threads <= get_pool().max_threads


def _places(quota: Any) -> int:
    """Count the free places of a quota by taking them."""
    count = 0
    while quota.acquire(blocking=False):
        count += 1
    for _ in range(count):
        quota.release()
    return count
