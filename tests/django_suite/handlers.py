"""Test client handlers that speak ASGI with the handler under test.

Django's ``ClientHandler`` and ``AsyncClientHandler`` build a request themselves and
call ``get_response()``: a handler's entry, its body and its sending are never run.
These take their place: each request becomes a scope, its body ``http.request``
events, and the answer is taken from the events that the application sends.

``ClientHandler`` and ``AsyncClientHandler`` run an exchange under ``async_to_sync``
in the test's own thread, where thread-sensitive code meets the test's connection and
transaction. The two ``...OnWorkers`` run it as under a server, on leased worker
threads; all threads share the test's connections then (see child.py).

Specification: ASGI HTTP, version 2.5, and PEP 3333 for ``environ``.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any, TypeAlias
from urllib.parse import quote

from asgiref.sync import AsyncToSync, async_to_sync
from django.core.handlers.asgi import ASGIHandler, ASGIRequest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.test.client import conditional_content_removal

__all__ = (
    "AsyncClientHandler",
    "AsyncClientHandlerOnWorkers",
    "ClientHandler",
    "ClientHandlerOnWorkers",
    "Exchange",
    "ProtocolViolationError",
)

#: Bytes of one ``http.request`` event, as uvicorn's high-water mark.
BODY_CHUNK = 65536
#: What a scope says in its own keys; all else of an environ goes to ``META``.
ENVIRON_IN_SCOPE = frozenset(
    {
        "CONTENT_LENGTH",
        "CONTENT_TYPE",
        "PATH_INFO",
        "QUERY_STRING",
        "REMOTE_ADDR",
        "REQUEST_METHOD",
        "SCRIPT_NAME",
        "SERVER_NAME",
        "SERVER_PORT",
        "SERVER_PROTOCOL",
    }
)

#: Django's own handler leaves a body that HTTP forbids for the server to drop.
IS_DJANGO_OWN = ASGIHandler.__module__ == "django.core.handlers.asgi"

_Environ = dict[str, Any]
_Scope = dict[str, Any]
_Message = MutableMapping[str, Any]
_Answer: TypeAlias = tuple[HttpResponseBase, ASGIRequest | None]


class ProtocolViolationError(AssertionError):
    """The application broke the order of ASGI's events, or sent what it must not.

    If you see this: the handler under test has a defect that the response object
    alone does not show.
    """


class Exchange:
    """One request and its answer, as a server sees them."""

    def __init__(self, body: bytes, extra_meta: _Environ, is_csrf_exempt: bool) -> None:
        self.extra_meta = extra_meta
        self.is_csrf_exempt = is_csrf_exempt
        self.request: ASGIRequest | None = None
        self.response: HttpResponseBase | None = None
        self.start: _Message | None = None
        self.chunks: list[bytes] = []
        self._violations: list[str] = []
        self._is_complete = False
        self._ended = asyncio.Event()
        self._body = iter(_request_events(body))

    async def run(self, application: Any, scope: _Scope) -> HttpResponseBase:
        """Call the application and return the response it made.

        Raises:
            ProtocolViolationError: The events do not make an HTTP response, or not
                the response that the middleware chain returned.
        """
        try:
            await application(scope, self._receive, self._send)
        finally:
            self._ended.set()
        if not self._is_complete:
            self._violations.append("it returned without a complete response")
        if self._violations or self.start is None:
            raise ProtocolViolationError("; ".join(self._violations))
        return self._compare_and_detach()

    async def _receive(self) -> _Message:
        event = next(self._body, None)
        if event is not None:
            return event
        await self._ended.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: _Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            if self.start is not None:
                self._violations.append("a second http.response.start")
            self.start = message
            return
        if kind != "http.response.body":
            self._violations.append(f"unexpected event {kind!r}")
            return
        if self.start is None or self._is_complete:
            self._violations.append(f"{kind!r} before the start or after the end")
        if body := message.get("body", b""):
            self.chunks.append(bytes(body))
        if not message.get("more_body", False):
            self._is_complete = True
            self._ended.set()

    def _compare_and_detach(self) -> HttpResponseBase:
        """Check the sent events against the response object, and return that."""
        start: _Message = self.start or {}
        response = self.response
        if response is None:
            return _response_from_events(start, self.chunks)
        if start["status"] != response.status_code:
            raise ProtocolViolationError(
                f"status {start['status']} sent for {response.status_code}"
            )
        sent = sorted((name.lower(), value) for name, value in start["headers"])
        if sent != sorted(_header_pairs(response)):
            raise ProtocolViolationError(
                f"headers sent {sent!r}, in the response {_header_pairs(response)!r}"
            )
        if isinstance(response, StreamingHttpResponse):
            # The iterator has been sent and closed: show the test what was sent.
            chunks = self.chunks
            response.streaming_content = (
                _aiterate(chunks) if response.is_async else iter(chunks)
            )
            return response
        body = b"".join(self.chunks)
        if _is_bodiless(self.request, response):
            if body and not IS_DJANGO_OWN:
                raise ProtocolViolationError("a body was sent where HTTP allows none")
        elif body != getattr(response, "content", body):
            raise ProtocolViolationError("the body sent is not the response's")
        return response


_current: ContextVar[Exchange] = ContextVar("django_suite.exchange")


class _ExchangeMixin(ASGIHandler):
    """The handler under test, with the doors that the test clients need.

    Middleware is loaded by the first request, since a client is made before its
    test's settings are overridden.
    """

    def __init__(self, enforce_csrf_checks: bool = True) -> None:
        self.enforce_csrf_checks = enforce_csrf_checks
        self._is_loaded = False

    async def exchange(
        self, scope: _Scope, body: bytes, extra_meta: _Environ
    ) -> _Answer:
        """Send one request through the handler under test."""
        if not self._is_loaded:
            super().__init__()
            self._is_loaded = True
        exchange = Exchange(body, extra_meta, not self.enforce_csrf_checks)
        token = _current.set(exchange)
        # Django's handlers take this receiver out around both signals, since it would
        # close the test's connection.
        request_started.disconnect(close_old_connections)
        request_finished.disconnect(close_old_connections)
        try:
            response = await exchange.run(super().__call__, scope)
        finally:
            _current.reset(token)
            request_started.connect(close_old_connections)
            request_finished.connect(close_old_connections)
        if exchange.request is not None:
            conditional_content_removal(exchange.request, response)
        return response, exchange.request

    def create_request(self, scope: Any, body_file: Any) -> Any:
        request, error_response = super().create_request(scope, body_file)
        exchange = _current.get()
        if request is None:
            return request, error_response
        request._dont_enforce_csrf_checks = exchange.is_csrf_exempt  # type: ignore[attr-defined] # as Django's
        for name, value in exchange.extra_meta.items():
            request.META.setdefault(name, value)
        exchange.request = request
        return request, error_response

    async def send_response(self, response: Any, send: Any) -> None:
        _current.get().response = response
        await super().send_response(response, send)


class ClientHandler(_ExchangeMixin):
    """Takes the place of Django's handler behind the synchronous ``Client``."""

    def __call__(self, environ: _Environ) -> HttpResponseBase:  # type: ignore[override] # Django's signature
        body = _read_wsgi_body(environ)
        scope, extra_meta = scope_from_environ(environ)
        response, request = self._call(scope, body, extra_meta)
        if request is None:
            request = self.request_class(scope, None)  # type: ignore[arg-type] # no body
        if not hasattr(request, "environ"):
            request.environ = environ  # type: ignore[attr-defined] # a WSGIRequest has it
        response.wsgi_request = request  # type: ignore[attr-defined] # as Django's
        return response

    def _call(self, *arguments: Any) -> _Answer:
        return async_to_sync(self.exchange)(*arguments)


