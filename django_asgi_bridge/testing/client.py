"""``AsyncClient``: Django's test client, taking the whole way through the handler."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

from django.core.signals import got_request_exception
from django.test import client as django_client
from django.utils.encoding import force_bytes

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.testing.handler import ClientHandler
from django_asgi_bridge.testing.stream import StreamedResponse

__all__ = ("AsyncClient",)

CHUNK_BYTES = 65536
"""Bytes of a request body event, as uvicorn's high-water mark."""

_BYTES = "application/octet-stream"


class AsyncClient(django_client.AsyncClient):
    """``django.test.AsyncClient`` whose requests go through ``ASGIHandler``.

    Everything of Django's client works as it does there. What differs:

    - The request is an ASGI scope and ``http.request`` events, the response is
      collected from the events that the handler sends.
    - A request is over, with its ``request.after`` functions and the
      ``request_finished`` signal, when the method returns. Only an async stream is
      still under way then.
    - Requests run in a copy of the test's context: a language or a context variable
      that a view sets does not stay set in the test.

    The returned response is the ``HttpResponse`` that the handler was given by the
    view or the middleware, so its class, ``templates``, ``context`` and so on can be
    looked at. What a client can see of it is what went over the wire: ``content``
    (empty for HEAD, 204 and 304), ``streaming_content`` and ``headers``.
    ``asgi_events`` has the events themselves. An async stream is read while the
    application sends it; ``await response.disconnect()`` leaves it before its end, as
    the end of the client's own block does. A sync stream was read to its end.

    Sync code of a request runs on the test's own thread where Django's async test
    methods do so, else on a worker that borrows the connections of the thread that
    runs the event loop: in both cases inside the test's transaction.

    ``async with AsyncClient() as client:`` runs the startup hooks before and the
    shutdown hooks after the block. Without it the first request starts them.

    Args:
        enforce_csrf_checks: check CSRF tokens, which the client does not by default.
        raise_request_exception: raise what a view raised; else give the 500 page.
        headers: sent with every request.
        query_params: sent with every request.
        chunk_size: bytes of a request body event; each method takes it too.
        defaults: further headers under their WSGI names.
    """

    handler: ClientHandler  # type: ignore[assignment]  # the interface that is used

    def __init__(
        self,
        enforce_csrf_checks: bool = False,
        raise_request_exception: bool = True,
        *,
        headers: Mapping[str, Any] | None = None,
        query_params: Mapping[str, Any] | None = None,
        chunk_size: int = CHUNK_BYTES,
        **defaults: Any,
    ) -> None:
        super().__init__(
            enforce_csrf_checks,
            raise_request_exception,
            headers=headers,
            query_params=query_params,
            **defaults,
        )
        self.handler = ClientHandler(
            enforce_csrf_checks=enforce_csrf_checks, chunk_size=chunk_size
        )

    async def __aenter__(self) -> Self:
        """Run the startup hooks.

        Raises:
            LifespanError: one failed.
        """
        await self.handler.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.handler.stop()

    def generic(
        self,
        method: str,
        path: Any,
        data: Any = b"",
        content_type: str | None = _BYTES,
        secure: bool = False,
        *,
        chunk_size: int | None = None,
        **options: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Make a request; see ``django.test.AsyncRequestFactory.generic``.

        Args:
            data: the body. An async iterator of bytes is an upload whose length is
                not announced; each item is an event of its own.
            chunk_size: bytes of a body event.
        """
        parts = self._parts(method, path, data, content_type, secure, **options)
        parts["_chunk_size"] = chunk_size
        return self.request(**parts)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        path: Any,
        data: Any = None,
        content_type: str | None = None,
        secure: bool = False,
        *,
        chunk_size: int | None = None,
        **options: Any,
    ) -> AsyncIterator[StreamedResponse]:
        """Make a request and read its response while it arrives.

        ``async with client.stream("GET", "/events/") as response:`` has the status
        and the headers; ``async for chunk in response`` the bytes of each event. At
        the block's end the client leaves, if the response is not complete, and waits
        for the application's end. Redirects are not followed.

        Args:
            data: as for ``get`` (the query) and ``post`` (the body).
            options: ``headers``, ``query_params`` and further headers.

        Raises:
            Exception: what the application raised, see ``raise_request_exception``.
        """
        if content_type is None:
            is_form = isinstance(data, Mapping)
            content_type = django_client.MULTIPART_CONTENT if is_form else _BYTES
        if method in ("GET", "HEAD") and data:
            options["query_params"], data = data, None
        private: Any = self  # what the stubs do not declare
        body = b"" if data is None else private._encode_json(data, content_type)
        body = self._encode_data(body, content_type)
        parts = self._parts(method, path, body, content_type, secure, **options)
        parts["_chunk_size"] = chunk_size
        uid = f"django_asgi_bridge-stream-{id(parts)}"
        got_request_exception.connect(self.store_exc_info, dispatch_uid=uid)
        connection = self.handler.open(private._base_scope(**parts), is_live=True)
        try:
            try:
                await connection.wait_start()
            finally:
                got_request_exception.disconnect(dispatch_uid=uid)
            response = StreamedResponse(connection)
            private.check_exception(response)
            self.cookies.update(response.cookies)
            yield response
        except BaseException:
            await connection.abandon()
            raise
        await connection.leave()

    def _parts(
        self,
        method: str,
        path: Any,
        data: Any,
        content_type: str | None,
        secure: bool,
        **options: Any,
    ) -> dict[str, Any]:
        """Return what a request adds to the scope."""
        factory = _Parts()
        factory.defaults = self.defaults
        if not isinstance(data, AsyncIterable):
            plain: dict[str, Any] = factory.generic(
                method, path, data, content_type, secure, **options
            )
            return plain
        options.setdefault("CONTENT_TYPE", content_type)
        options.setdefault("TRANSFER_ENCODING", "chunked")
        parts = factory.generic(method, path, b"", _BYTES, secure, **options)
        return {**parts, "_body_file": _bytes_of(data)}

    def _encode_data(self, data: Any, content_type: str) -> Any:
        if isinstance(data, AsyncIterable | bytes):
            return data
        return super()._encode_data(data, content_type)  # type: ignore[misc]  # not in the stubs


class _Parts(django_client.AsyncRequestFactory):
    """Gives what a request adds to the scope, in place of a request."""

    def generic(self, *args: Any, **kwargs: Any) -> Any:
        return super().generic(*args, **kwargs)

    def request(self, **parts: Any) -> Any:
        return parts


async def _bytes_of(upload: AsyncIterable[Any]) -> AsyncIterator[bytes]:
    async for piece in upload:
        yield force_bytes(piece, settings.DEFAULT_CHARSET)
