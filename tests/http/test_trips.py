"""How often a request goes to a worker thread, and how many threads it starts.

``TABLE`` has a row for each kind of request, with the number and its reason. Trips
are counted by the pool, and apart from it: by how often another thread wakes the
event loop, by calls of asgiref's ``sync_to_async``, by threads started.

A trip is made for: a run of sync code; the end of a request that has a worker
(``request_finished``), unless one trip did everything. Sync code on a worker that
needs a coroutine's result pauses: the pool and the loop count its going on as one
more.
"""

import asyncio
import contextvars
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import django
import pytest
from django.core.cache import cache
from django.core.signals import request_finished, request_started
from django.http import HttpResponse
from django.test import override_settings
from django.urls import path as route
from django.utils import timezone

from django_asgi_bridge.http import plan
from django_asgi_bridge.http import views as view_step
from django_asgi_bridge.http.handler import ASGIHandler
from tests.http.corpus import DEFAULT, DJANGO, METHODS, OURS
from tests.http.support import (
    Connection,
    Request,
    by_asgi,
    cost_of,
    fresh_pool,
    run,
    site,
)

# Django 6.1 tells its own test settings to name a mailer.
pytestmark = pytest.mark.filterwarnings("ignore:.*MAILERS")

REMOTE_USER = "django.contrib.auth.middleware.RemoteUserMiddleware"


@pytest.fixture(scope="module", autouse=True)
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give Django's middleware its apps and tables."""
    with site(django_db_blocker):
        yield


STATUSES = {
    "hello": 301,
    "none/": 500,
    "not-found/": 404,
    "nowhere/": 404,
    "old/": 301,
    "redirect/": 302,
    "teapot/": 418,
    "value-error/": 500,
}
MEDDLERS = {
    "AnswersException": 299,
    "AnswersRequest": 203,
    "AnswersView": 203,
    "Bug": 500,
    "Missing": 404,
    "login": 302,
}


@dataclass(frozen=True)
class Row:
    """One request and what it costs.

    Attributes:
        trips: to a worker.
        reason: what they are for.
        pauses: how often sync code waits for a coroutine.
        foreign: calls of ``sync_to_async`` by code that is not ours.
        outside: middleware around the default ones.
        inside: middleware within them.
        default: are they there?
        settings: that differ.
    """

    path: str
    trips: int
    reason: str
    method: str = "get"
    pauses: int = 0
    foreign: int = 0
    outside: tuple[str, ...] = ()
    inside: tuple[str, ...] = ()
    default: bool = True
    settings: tuple[tuple[str, Any], ...] = ()

    @property
    def id(self) -> str:
        """Say what it is made of."""
        parts = (*self.outside, "default" if self.default else "bare", *self.inside)
        changed = (f"{name}={value}" for name, value in self.settings)
        path = self.path[1:].replace("/", ".")
        return "-".join(("+".join(parts), path, self.method, *changed))

    @property
    def status(self) -> int:
        """Return the status of the answer, so that the right thing is counted."""
        for name in (*self.outside, *self.inside):
            for ending, status in MEDDLERS.items():
                if name.endswith(ending):
                    return status
        if (self.path, self.method) == ("/async-hello/", "form"):
            return 403
        view = self.path.removeprefix("/async-").removeprefix("/")
        return STATUSES.get(view, 200)

    @property
    def middleware(self) -> list[str]:
        """Return the dotted paths."""
        names = (*self.outside, *(DEFAULT if self.default else ()), *self.inside)
        return [
            name if "." in name else DJANGO.get(name, f"{OURS}.{name}")
            for name in names
        ]


I18N = (("ROOT_URLCONF", "tests.http.urls_i18n"), ("LANGUAGE_CODE", "en"))
NOTHING = "nothing blocks"
ONE = "the chain, the view and the end of the request in one trip"

