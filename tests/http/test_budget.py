"""What one warm request costs: Python calls counted, threads started.

The calls are counted with ``sys.setprofile`` on the loop's thread and on the worker,
each resumption of a coroutine as one: this package's, and Django's and asgiref's that
they lead to. Unlike times they do not flicker: the least of some requests is the same
on each run. What asyncio does around them depends on the moment and is left out.

To measure anew: ``pytest tests/http/test_budget.py -rP``, which prints the counts, and
put a few calls more than printed into ``BUDGETS``. A number that has to grow by more
needs a reason in the commit that lets it.
"""

import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import django
import pytest
from django.contrib.sessions.models import Session
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path

from django_asgi_bridge.http.handler import ASGIHandler
from tests.calls import Counter
from tests.http.corpus import DEFAULT, DJANGO
from tests.http.support import fresh_pool, site

# Django 6.1 tells its own test settings to name a mailer.
pytestmark = pytest.mark.filterwarnings("ignore:.*MAILERS")

# What the budgets were measured on.
IS_MEASURED_ON = sys.version_info[:2] == (3, 13) and django.VERSION[:2] == (6, 1)


def hello(request: HttpRequest) -> HttpResponse:
    """Answer from a worker."""
    return HttpResponse(b"Hello")


async def ahello(request: HttpRequest) -> HttpResponse:
    """Answer from the event loop."""
    return HttpResponse(b"Hello")


async def acount(request: HttpRequest) -> HttpResponse:
    """Answer what the database says."""
    return HttpResponse(f"{await Session.objects.acount()}")


urlpatterns = [
    path("sync/", hello),
    path("async/", ahello),
    path("query/", acount),
]


@dataclass(frozen=True)
class Budget:
    """Calls that one request may take.

    Attributes:
        own: calls of this package's functions.
        all: of this package's, Django's and asgiref's functions.
    """

    path: str
    middleware: tuple[str, ...]
    own: int
    all: int


BUDGETS = {
    "async": Budget("/async/", (), 72, 88),
    "sync": Budget("/sync/", (), 131, 149),
    "async, one query": Budget("/query/", (), 143, 410),
    "async, default middleware": Budget("/async/", DEFAULT, 97, 181),
    "sync, default middleware": Budget("/sync/", DEFAULT, 147, 232),
}


@pytest.fixture(scope="module", autouse=True)
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give Django's middleware its apps and tables."""
    with site(django_db_blocker):
        yield


async def serve(app: Any, url: str) -> int:
    """Send a request as a server does; return its status."""
    events = [{"type": "http.request", "body": b"", "more_body": False}]
    statuses: list[int] = []

    async def receive() -> Any:
        if events:
            return events.pop()
        # The client stays.
        return await asyncio.get_running_loop().create_future()

    async def send(event: Any) -> None:
        if "status" in event:
            statuses.append(event["status"])

    await app(scope_of(url), receive, send)
    return statuses[0]


def scope_of(url: str) -> dict[str, Any]:
    """Return the scope of a request as a server makes it."""
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": url,
        "raw_path": url.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 8000),
        "state": {},
    }


@pytest.mark.parametrize("name", BUDGETS)
def test_warm_request_stays_in_its_budget_of_calls(name, monkeypatch):
    """A request makes no more Python calls than it was measured to need."""
    budget = BUDGETS[name]
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 60)
    counts: list[tuple[int, int]] = []

    async def requests(app: Any, counter: Counter) -> None:
        for _ in range(30):
            before = counter.own, counter.all
            assert await serve(app, budget.path) == 200
            counts.append((counter.own - before[0], counter.all - before[1]))

    with (
        override_settings(
            MIDDLEWARE=[DJANGO[each] for each in budget.middleware],
            ROOT_URLCONF=__name__,
        ),
        fresh_pool(monkeypatch),
        Counter() as counter,
    ):
        # Nothing of what other tests set is carried from thread to thread.
        contextvars.Context().run(asyncio.run, requests(ASGIHandler(), counter))

    own, everything = (min(each) for each in zip(*counts, strict=True))
    print(f"{name}: own={own}, all={everything}")
    if IS_MEASURED_ON:
        assert own <= budget.own
        assert everything <= budget.all
    else:
        # Before Python 3.12 a comprehension is a call.
        assert own <= budget.own + 15


@pytest.mark.parametrize("name", ["async", "sync, default middleware"])
def test_10_000_warm_requests_start_no_thread(name, monkeypatch):
    """Threads are started while the pool grows, and never again."""
    budget = BUDGETS[name]
    started = []
    original = threading.Thread.start

    def start(self: threading.Thread) -> None:
        started.append(self.name)
        original(self)

    async def requests(app: Any, count: int) -> None:
        for _ in range(count):
            await serve(app, budget.path)

    with (
        override_settings(
            MIDDLEWARE=[DJANGO[each] for each in budget.middleware],
            ROOT_URLCONF=__name__,
        ),
        fresh_pool(monkeypatch),
    ):
        app = ASGIHandler()
        asyncio.run(requests(app, 1))
        monkeypatch.setattr(threading.Thread, "start", start)
        asyncio.run(requests(app, 10_000))

    assert started == []


@pytest.mark.parametrize("name", ["async", "sync"])
def test_answered_request_leaves_nothing_to_the_garbage_collector(name, monkeypatch):
    """What a request used is free when it ends: nothing refers back to itself."""
    budget = BUDGETS[name]
    found: list[int] = []

    async def requests(app: Any) -> None:
        await serve(app, budget.path)
        gc.collect()
        gc.disable()
        try:
            await serve(app, budget.path)
            # The watch for the client is cancelled, and ends a moment later.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            found.append(gc.collect())
        finally:
            gc.enable()

    with (
        override_settings(MIDDLEWARE=[], ROOT_URLCONF=__name__),
        fresh_pool(monkeypatch),
    ):
        asyncio.run(requests(ASGIHandler()))

    assert found == [0]


def test_request_that_middleware_ties_in_a_circle_keeps_nothing_of_the_server(
    monkeypatch,
):
    """The server's callables and task are free at the end, without the collector."""
    kept: list[Any] = []

    class Server:
        async def receive(self) -> Any:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(self, event: Any) -> None:
            pass

        async def listen(self, receive: Any) -> None:
            """Be an override of ``listen_for_disconnect``."""

    async def requests(app: Any) -> None:
        await serve(app, "/async/")
        gc.collect()
        gc.disable()
        try:
            server = Server()
            app.listen_for_disconnect = server.listen
            scope = scope_of("/async/")
            task = asyncio.create_task(app(scope, server.receive, server.send))
            await task
            del app.listen_for_disconnect
            references: list[weakref.ref[Any]] = [
                weakref.ref(server),
                weakref.ref(task),
            ]
            del server, task
            # The loop's handle of the task that ended.
            await asyncio.sleep(0)
            kept.extend(each() for each in references)
            found.append(gc.collect())
        finally:
            gc.enable()

    found: list[int] = []
    with (
        override_settings(
            MIDDLEWARE=[DJANGO[each] for each in DEFAULT], ROOT_URLCONF=__name__
        ),
        fresh_pool(monkeypatch),
    ):
        asyncio.run(requests(ASGIHandler()))

    assert kept == [None, None]
    # Else there was no circle.
    assert found[0] > 0