class AsyncClientHandler(_ExchangeMixin):
    """Takes the place of Django's handler behind ``AsyncClient``."""

    async def __call__(self, scope: _Scope) -> HttpResponseBase:  # type: ignore[override] # Django's signature
        body_file = scope.pop("_body_file", None)
        body = body_file.read() if body_file is not None else b""
        # AsyncRequestFactory writes ("testserver", "80"); the specification says int.
        host, port = scope["server"]
        scope["server"] = (host, int(port))
        response, request = await self._call(scope, body, {})
        if request is None:
            request = self.request_class(scope, None)  # type: ignore[arg-type] # no body
        response.asgi_request = request  # type: ignore[attr-defined] # as Django's
        return response

    async def _call(self, *arguments: Any) -> _Answer:
        return await self.exchange(*arguments)


class ClientHandlerOnWorkers(ClientHandler):
    """The same on leased worker threads, from an event loop as a server runs it."""

    def _call(self, *arguments: Any) -> _Answer:
        context = contextvars.copy_context()
        with ThreadPoolExecutor(1) as executor:
            answer = executor.submit(context.run, self._run_loop, arguments)
            return answer.result()

    def _run_loop(self, arguments: tuple[Any, ...]) -> _Answer:
        return asyncio.run(self.exchange(*arguments))