PLAIN_ROWS = (
    Row("/async-hello/", 0, NOTHING),
    Row("/async-hello/", 0, NOTHING, default=False),
    Row("/async-class/", 0, NOTHING),
    Row("/async-cookies/", 0, NOTHING),
    Row("/async-language/", 0, NOTHING),
    Row("/async-redirect/", 0, NOTHING),
    Row("/async-large/", 0, "in pieces, but not compressed"),
    Row("/async-csrf-token/", 0, "the secret is in a cookie"),
    Row("/async-user/", 0, "no session cookie, so nobody is looked for"),
    Row("/async-hello/", 0, "the session is not touched", method="get-cookies"),
    Row("/hello/", 1, ONE),
    Row("/hello/", 1, ONE, default=False),
    Row("/hello/", 1, ONE, method="head"),
    Row("/class/", 1, ONE),
    Row("/template/", 1, ONE),
    Row("/session/", 1, ONE),
    Row("/session-read/", 1, ONE, method="get-cookies"),
    Row("/messages/", 1, ONE),
    Row("/echo/", 1, ONE, method="form"),
    Row("/not-found/", 1, "the error page and its log record, too"),
    Row("/value-error/", 1, "the error page and its log record, too"),
    Row("/teapot/", 1, "its log record, too"),
    Row("/none/", 1, "the error page and its log record, too"),
    Row("/nowhere/", 1, "what is not found is treated as sync: error page, log record"),
    Row("/hello", 1, "what is not found is treated as sync: a redirect"),
    Row("/async-hello", 1, "what is not found is treated as sync: a redirect"),
    Row("/closes/", 2, "a closer that nobody knows runs after the last byte"),
)

ASYNC_ROWS = (
    Row("/async-session/", 2, "the session is saved; end"),
    Row("/async-messages/", 2, "the messages are stored; end"),
    Row("/async-template/", 2, "rendering; end"),
    Row("/async-not-found/", 3, "error page; log record; end"),
    Row("/async-value-error/", 2, "error page and log record; end"),
    Row("/async-none/", 2, "error page and log record; end"),
    Row("/async-teapot/", 2, "log record; end"),
    Row("/async-closes/", 1, "a closer that nobody knows runs after the last byte"),
    Row("/async-stream-async/", 1, "the stream is closed at the end"),
)

FORM_ROWS = (
    Row("/protected/", 1, ONE, method="form-token"),
    Row("/async-protected/", 2, "the form is parsed for its token; end", "form-token"),
    Row("/async-protected/", 2, "the form is looked for; end", method="json"),
    Row("/async-hello/", 2, "the check, the error page and its log; end", "form"),
    Row("/async-echo/", 0, "exempt from the check", method="form"),
    Row("/async-hello/", 0, "not a method that is checked", method="options"),
)

DJANGO_ROWS = (
    *(
        Row("/async-hello/", 0, reason, outside=outside, inside=inside)
        for outside, inside, reason in (
            (("gzip",), (), "too short to be compressed"),
            (("conditional",), (), "too short to be slow to hash"),
            (("locale",), (), NOTHING),
            ((), ("flatpage",), "asks only after a 404"),
            ((), ("redirects",), "asks only after a 404"),
            (("broken-links",), (), "mails only after a 404"),
            ((), ("xview",), "asks only for HEAD"),
        )
    ),
    *(
        Row("/hello/", 1, ONE, outside=outside, inside=inside)
        for outside, inside in (
            (("gzip", "conditional", "locale", "broken-links"), ()),
            ((), ("site", "flatpage", "redirects", "xview")),
            (("update-cache",), ("fetch-cache",)),
            ((), ("login",)),
        )
    ),
    Row("/hello/", 1, ONE, inside=(REMOTE_USER,)),
    Row("/async-hello/", 2, "which user; end", inside=(REMOTE_USER,)),
    Row("/async-large/", 2, "compressing; end", "get-agent", outside=("gzip",)),
    Row("/async-large/", 2, "hashing; end", outside=("conditional",)),
    Row(
        "/async-not-found/",
        4,
        "error page; the flat page; log; end",
        inside=("flatpage",),
    ),
    Row("/flat/", 1, "what is not found is treated as sync", inside=("flatpage",)),
    Row(
        "/async-not-found/", 4, "error page; redirect; log; end", inside=("redirects",)
    ),
    Row("/old/", 1, "treated as sync", "options", inside=("redirects",)),
    Row(
        "/async-not-found/",
        4,
        "error page; the mail; log; end",
        "get-agent",
        outside=("broken-links",),
    ),
    Row("/async-hello/", 2, "which site; end", inside=("site",)),
    Row("/async-hello/", 2, "which user; end", inside=("login",)),
    Row("/async-hello/", 2, "which user; end", "head", inside=("xview",)),
    Row(
        "/async-hello/",
        2,
        "found in the cache; end",
        outside=("update-cache",),
        inside=("fetch-cache",),
    ),
    Row(
        "/async-hello/",
        2,
        "which user may post; end",
        "json",
        outside=("update-cache",),
        inside=("fetch-cache",),
    ),
    Row("/en/async-hello/", 0, NOTHING, outside=("locale",), settings=I18N),
    Row("/en/hello/", 1, ONE, outside=("locale",), settings=I18N),
    Row(
        "/de/async-hello/",
        1,
        "not found before the language is known, so treated as sync: the body is "
        "awaited, and the view, while the worker is parked",
        pauses=1,
        outside=("locale",),
        settings=I18N,
    ),
    Row("/de/hello/", 1, ONE, outside=("locale",), settings=I18N),
)

if django.VERSION >= (6, 0):
    DJANGO_ROWS += (
        Row("/async-hello/", 0, NOTHING, inside=("csp",)),
        Row("/hello/", 1, ONE, inside=("csp",)),
    )

FOREIGN_ROWS = (
    *(
        Row("/async-hello/", 3, "request hook; response hook; end", **{side: (one,)})
        for one in ("Blocking", "OverridesHook", "OverridesHelper", "WrappedBlocking")
        for side in ("outside", "inside")
    ),
    *(
        Row("/hello/", 1, ONE, **{side: (one,)})
        for one in (
            "Blocking",
            "OverridesHook",
            "OverridesHelper",
            "OverridesNothing",
            "WrappedBlocking",
            "Wrapped",
            "EveryHook",
            "sync_only",
            "OldStyle",
        )
        for side in ("outside", "inside")
    ),
    Row(
        "/async-hello/",
        3,
        "neighbours share: request hooks; response hooks; end",
        outside=("Blocking",),
        inside=("BlockingAgain", "RequestOnly", "ResponseOnly"),
    ),
    Row("/async-hello/", 2, "request hook; end", inside=("RequestOnly",)),
    Row("/async-hello/", 2, "response hook; end", inside=("ResponseOnly",)),
    Row("/async-hello/", 0, "as Django's own", inside=("OverridesNothing", "Wrapped")),
    Row("/async-hello/", 4, "request; view; response hook; end", inside=("EveryHook",)),
    *(
        Row("/async-hello/", 1, "around the view and end", pauses=1, **{side: (one,)})
        for one in ("sync_only", "OldStyle")
        for side in ("outside", "inside")
    ),
    Row(
        "/async-hello/",
        1,
        "two sync-only ones share it, and the end",
        pauses=1,
        outside=("sync_only",),
        inside=("OldStyle", "Blocking"),
    ),
    *(
        Row("/async-hello/", 0, "all coroutines", **{side: (one,)})
        for one in ("async_only", "both", "Both", "AsyncViewHook")
        for side in ("outside", "inside")
    ),
    *(
        Row("/hello/", 1, "what is inside the coroutine, and end", **{side: (one,)})
        for one in ("async_only", "both", "Both")
        for side in ("outside", "inside")
    ),
    Row("/hello/", 1, "view and end", pauses=1, inside=("AsyncViewHook",)),
    Row("/async-hello/", 2, "its hook; end", foreign=1, inside=("OwnCall",)),
    Row("/hello/", 2, "its hook; the rest and end", foreign=1, inside=("OwnCall",)),
)

ERROR_ROWS = (
    *(
        Row(f"/{view}/", 1, "errors, too", **{side: (f"{hook}{error}",)})
        for view, hook in (
            ("hello", "Request"),
            ("hello", "View"),
            ("value-error", "Exception"),
            ("template", "Template"),
            ("hello", "Response"),
        )
        for error in ("Bug", "Missing")
        for side in ("outside", "inside")
    ),
    Row("/async-hello/", 2, "hook with error page; end", inside=("RequestBug",)),
    Row(
        "/async-hello/", 3, "hook with error page; log; end", inside=("RequestMissing",)
    ),
    Row(
        "/async-hello/",
        5,
        "request hook; view hook; error page; response hook; end",
        inside=("ViewBug",),
    ),
    Row(
        "/async-value-error/",
        6,
        "request hook; view hook; exception hook; error page; response hook; end",
        inside=("ExceptionBug",),
    ),
    Row(
        "/async-value-error/",
        5,
        "request hook; view hook; exception hook; response hook; end",
        inside=("AnswersException",),
    ),
    Row(
        "/async-template/",
        6,
        "request hook; view hook; template hook; error page; response hook; end",
        inside=("TemplateBug",),
    ),
    Row(
        "/async-template/",
        5,
        "request hook; view hook; template hook and rendering; response hook; end",
        inside=("EveryHook",),
    ),
    Row(
        "/async-hello/",
        4,
        "request hook; view hook; response hook with error page; end",
        inside=("ResponseBug",),
    ),
)

