"""Pages that show how they were served."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.views.decorators.http import require_safe

from django_asgi_bridge import http
from testproject.notes.models import Note

_SECRET_HEADERS = frozenset(
    {"authorization", "cookie", "proxy-authorization", "x-csrftoken"}
)
_HIDDEN = "(hidden)"
# Of a WSGI environ only what is the request's: wsgiref's server puts the whole
# environment of the process in it.
_ENVIRON = (
    "CONTENT_",
    "HTTP_",
    "PATH_INFO",
    "QUERY_",
    "REMOTE_",
    "REQUEST_",
    "SCRIPT_NAME",
    "SERVER_",
    "wsgi.",
)


@dataclass(frozen=True, slots=True)
class Row:
    """One row: a key with a text, or with a table of names and texts."""

    key: str
    text: str = ""
    table: list[tuple[str, str]] | None = None


@require_safe
def scope(request: HttpRequest) -> HttpResponse:
    """Show what the server told about this request."""
    asgi_scope: Mapping[str, Any] | None = getattr(request, "scope", None)
    if asgi_scope is None:
        kind, rows = "WSGI environ", environ_rows(request.META)
    else:
        kind, rows = "ASGI scope", scope_rows(asgi_scope)
    return render(request, "notes/scope.html", {"kind": kind, "rows": rows})


def scope_rows(asgi_scope: Mapping[str, Any]) -> list[Row]:
    """Return the scope as rows of a table; a row may hold a table itself."""
    rows = []
    for key in sorted(asgi_scope):
        value = asgi_scope[key]
        if key == "headers":
            rows.append(Row(key, table=[header_row(*header) for header in value]))
        elif isinstance(value, Mapping):
            table = [(str(k), readable(value[k])) for k in sorted(value)]
            rows.append(Row(key, table=table))
        else:
            rows.append(Row(key, readable(value)))
    return rows


def header_row(name: bytes, value: bytes) -> tuple[str, str]:
    """Return a header as text, without its value when that is a secret."""
    text = name.decode("latin-1")
    is_secret = text.lower() in _SECRET_HEADERS
    return text, _HIDDEN if is_secret else value.decode("latin-1")


def environ_rows(environ: Mapping[str, Any]) -> list[Row]:
    """Return the request's own part of a WSGI environ as rows of a table."""
    return [
        Row(
            key,
            _HIDDEN
            if key.removeprefix("HTTP_").replace("_", "-").lower() in _SECRET_HEADERS
            else readable(environ[key]),
        )
        for key in sorted(environ)
        if key.startswith(_ENVIRON)
    ]


def readable(value: object) -> str:
    """Return plain values as they are, objects by their type's name only."""
    if isinstance(value, bytes):
        return value.decode("latin-1")
    if isinstance(value, list | tuple):
        return ", ".join(readable(item) for item in value)
    if isinstance(value, Mapping):
        return ", ".join(f"{key}: {readable(value[key])}" for key in sorted(value))
    if value is None or isinstance(value, str | int | float):
        return str(value)
    return f"({type(value).__name__})"


@require_safe
def two_views(request: HttpRequest) -> HttpResponse:
    """Show the same work done by a sync and by an async view."""
    return render(request, "notes/two_views.html")


class QueryCounter:
    """Counts the queries of the thread whose connection it is put on."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(
        self, execute: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> object:
        """Run one query: the signature is that of Django's execute wrappers."""
        self.count += 1
        return execute(*args, **kwargs)

    def start(self) -> None:
        connection.execute_wrappers.append(self)

    def stop(self) -> None:
        connection.execute_wrappers.remove(self)


@require_safe
def sync_half(request: HttpRequest) -> HttpResponse:
    """Read notes in a sync view: the whole request runs on one worker thread."""
    began = time.perf_counter()
    counter = QueryCounter()
    counter.start()
    try:
        total = Note.objects.count()
        newest = list(Note.objects.all()[:3])
    finally:
        counter.stop()
    return _half("sync", total, newest, counter, time.perf_counter() - began)


@require_safe
async def async_half(request: HttpRequest) -> HttpResponse:
    """Read notes in an async view: its queries run on one worker thread."""
    began = time.perf_counter()
    counter = QueryCounter()
    await sync_to_async(counter.start)()
    try:
        total = await Note.objects.acount()
        newest = [note async for note in Note.objects.all()[:3]]
    finally:
        await sync_to_async(counter.stop)()
    return _half("async", total, newest, counter, time.perf_counter() - began)


def _half(
    kind: str, total: int, newest: list[Note], counter: QueryCounter, took: float
) -> HttpResponse:
    html = render_to_string(
        "notes/_half.html",
        {
            "kind": kind,
            "total": total,
            "newest": newest,
            "thread": threading.current_thread().name,
            "milliseconds": took * 1000,
            "queries": counter.count,
        },
    )
    return HttpResponse(html)


@require_safe
def process(request: HttpRequest) -> HttpResponse:
    """Show what the lifespan hook opened before the first request."""
    almanac = getattr(http.state(request), "almanac", None)
    return render(request, "notes/process.html", {"almanac": almanac})


def no_api(request: HttpRequest, path: str = "") -> HttpResponse:
    """Say why the mounted application is not here."""
    return HttpResponse(
        "The API is a Starlette application mounted beside Django: it needs an ASGI "
        "server.\n",
        content_type="text/plain; charset=utf-8",
        status=HTTPStatus.NOT_IMPLEMENTED,
    )
