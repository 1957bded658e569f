"""The site that monitoring tools watch, and one way to serve it for each handler."""

import asyncio
import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import django
from django.conf import settings
from django.http import Http404, HttpResponse
from django.urls import path

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


class Failed(Exception):
    """What the failing views raise."""


def sync_view(request: Any, number: int = 0) -> HttpResponse:
    return HttpResponse("sync")


async def async_view(request: Any, number: int = 0) -> HttpResponse:
    return HttpResponse("async")


def user_sync(request: Any) -> HttpResponse:
    request.user = _user()
    raise Failed("sync view of a user")


async def user_async(request: Any) -> HttpResponse:
    request.user = _user()
    raise Failed("async view of a user")


def _user() -> Any:
    from django.contrib.auth.models import User

    return User(pk=7, username="ada", email="ada@example.com")


def fail_sync(request: Any) -> HttpResponse:
    raise Failed("sync view")


async def fail_async(request: Any) -> HttpResponse:
    raise Failed("async view")


def missing(request: Any) -> HttpResponse:
    raise Http404


async def stream(request: Any) -> Any:
    from django.http import StreamingHttpResponse

    async def parts() -> Any:
        yield b"one"
        yield b"two"

    return StreamingHttpResponse(parts())


urlpatterns = [
    path("sync/<int:number>/", sync_view, name="sync"),
    path("async/<int:number>/", async_view, name="async"),
    path("user/sync/", user_sync),
    path("user/async/", user_async),
    path("fail/sync/", fail_sync),
    path("fail/async/", fail_async),
    path("missing/", missing),
    path("stream/", stream),
]


def configure() -> None:
    settings.configure(
        ALLOWED_HOSTS=["*"],
        ASGI_BRIDGE={},
        DATABASES={
            "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}
        },
        INSTALLED_APPS=[
            "django_asgi_bridge",
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "django.contrib.messages",
        ],
        LOGGING_CONFIG=None,
        MIDDLEWARE=list(MIDDLEWARE),
        ROOT_URLCONF=__name__,
        SECRET_KEY="tests only",
    )


def load(door: str) -> Any:
    """Set Django up and return an application: ``bridge`` or ``django``."""
    django.setup()
    module = {
        "bridge": "django_asgi_bridge.asgi",
        "django": "django.core.asgi",
    }[door]
    return importlib.import_module(module).get_asgi_application()


async def get(application: Any, url: str) -> int:
    """Take one GET through an application; its errors are the server's."""
    received = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if received:
            return received.pop()
        return await asyncio.Future()

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "server": ("testserver", 80),
        "client": ("192.0.2.1", 1234),
        "path": url,
        "raw_path": url.encode(),
        "query_string": b"q=1",
        "root_path": "",
        "headers": [(b"host", b"testserver"), (b"user-agent", b"tests")],
    }
    await application(scope, receive, send)
    return int(sent[0]["status"])


@contextmanager
def counted_trips() -> Iterator[list[Any]]:
    """Give a list of the calls that workers make; empty under Django's handler."""
    from django_asgi_bridge.threads import jobs

    taken: list[Any] = []

    def noting(execute: Any) -> Any:
        def noted(job: Any) -> None:
            taken.append(job)
            execute(job)

        return noted

    kinds: list[Any] = [jobs.TripJob, jobs.FutureJob]
    originals = [kind.execute for kind in kinds]
    for kind, execute in zip(kinds, originals, strict=True):
        kind.execute = noting(execute)
    try:
        yield taken
    finally:
        for kind, execute in zip(kinds, originals, strict=True):
            kind.execute = execute