MEDDLING_ROWS = (
    Row("/hello/", 1, ONE, inside=("AnswersRequest",)),
    Row("/hello/", 1, ONE, inside=("AnswersView",)),
    Row("/value-error/", 1, ONE, inside=("AnswersException",)),
    Row(
        "/async-hello/",
        3,
        "request hook; response hook; end",
        inside=("AnswersRequest",),
    ),
    Row(
        "/async-hello/",
        4,
        "request hook; view hook; response hook; end",
        inside=("AnswersView",),
    ),
    Row(
        "/hello/",
        1,
        "an async view after all: the worker waits for it",
        pauses=1,
        inside=("ChangesUrlconf",),
    ),
    Row(
        "/async-hello/",
        4,
        "request hook; a sync view after all; response hook; end",
        inside=("ChangesUrlconf",),
    ),
    Row(
        "/async-hello/",
        3,
        "request hook; a sync view after all; end",
        inside=("ChangesPath",),
    ),
)

TABLE = (
    *PLAIN_ROWS,
    *ASYNC_ROWS,
    *FORM_ROWS,
    *DJANGO_ROWS,
    *FOREIGN_ROWS,
    *ERROR_ROWS,
    *MEDDLING_ROWS,
)


@pytest.mark.parametrize("row", [pytest.param(row, id=row.id) for row in TABLE])
def test_request_makes_as_many_trips_as_the_table_says(row: Row):
    """No trip more, no thread started, and nothing past the pool."""
    request = replace(METHODS[row.method], path=row.path)

    with _settings(row):
        answer, cost = contextvars.Context().run(cost_of, ASGIHandler(), request)

    assert answer.status == row.status
    assert cost.trips == row.trips, row.reason
    # asgiref's call may be over before anybody waits to be woken.
    least = row.trips + row.pauses - row.foreign
    assert least <= cost.wake_ups <= row.trips + row.pauses, row.reason
    assert cost.sync_to_async == row.foreign
    assert cost.threads == 0


@contextmanager
def _settings(row: Row) -> Iterator[None]:
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session

    cache.clear()
    Session.objects.all().delete()
    Session.objects.create(
        session_key="s" * 32,
        session_data=SessionStore().encode({"visits": 3}),
        expire_date=timezone.now() + timedelta(days=1),
    )
    changed = {
        "MIDDLEWARE": row.middleware,
        "ROOT_URLCONF": "tests.http.urls",
        **dict(row.settings),
    }
    with override_settings(**changed):
        yield


@pytest.mark.parametrize(
    ("owner", "name", "path", "trips"),
    [
        pytest.param(plan.Plan, "_last_blocking", "/async-hello/", 5, id="request"),
        pytest.param(
            view_step.ViewStep,
            "_last_blocking_view_hook",
            "/async-hello/",
            5,
            id="view",
        ),
    ],
)
def test_neighbours_would_not_share_a_trip_without_the_rule(
    owner, name, path, trips, monkeypatch
):
    """Two neighbours that block cost one trip, and two without the rule."""
    row = Row(path, trips, "", inside=("EveryHook", "EveryHookInside"))
    request = Request(path)
    with _settings(row):
        _, shared = cost_of(ASGIHandler(), request)
        monkeypatch.setattr(owner, name, lambda self, first: first)
        _, alone = cost_of(ASGIHandler(), request)

    assert (shared.trips, alone.trips) == (trips - 1, trips)


# Threads.


def test_async_view_starts_no_thread_when_the_pool_is_new(monkeypatch):
    """A site of async views never makes a thread at all."""
    with _settings(PLAIN_ROWS[0]), fresh_pool(monkeypatch) as pool:
        request = Request("/async-hello/")
        _, cost = cost_of(ASGIHandler(), request, is_warm=False)

        assert cost.threads == pool.stats().threads == 0


