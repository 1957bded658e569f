"""What stands between the client and the handler: the part of a server.

``ClientHandler`` has the interface of Django's ``AsyncClientHandler``, so that the
rest of Django's client works with it unchanged.
"""

from __future__ import annotations

import contextvars
from collections.abc import AsyncIterator
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.lifespan import Lifespan
from django_asgi_bridge.testing.connection import Connection
from django_asgi_bridge.testing.lifespan import LifespanRun
from django_asgi_bridge.testing.worker import borrowed_connections, kept_connections
from django_asgi_bridge.threads import run_sync
from django_asgi_bridge.types import Receive, Scope, Send

__all__ = ("ClientApplication", "ClientHandler")

_connection: contextvars.ContextVar[Connection] = contextvars.ContextVar(
    "django_asgi_bridge.testing.connection"
)


class ClientApplication(ASGIHandler):
    """The handler, and a look at what it makes of each request.

    Args:
        enforce_csrf_checks: as ``django.test.Client``.
    """

    def __init__(self, *, enforce_csrf_checks: bool) -> None:
        super().__init__()
        self.enforce_csrf_checks = enforce_csrf_checks
        # Sync hooks too have the test's database connections.
        self.lifespan = Lifespan(
            self.lifespan.hooks, timeout=self.lifespan.timeout, run_sync=run_sync
        )

    def create_request(self, scope: Any, body_file: Any) -> Any:
        """Make the request and note it."""
        request, error_response = super().create_request(scope, body_file)
        if request is not None:
            # What Django's client sets for CsrfViewMiddleware.
            vars(request)["_dont_enforce_csrf_checks"] = not self.enforce_csrf_checks
            _connection.get().request = request
        return request, error_response

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send the response and note it, for the test that looks inside."""
        connection = _connection.get()
        connection.response = response
        if response.streaming and response.is_async:  # type: ignore[attr-defined]  # StreamingHttpResponse's
            # The test reads from the object itself what came over the wire.
            connection.is_live = True
            response = _twin(response)
        await super().send_response(response, send)


class ClientHandler:
    """Takes the scopes of a client through an application of its own.

    The application is made at the first request, since middleware depends on
    settings that a test may still change.
    """

    def __init__(self, *, enforce_csrf_checks: bool, chunk_size: int) -> None:
        self.enforce_csrf_checks = enforce_csrf_checks
        self.chunk_size = chunk_size
        self.lifespan: LifespanRun | None = None
        self._application: ClientApplication | None = None
        #: The requests under way.
        self.connections: set[Connection] = set()

    @property
    def application(self) -> ClientApplication:
        """The handler that serves this client."""
        if self._application is None:
            self.load_middleware()
        return self._application  # type: ignore[return-value]  # just loaded

    def load_middleware(self, is_async: bool = True) -> None:
        """Make the application anew, after a change of settings."""
        self._application = ClientApplication(
            enforce_csrf_checks=self.enforce_csrf_checks
        )

    async def __call__(self, scope: dict[str, Any]) -> HttpResponseBase:
        """Answer one request; an async stream is still under way then."""
        connection = self.open(scope)
        await connection.wait_start()
        response = connection.response
        if response is None:  # pragma: no cover - who sends has a response
            raise RuntimeError("the application sent events without a response")
        if connection.is_live:
            _read_from(response, connection.chunks())
            response.disconnect = connection.leave  # type: ignore[attr-defined]  # added for tests
        else:
            await connection.wait_end()
            if response.streaming:
                _read_from(response, iter([connection.collected()]))
            elif response.content != connection.collected():  # type: ignore[attr-defined]  # HttpResponse's
                response.content = connection.collected()  # type: ignore[attr-defined]  # the same
        _take_headers(response, connection)
        _attach(response, connection)
        return response

    def open(self, scope: dict[str, Any], *, is_live: bool = False) -> Connection:
        """Start a request and return its connection."""
        upload: Any = scope.pop("_body_file", b"")
        chunk_size = scope.pop("_chunk_size", None) or self.chunk_size
        if not isinstance(upload, bytes | AsyncIterator):
            upload = upload.read()
        if self.lifespan is not None:
            scope["state"] = dict(self.lifespan.state)
        self.application.enforce_csrf_checks = self.enforce_csrf_checks
        connection = Connection(scope, upload, chunk_size=chunk_size, is_live=is_live)
        task = connection.run(self._serve_connection(connection))
        self.connections.add(connection)
        task.add_done_callback(lambda _: self.connections.discard(connection))
        return connection

    def _serve_connection(self, connection: Connection) -> Any:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            _connection.set(connection)
            with borrowed_connections(), kept_connections():
                await self.application(scope, receive, send)

        return serve

    async def start(self) -> None:
        """Run the startup hooks, as a server that speaks the lifespan protocol."""
        run = LifespanRun(self.application.lifespan)
        await run.start()
        self.lifespan = run

    async def stop(self) -> None:
        """Leave the responses that are still open and run the shutdown hooks."""
        run, self.lifespan = self.lifespan, None
        try:
            for connection in list(self.connections):
                await connection.leave()
        finally:
            if run is not None:
                await run.stop()


def _twin(response: HttpResponseBase) -> HttpResponseBase:
    """Return another object with the same contents, the iterator included."""
    twin: HttpResponseBase = object.__new__(type(response))
    vars(twin).update(vars(response))
    return twin


def _read_from(response: Any, content: Any) -> None:
    """Let the test iterate over the wire's chunks, as often as Django allows: once."""
    closers = response._resource_closers
    response._resource_closers = []
    response.streaming_content = content
    response._resource_closers = closers


def _take_headers(response: HttpResponseBase, connection: Connection) -> None:
    """Give the response the headers that were sent; cookies are apart in Django."""
    start: Any = connection.start
    sent = {
        name.decode("latin-1").lower(): value.decode("latin-1")
        for name, value in start["headers"]
        if name.lower() != b"set-cookie"
    }
    for name, value in list(response.headers.items()):
        kept = sent.get(name.lower())
        if kept is None:
            del response.headers[name]
        elif kept != value:
            response.headers[name] = kept


def _attach(response: Any, connection: Connection) -> None:
    request: HttpRequest | None = connection.request
    response.asgi_request = request
    response.asgi_events = connection.events