class AsyncClientHandlerOnWorkers(AsyncClientHandler):
    """The same in a task that does not know of the test's own thread."""

    async def _call(self, *arguments: Any) -> _Answer:
        context = contextvars.copy_context()
        context.run(setattr, AsyncToSync.executors, "current", None)
        loop = asyncio.get_running_loop()
        return await loop.create_task(self.exchange(*arguments), context=context)


def scope_from_environ(environ: _Environ) -> tuple[_Scope, _Environ]:
    """Turn a WSGI environ into a scope, and what no scope can carry."""
    headers: list[tuple[bytes, bytes]] = []
    extra_meta: _Environ = {}
    for name, value in environ.items():
        if name.startswith("HTTP_"):
            headers.append((_header_name(name[5:]), _latin1(value)))
        elif name in ("CONTENT_LENGTH", "CONTENT_TYPE"):
            if value != "":
                headers.append((_header_name(name), _latin1(value)))
        elif name not in ENVIRON_IN_SCOPE and not name.startswith("wsgi."):
            extra_meta[name] = value
    root_path = _latin1(environ.get("SCRIPT_NAME", ""))
    path = (
        root_path.rstrip(b"/")
        + b"/"
        + _latin1(environ.get("PATH_INFO", "")).removeprefix(b"/")
    )
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.5"},
        "http_version": environ.get("SERVER_PROTOCOL", "HTTP/1.1").partition("/")[2],
        "method": environ["REQUEST_METHOD"],
        "scheme": environ.get("wsgi.url_scheme", "http"),
        "path": path.decode(errors="replace"),
        "raw_path": quote(path, safe="/:@!$&'()*+,;=~-._%").encode("ascii"),
        "query_string": _latin1(environ.get("QUERY_STRING", "")),
        "root_path": root_path.decode(errors="replace"),
        "headers": headers,
        "server": (environ["SERVER_NAME"], int(environ["SERVER_PORT"])),
        "extensions": {},
    }
    if address := environ.get("REMOTE_ADDR"):
        scope["client"] = (address, 0)
    return scope, extra_meta


def _read_wsgi_body(environ: _Environ) -> bytes:
    """Read the body as a server would: as long as Content-Length says."""
    length = environ.get("CONTENT_LENGTH") or 0
    stream = environ.get("wsgi.input")
    if stream is None:
        return b""
    body: bytes = stream.read()
    return body[: int(length)] if str(length).isdigit() else body


def _request_events(body: bytes) -> Iterator[_Message]:
    ends = range(BODY_CHUNK, len(body) + BODY_CHUNK, BODY_CHUNK) or range(1)
    for end in ends:
        yield {
            "type": "http.request",
            "body": body[max(end - BODY_CHUNK, 0) : end],
            "more_body": end < len(body),
        }


def _header_name(name: str) -> bytes:
    return name.replace("_", "-").lower().encode("ascii")


def _latin1(value: object) -> bytes:
    text = str(value)
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode()


def _header_pairs(response: HttpResponseBase) -> list[tuple[bytes, bytes]]:
    pairs = [
        (name.lower().encode("ascii"), value.encode("latin-1"))
        for name, value in response.items()
    ]
    return pairs + [
        (b"set-cookie", cookie.OutputString().encode())
        for cookie in response.cookies.values()
    ]


def _is_bodiless(request: ASGIRequest | None, response: HttpResponseBase) -> bool:
    # RFC 9112, section 6.3.
    if request is not None and request.method == "HEAD":
        return True
    return response.status_code < 200 or response.status_code in (204, 304)


def _response_from_events(start: _Message, chunks: list[bytes]) -> HttpResponse:
    """Build the response of a request that was refused before it was one."""
    response = HttpResponse(b"".join(chunks), status=start["status"])
    del response["Content-Type"]
    for name, value in start["headers"]:
        response[name.decode("ascii")] = value.decode("latin-1")
    return response


async def _aiterate(chunks: list[bytes]) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk
