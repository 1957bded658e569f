"""A Django response as ``http.response.*`` events.

Everything is checked before the first event leaves. The last body event is not
sent here: it is left in ``exchange.last_message`` for the handler, which sends it
from outside the request's context, since servers may start the connection's next
request from within that call.

Specification: ASGI HTTP 2.5, "Response Start", "Response Body"; RFC 9110.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any

from django.http.response import HttpResponseBase, ResponseHeaders

from django_asgi_bridge import http
from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.protocol.response import (
    Headers,
    encode_headers,
    has_body,
)

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Chunker

__all__ = ("send_response", "trailers_of")

logger = logging.getLogger("django_asgi_bridge.http")


async def send_response(
    handler: Chunker, exchange: Exchange, response: Response
) -> None:
    """Send everything of ``response`` but its last event.

    Raises:
        BadResponse: status or headers cannot be sent; nothing was.
        ClientDisconnected: the client left.
    """
    if response.streaming:
        try:
            await _send_streaming(handler, exchange, response)
        finally:
            # Also where nothing of it was asked for.
            await http.streams.close_unread(response)
        return
    request = exchange.request
    sends_body = has_body(request and request.method, response.status_code)
    headers, length = _encode(exchange, response, sends_body)
    content: bytes = response.content if sends_body else b""
    if sends_body and length is not None and length != len(content):
        headers = _with_length(headers, len(content))
    try:
        await _start(exchange, response, headers)
    except OSError as error:
        raise exchange.lost() from error
    if len(content) <= handler.chunk_size:
        exchange.last_message = {
            "type": "http.response.body",
            "body": content,
            "more_body": False,
        }
        return
    for chunk, is_last in handler.chunk_bytes(content):
        message = {
            "type": "http.response.body",
            "body": chunk,
            "more_body": not is_last,
        }
        if is_last:
            exchange.last_message = message
        else:
            await exchange.send(message, True)


async def _send_streaming(
    handler: Chunker, exchange: Exchange, response: Response
) -> None:
    request = exchange.request
    sends_body = has_body(request and request.method, response.status_code)
    file = http.files.FileSender.of(response, exchange) if sends_body else None
    if file is not None:
        await file.prepare()
    headers, length = _encode(exchange, response, sends_body)
    if sends_body and file is None and not response.is_async:
        http.streams.take_place(handler, exchange)
    try:
        await _start(exchange, response, headers)
    except OSError as error:
        raise exchange.lost() from error
    end: dict[str, Any] = {"type": "http.response.body"}
    if file is not None:
        end = await file.send()
    elif sends_body:
        await http.streams.send_stream(handler, exchange, response, length)
    exchange.last_message = end


def _encode(
    exchange: Exchange, response: Response, sends_body: bool
) -> tuple[Headers, int | None]:
    """Return a response's headers, and the Content-Length among them."""
    cookies = response.cookies
    named = response.headers
    # Django's mapping keeps them as pairs of text, which its own iterator makes anew
    # one by one, at four calls each.
    is_djangos = (
        type(named) is ResponseHeaders
        and type(response).items is HttpResponseBase.items
    )
    headers, dropped, length = encode_headers(
        named._store.values() if is_djangos else response.items(),
        [morsel.OutputString() for morsel in cookies.values()] if cookies else (),
        lower=exchange.scope.get("http_version", "1.1") >= "2",
        are_text=is_djangos,
    )
    if dropped:
        logger.warning(
            "hop-by-hop headers %s of %s were dropped: they belong to the server",
            ", ".join(dropped),
            exchange.scope.get("path"),
        )
    if not sends_body:
        request = exchange.request
        if request is None or request.method != "HEAD":
            return _without_length(headers), None
    return headers, length


def _start(exchange: Exchange, response: Response, headers: Headers) -> Awaitable[None]:
    """Pass on the first event; see ``Exchange.pass_on``."""
    message: dict[str, Any] = {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": headers,
    }
    if exchange.scope.get("extensions"):
        return _start_with_extensions(exchange, response, message)
    return exchange.pass_on(message)


async def _start_with_extensions(
    exchange: Exchange, response: Response, message: dict[str, Any]
) -> None:
    """Start with what else a server may have asked for: see ``set_trailers`` too."""
    if "http.response.debug" in exchange.scope["extensions"]:
        info = {
            "template": getattr(response, "template_name", None),
            "context": getattr(response, "context_data", None),
        }
        await exchange.send({"type": "http.response.debug", "info": info})
    has_trailers = trailers_of(response) is not None
    if has_trailers:
        message["trailers"] = True
    await exchange.send(message, has_trailers)


def trailers_of(response: Response) -> Mapping[str, str] | None:
    """Return the trailers that were set on a response; see ``http.set_trailers``."""
    return getattr(response, "_bridge_trailers", None)


def _without_length(headers: Headers) -> Headers:
    """Leave out the length of a body that 204 and 304 do not have.

    RFC 9110 section 8.6 forbids it on a 204; on a 304 servers wait for that many
    bytes.
    """
    return [each for each in headers if each[0].lower() != _LENGTH]


_LENGTH = b"content-length"


def _with_length(headers: Headers, length: int) -> Headers:
    """Put the content's real length in place of the one that was set."""
    return [
        (name, b"%d" % length if name.lower() == _LENGTH else value)
        for name, value in headers
    ]
