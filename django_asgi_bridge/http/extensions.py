"""What a view can ask of its request beyond Django's own interface.

Each function takes any ``HttpRequest``. On a request that another handler serves
(WSGI, ``RequestFactory``) it works as far as it can, or raises
``DetachedRequest`` with the reason.

Specification: ASGI HTTP 2.5; extensions ``http.response.early_hint``,
``http.response.push``, ``http.response.trailers`` and ``tls``.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import Any, NamedTuple, Self, cast

from django.http import HttpRequest, QueryDict
from django.http.response import HttpResponseBase

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.exceptions import DetachedRequest, UnsupportedByServer
from django_asgi_bridge.http.body import PREFETCH_BYTES, IncomingBody
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.protocol.response import BadResponse, encode_headers
from django_asgi_bridge.threads import run_sync

__all__ = (
    "TLS",
    "BodyStream",
    "abody",
    "aform",
    "after",
    "early_hints",
    "is_disconnected",
    "push",
    "set_trailers",
    "state",
    "stream",
    "tls",
)


class TLS(NamedTuple):
    """What the server tells about a connection's TLS; ``None`` where it does not.

    Attributes:
        server_cert: the server's certificate, PEM.
        client_cert_chain: the client's certificates, PEM, its own first.
        client_cert_name: the subject of the client's certificate, RFC 4514.
        client_cert_error: why the client's certificate was not accepted.
        tls_version: the protocol's number, ``0x0304`` for TLS 1.3.
        cipher_suite: the cipher suite's number.
    """

    server_cert: str | None = None
    client_cert_chain: tuple[str, ...] = ()
    client_cert_name: str | None = None
    client_cert_error: str | None = None
    tls_version: int | None = None
    cipher_suite: int | None = None


async def abody(request: HttpRequest) -> bytes:
    """Wait for the whole body and return it; ``request.body`` works afterwards.

    Raises:
        RequestDataTooBig: it is over ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
        ClientDisconnected: the client left in mid-body.
    """
    body = getattr(request, "_stream", None)
    if isinstance(body, IncomingBody) and not hasattr(request, "_body"):
        await body.buffer(settings.DATA_UPLOAD_MAX_MEMORY_SIZE)
    if hasattr(request, "_body"):
        return request.body
    return await run_sync(getattr, request, "body")


async def aform(request: HttpRequest) -> QueryDict:
    """Parse the form on the request's worker thread and return ``request.POST``.

    ``request.POST`` and ``request.FILES`` work afterwards. In an async view they
    work without it too, but then a large upload is parsed on the event loop, and
    everybody else waits meanwhile. With ``@streams_body`` the upload handlers get
    the chunks as they arrive.

    Raises:
        MultiPartParserError: the body is no form; the client gets a 400.
        RequestDataTooBig: its fields are over ``DATA_UPLOAD_MAX_MEMORY_SIZE``.
        UnreadablePostError: the client left in mid-body.
    """
    exchange = _exchange(request)
    if exchange is None or not exchange.is_driven_here():
        return await run_sync(getattr, request, "POST")
    form: QueryDict = await exchange.lease.run(getattr, request, "POST")
    return form


def stream(request: HttpRequest) -> BodyStream:
    """Iterate over the body; with ``@streams_body`` as it arrives.

    Not limited by ``DATA_UPLOAD_MAX_MEMORY_SIZE``: nothing is kept. The iterator
    may be left at any time and taken up again.

    Raises:
        ClientDisconnected: the client left in mid-body; raised by the iterator.
    """
    return BodyStream(request)


class BodyStream:
    """The chunks of one request body, none of them empty."""

    def __init__(self, request: HttpRequest) -> None:
        self._request = cast("Any", request)  # for its private parts
        self._kept: bytes | None = None
        if hasattr(request, "_body"):
            self._kept = request.body
        else:
            self._request._read_started = True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        chunk = await self._next()
        if not chunk:
            raise StopAsyncIteration
        return chunk

    async def _next(self) -> bytes:
        if self._kept is not None:
            kept, self._kept = self._kept, b""
            return kept
        body = self._request._stream
        if isinstance(body, IncomingBody):
            return await body.next_chunk()
        chunk: bytes = await run_sync(self._request.read, PREFETCH_BYTES)
        return chunk


def is_disconnected(request: HttpRequest) -> bool:
    """Tell whether the client is known to have left; costs nothing.

    Under WSGI no server tells, so the answer is always ``False``.
    """
    exchange = _exchange(request)
    return exchange is not None and exchange.is_disconnected


def after(
    request: HttpRequest, function: Callable[..., Any], *args: Any, **kwargs: Any
) -> None:
    """Call ``function(*args, **kwargs)`` after the response's last byte is sent.

    A coroutine function is awaited on the event loop, any other runs on the
    request's worker thread. Functions run one after the other, in the order they
    were given, before ``request_finished``; an exception is logged and does not
    stop the next. They also run when the client left early. Under WSGI a sync
    function runs when the server closes the response.

    Raises:
        DetachedRequest: an async function was given under WSGI.
    """
    exchange = _exchange(request)
    if exchange is not None:
        exchange.add_after(_bound(function, args, kwargs))
        return
    if inspect.iscoroutinefunction(function):
        raise DetachedRequest(
            f"request.after got the async function {function!r}, but this request "
            "is not served over ASGI; give a sync function."
        )
    _call_on_close(request, _bound(function, args, kwargs))


async def early_hints(request: HttpRequest, links: Iterable[str]) -> None:
    """Send a 103 Early Hints response; does nothing where the server cannot.

    Args:
        links: values of ``Link`` headers, such as
            ``"</style.css>; rel=preload; as=style"``.

    Raises:
        BadResponse: a link cannot be a header's value, or the response has begun.
    """
    exchange = _exchange(request)
    if exchange is None or not _offers(request, "http.response.early_hint"):
        return
    checked, _, _ = encode_headers([("Link", link) for link in links], lower=True)
    encoded = [value for _, value in checked]
    await exchange.send({"type": "http.response.early_hint", "links": encoded})


async def push(request: HttpRequest, path: str) -> None:
    """Push the resource at ``path`` over HTTP/2; nothing where the server cannot.

    Raises:
        BadResponse: the path does not begin with ``/`` or has control characters.
    """
    if not path.startswith("/") or path.startswith("//") or not path.isprintable():
        raise BadResponse(
            f"push got the path {path!r}; it must begin with one '/' and be printable."
        )
    exchange = _exchange(request)
    if exchange is None or not _offers(request, "http.response.push"):
        return
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in request.headers.items()
        if name.lower() in _PUSHED
    ]
    await exchange.send(
        {"type": "http.response.push", "path": path, "headers": headers}
    )


_PUSHED = frozenset({"accept", "accept-encoding", "accept-language", "user-agent"})


def set_trailers(
    request: HttpRequest, response: HttpResponseBase, trailers: Mapping[str, str]
) -> None:
    """Send header fields after the body, read when the body has ended.

    Args:
        trailers: a mapping that may still be filled while the body is streamed.

    Raises:
        UnsupportedByServer: the server does not offer trailers.
    """
    if not _offers(request, "http.response.trailers"):
        raise UnsupportedByServer(
            "the server does not offer 'http.response.trailers' for this request; "
            "test request.scope['extensions'] first."
        )
    response._bridge_trailers = trailers  # type: ignore[attr-defined]


def state(request: HttpRequest) -> SimpleNamespace:
    """Return what the lifespan hooks left, as attributes.

    The values are shared by all requests of the process; the namespace is this
    request's own. It is empty under WSGI.
    """
    kept: SimpleNamespace | None = getattr(request, "_bridge_state", None)
    if kept is None:
        values = getattr(request, "scope", {}).get("state") or {}
        kept = SimpleNamespace(**values)
        request._bridge_state = kept  # type: ignore[attr-defined]
    return kept


def tls(request: HttpRequest) -> TLS | None:
    """Return the connection's TLS information, ``None`` if the server tells none."""
    extensions = getattr(request, "scope", {}).get("extensions") or {}
    told = extensions.get("tls")
    if told is None:
        return None
    known = {name: told[name] for name in TLS._fields if name in told}
    if "client_cert_chain" in known:
        known["client_cert_chain"] = tuple(known["client_cert_chain"])
    return TLS(**known)


def _exchange(request: HttpRequest) -> Exchange | None:
    return getattr(request, "_bridge_exchange", None)


def _offers(request: HttpRequest, extension: str) -> bool:
    offered = getattr(request, "scope", {}).get("extensions") or {}
    return extension in offered


def _bound(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Callable[[], Any]:
    if inspect.iscoroutinefunction(function):

        async def call_async() -> None:
            await function(*args, **kwargs)

        return call_async

    def call() -> None:
        function(*args, **kwargs)

    return call


def _call_on_close(request: HttpRequest, call: Callable[[], None]) -> None:
    close = request.close

    def close_and_call() -> None:
        close()
        call()

    request.close = close_and_call  # type: ignore[method-assign]
