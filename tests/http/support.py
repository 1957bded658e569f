"""One request through a handler, in this process, by ASGI or by WSGI.

And what it cost: trips to worker threads, threads started, calls of asgiref's
``sync_to_async``. Each is counted where it happens, not only by the pool.
"""

import asyncio
import gc
import io
import threading
import warnings
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FunctionType
from typing import Any
from unittest import mock
from urllib.parse import quote

import django
import pytest
from asgiref.sync import SyncToAsync
from django.db import connection
from django.test.utils import (
    override_settings,
    setup_databases,
    teardown_databases,
)

from django_asgi_bridge import threads
from django_asgi_bridge.threads import WorkerPool, get_pool
from tests import settings as suite

__all__ = (
    "SETTINGS",
    "Answer",
    "Connection",
    "Cost",
    "Request",
    "WatchedLoop",
    "by_asgi",
    "by_wsgi",
    "cost_of",
    "database",
    "fresh_pool",
    "run",
    "site",
)


MANAGER: Any = "m@example.com" if django.VERSION >= (6, 0) else ("M", "m@example.com")
SETTINGS: dict[str, Any] = {
    "INSTALLED_APPS": [
        *suite.INSTALLED_APPS,
        "django.contrib.sites",
        "django.contrib.flatpages",
        "django.contrib.redirects",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"flatpages/default.html": "flat: {{ flatpage.content }}"},
                    )
                ],
            },
        }
    ],
    "ALLOWED_HOSTS": ["testserver"],
    "LANGUAGES": [("en", "English"), ("de", "German"), ("fr", "French")],
    "LOGIN_URL": "/login/",
    "MANAGERS": [MANAGER],
    "SECURE_CSP": {"script-src": ["'self'", "<CSP_NONCE_SENTINEL>"]},
    "SITE_ID": 1,
}