def test_first_sync_view_starts_one_thread(monkeypatch):
    """Later requests find it."""
    with _settings(PLAIN_ROWS[0]), fresh_pool(monkeypatch) as pool:
        handler = ASGIHandler()
        _, first = cost_of(handler, Request("/hello/"), is_warm=False)
        _, second = cost_of(handler, Request("/hello/"), is_warm=False)

        assert (first.threads, second.threads) == (1, 0)
        assert pool.stats().started_total == 1


# Signals.


@pytest.mark.parametrize(
    ("signal", "path", "trips", "reason"),
    [
        pytest.param(request_finished, "/hello/", 2, "all; receivers", id="sync-end"),
        pytest.param(request_finished, "/async-hello/", 1, "receivers", id="async-end"),
        pytest.param(request_started, "/hello/", 2, "receivers; all", id="sync-start"),
        pytest.param(
            request_started, "/async-hello/", 2, "receivers; end", id="async-start"
        ),
    ],
)
def test_custom_sync_receivers_get_one_trip(signal, path, trips, reason):
    """All sync receivers of a signal share it, on the request's worker."""
    threads = []

    def first(**named: Any) -> None:
        threads.append(threading.current_thread().name)

    def second(**named: Any) -> None:
        threads.append(threading.current_thread().name)

    signal.connect(first)
    signal.connect(second)
    try:
        with _settings(PLAIN_ROWS[0]):
            _, cost = cost_of(ASGIHandler(), Request(path), is_warm=False)
    finally:
        signal.disconnect(first)
        signal.disconnect(second)

    assert cost.trips == cost.wake_ups == trips, reason
    assert len(set(threads)) == 1
    assert len(threads) == 2
    assert threads[0].startswith("django-asgi-bridge")


@pytest.mark.parametrize("signal", [request_started, request_finished])
def test_custom_async_receivers_need_no_trip_for_async_views(signal):
    """They run on the event loop."""
    threads = []

    async def receiver(**named: Any) -> None:
        threads.append(threading.current_thread())

    signal.connect(receiver)
    try:
        with _settings(PLAIN_ROWS[0]):
            _, cost = cost_of(ASGIHandler(), Request("/async-hello/"), is_warm=False)
    finally:
        signal.disconnect(receiver)

    assert cost.trips == cost.wake_ups == 0
    assert threads == [threading.main_thread()]


# More requests than threads.


def test_sync_request_gets_through_64_waiting_behind_sync_middleware(
    monkeypatch, settings
):
    """A parked worker gives up its running slot: four of them do for 65 requests."""
    settings.ASGI_BRIDGE = {"THREADS": 4, "MAX_THREADS": 80}
    settings.MIDDLEWARE = [f"{OURS}.sync_only"]
    crowd = Crowd()
    settings.ROOT_URLCONF = crowd
    with fresh_pool(monkeypatch) as pool:
        answers = run(crowd.meet(ASGIHandler()))
        stats = pool.stats()

    assert [each.status for each in answers] == [200] * 65
    assert stats.threads <= 80
    assert (stats.running, stats.waiting, stats.leased) == (0, 0, 0)


class Crowd:
    """A URLconf: 64 async views wait for an event that a sync one sets."""

    size = 64

    def __init__(self) -> None:
        self.urlpatterns = [route("wait/", self.wait), route("open/", self.open)]
        self.waiting = 0

    async def meet(self, handler: Any) -> list[Any]:
        """Send them all, the sync one last."""
        self.loop = asyncio.get_running_loop()
        self.opened, self.all_wait = asyncio.Event(), asyncio.Event()
        connections = [Connection.of(Request("/wait/")) for _ in range(self.size)]
        async with asyncio.timeout(60), asyncio.TaskGroup() as group:
            for connection in connections:
                scope = Request("/wait/").scope()
                call = handler(scope, connection.receive, connection.send)
                group.create_task(call)
            await self.all_wait.wait()
            last = await by_asgi(handler, Request("/open/"))
        return [*(each.answer() for each in connections), last]

    async def wait(self, request: Any) -> HttpResponse:
        self.waiting += 1
        if self.waiting == self.size:
            self.all_wait.set()
        await self.opened.wait()
        return HttpResponse("waited")

    def open(self, request: Any) -> HttpResponse:
        self.loop.call_soon_threadsafe(self.opened.set)
        return HttpResponse("opened")