@dataclass(frozen=True)
class Request:
    """A request as a client sends it."""

    path: str = "/"
    method: str = "GET"
    query: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""

    @property
    def all_headers(self) -> list[tuple[str, str]]:
        """The headers, with those that every client sends."""
        headers = [("Host", "testserver"), *self.headers]
        if self.body or self.method in {"POST", "PUT", "PATCH"}:
            headers.append(("Content-Length", str(len(self.body))))
        return headers

    def scope(self) -> dict[str, Any]:
        """Return it as an ASGI server does."""
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.5"},
            "http_version": "1.1",
            "method": self.method,
            "scheme": "http",
            "path": self.path,
            "raw_path": quote(self.path).encode(),
            "query_string": self.query.encode(),
            "root_path": "",
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in self.all_headers
            ],
            "client": ("127.0.0.1", 50000),
            "server": ("testserver", 80),
        }

    def environ(self) -> dict[str, Any]:
        """Return it as a WSGI server does."""
        environ: dict[str, Any] = {
            "REQUEST_METHOD": self.method,
            "SCRIPT_NAME": "",
            "PATH_INFO": self.path.encode().decode("latin-1"),
            "QUERY_STRING": self.query,
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REMOTE_ADDR": "127.0.0.1",
            "REMOTE_HOST": "127.0.0.1",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": "http",
            "wsgi.input": io.BytesIO(self.body),
            "wsgi.errors": io.StringIO(),
            "wsgi.multithread": True,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        for name, value in self.all_headers:
            key = name.upper().replace("-", "_")
            if key not in {"CONTENT_TYPE", "CONTENT_LENGTH"}:
                key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
        return environ


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    sent: tuple[dict[str, Any], ...] = field(default=(), repr=False, compare=False)

    def __getitem__(self, name: str) -> str:
        return next(v for k, v in self.headers if k.lower() == name.lower())


class Connection:
    """The two callables of an ASGI server, for one request."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.incoming = deque(events)
        self.sent: list[dict[str, Any]] = []
        self.is_over = asyncio.Event()

    @classmethod
    def of(cls, request: Request) -> "Connection":
        """Have the whole body ready in one event."""
        return cls({"type": "http.request", "body": request.body, "more_body": False})

    async def receive(self) -> dict[str, Any]:
        """Give what the client sent; then wait until it leaves."""
        if self.incoming:
            return self.incoming.popleft()
        await self.is_over.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: dict[str, Any]) -> None:
        """Take what the application sends."""
        self.sent.append(event)

    def answer(self) -> Answer:
        """Put the events together."""
        start, *rest = self.sent
        assert start["type"] == "http.response.start", self.sent
        assert not rest[-1].get("more_body", False), "the response has no end"
        return Answer(
            start["status"],
            tuple(
                (k.decode("ascii"), v.decode("latin-1")) for k, v in start["headers"]
            ),
            b"".join(event.get("body", b"") for event in rest),
            tuple(self.sent),
        )


async def by_asgi(app: Callable[..., Any], request: Request) -> Answer:
    """Let an ASGI application answer."""
    connection = Connection.of(request)
    await app(request.scope(), connection.receive, connection.send)
    return connection.answer()


def by_wsgi(app: Callable[..., Any], request: Request) -> Answer:
    """Let a WSGI application answer, and close what it returned."""
    started: list[Any] = []
    body = app(request.environ(), lambda *args: started.append(args))
    try:
        content = b"".join(body)
    finally:
        if hasattr(body, "close"):
            body.close()
    ((status, headers),) = started
    # Django 5.2 puts a space before cookies, which servers take off.
    stripped = tuple((name, value.strip()) for name, value in headers)
    return Answer(int(status.split()[0]), stripped, content)


class WatchedLoop(asyncio.SelectorEventLoop):
    """An event loop that counts how often another thread wakes it.

    Each trip to a thread ends so, whoever made it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.home = threading.get_ident()
        self.wake_ups = 0

    def call_soon_threadsafe(  # type: ignore[override]  # hands on what it is given
        self, *args: Any, **kwargs: Any
    ) -> asyncio.Handle:
        """Count it unless the loop's own thread calls."""
        if threading.get_ident() != self.home:
            self.wake_ups += 1
        return super().call_soon_threadsafe(*args, **kwargs)


def run(main: Any) -> Any:
    """Run a coroutine on a loop of its own, as ``asyncio.run`` does."""
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        return runner.run(main)


@dataclass(frozen=True)
class Cost:
    """What one request took.

    Attributes:
        trips: by the pool's own count.
        wake_ups: of the event loop, by other threads: one for each trip, and one
            for each time that sync code asked for a coroutine's result.
        threads: started.
        sync_to_async: calls of asgiref's ``SyncToAsync``.
    """

    trips: int
    wake_ups: int
    threads: int
    sync_to_async: int


def cost_of(
    app: Callable[..., Any], request: Request, *, is_warm: bool = True
) -> tuple[Answer, Cost]:
    """Send a request and count; ``is_warm``: after the same request, uncounted."""
    with asyncio.Runner(loop_factory=WatchedLoop) as runner:
        loop: Any = runner.get_loop()
        if is_warm:
            runner.run(by_asgi(app, request))
        trips = get_pool().stats().trips_total
        wake_ups = loop.wake_ups
        with _threads_started() as started, _sync_to_async_calls() as calls:
            answer = runner.run(by_asgi(app, request))
        cost = Cost(
            get_pool().stats().trips_total - trips,
            loop.wake_ups - wake_ups,
            len(started),
            len(calls),
        )
    return answer, cost


@contextmanager
def _threads_started() -> Iterator[list[str]]:
    started: list[str] = []
    start = threading.Thread.start

    def counted(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    with mock.patch.object(threading.Thread, "start", counted):
        yield started


@contextmanager
def _sync_to_async_calls() -> Iterator[list[int]]:
    """Count in a way that the handler cannot tell from asgiref's own function."""
    calls: list[int] = []
    original = SyncToAsync.__call__

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return await original(self, *args, **kwargs)

    disguised = FunctionType(
        counted.__code__,
        {**globals(), "__name__": "asgiref.sync"},
        "__call__",
        None,
        counted.__closure__,
    )
    with mock.patch.object(SyncToAsync, "__call__", disguised):
        yield calls


@contextmanager
def fresh_pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[WorkerPool]:
    """Have a pool made by the settings of the moment; end its threads afterwards."""
    with monkeypatch.context() as patch:
        patch.setattr(threads, "_pool", None)
        pool = get_pool()
        try:
            yield pool
        finally:
            with warnings.catch_warnings():
                # Django does not close connections to a database in memory.
                warnings.simplefilter("ignore", ResourceWarning)
                pool.shutdown()
                gc.collect()


@contextmanager
def database(blocker: Any) -> Iterator[None]:
    """Have a migrated database without a transaction around it, as servers have.

    The worker threads that use it end with it.

    Args:
        blocker: pytest-django's ``django_db_blocker``. Its ``django_db_setup`` makes
            a database only if a selected test is marked; then that one is used.
    """
    with blocker.unblock(), fresh_pool(pytest.MonkeyPatch()):
        name = str(connection.settings_dict["NAME"])
        is_there = name.startswith(("test_", "file:memorydb"))
        made = None if is_there else setup_databases(0, False, aliases={"default"})
        try:
            yield
        finally:
            if made is not None:
                teardown_databases(made, 0)


@contextmanager
def site(blocker: Any) -> Iterator[None]:
    """Have the apps of ``SETTINGS`` with their tables and a few rows."""
    with database(blocker), override_settings(**SETTINGS):
        from django.contrib.flatpages.models import FlatPage
        from django.contrib.redirects.models import Redirect
        from django.contrib.sessions.models import Session
        from django.contrib.sites.models import Site

        models = (Site, FlatPage, Redirect)
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        try:
            home = Site.objects.create(pk=1, domain="testserver", name="test")
            page = FlatPage.objects.create(url="/flat/", title="Flat", content="page")
            page.sites.add(home)
            for old, new in (
                ("/old/", "/hello/"),
                ("/gone/", ""),
                ("/async-not-found/", "/found/"),
            ):
                Redirect.objects.create(site=home, old_path=old, new_path=new)
            yield
        finally:
            Session.objects.all().delete()
            Site.objects.clear_cache()
            with connection.schema_editor() as editor:
                for model in reversed(models):
                    editor.delete_model(model)
