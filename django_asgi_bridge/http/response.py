"""A Django response as ``http.response.*`` events.

Everything is checked before the first event leaves. The last body event is not
sent here: it is left in ``exchange.last_message`` for the handler, which sends it
from outside the request's context, since servers may start the connection's next
request from within that call.

Specification: ASGI HTTP 2.5, "Response Start", "Response Body"; RFC 9110.
"""

import logging
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from django.http.response import StreamingHttpResponse

from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.extensions import trailers_of
from django_asgi_bridge.http.files import FileSender
from django_asgi_bridge.protocol.response import (
    ContentLengthGuard,
    EncodedHeaders,
    check_status,
    encode_headers,
    has_body,
)
from django_asgi_bridge.threads import PINS_NOTHING, PINS_STATE

if TYPE_CHECKING:
    from django_asgi_bridge.http.handler import ASGIHandler

__all__ = ("send_response",)

logger = logging.getLogger("django_asgi_bridge.http")

PULL_BYTES = 65536
"""Bytes after which a trip that pulls from a sync iterator ends."""

PULL_SECONDS = 0.01
"""Seconds after which it ends: an item that took longer leaves alone."""


async def send_response(
    handler: "ASGIHandler", exchange: Exchange, response: Response
) -> None:
    """Send everything of ``response`` but its last event.

    Raises:
        BadResponse: status or headers cannot be sent; nothing was.
        ClientDisconnected: the client left.
    """
    check_status(response.status_code)
    request = exchange.request
    method = "GET" if request is None else request.method or "GET"
    sends_body = has_body(method, response.status_code)
    file = FileSender.of(response, exchange) if sends_body else None
    if file is not None:
        await file.prepare()
    encoded = encode_headers(
        response.items(),
        [morsel.OutputString() for morsel in response.cookies.values()],
        lower=exchange.scope.get("http_version", "1.1") >= "2",
    )
    if encoded.dropped:
        logger.warning(
            "hop-by-hop headers %s of %s were dropped: they belong to the server",
            ", ".join(encoded.dropped),
            exchange.scope.get("path"),
        )
    if not response.streaming:
        await _send_plain(handler, exchange, response, encoded, sends_body)
        return
    if sends_body and file is None and not response.is_async:
        handler.take_stream_place(exchange)
    await _start(exchange, response, encoded)
    end: dict[str, Any] = {"type": "http.response.body"}
    if file is not None:
        end = await file.send()
    elif sends_body:
        guard = None
        if encoded.content_length is not None:
            guard = ContentLengthGuard(encoded.content_length)
        await _send_stream(handler, exchange, response, guard)
    exchange.last_message = end


async def _start(
    exchange: Exchange, response: Response, encoded: EncodedHeaders
) -> None:
    offered = exchange.scope.get("extensions")
    if offered and "http.response.debug" in offered:
        info = {
            "template": getattr(response, "template_name", None),
            "context": getattr(response, "context_data", None),
        }
        await exchange.send({"type": "http.response.debug", "info": info})
    message: dict[str, Any] = {
        "type": "http.response.start",
        "status": response.status_code,
        "headers": encoded.headers,
    }
    has_trailers = trailers_of(response) is not None
    if has_trailers:
        message["trailers"] = True
    await exchange.send(message, has_trailers)


async def _send_plain(
    handler: "ASGIHandler",
    exchange: Exchange,
    response: Any,
    encoded: EncodedHeaders,
    sends_body: bool,
) -> None:
    content: bytes = response.content if sends_body else b""
    if sends_body and encoded.content_length not in (None, len(content)):
        encoded = _with_length(encoded, len(content))
    await _start(exchange, response, encoded)
    if len(content) > handler.chunk_size:
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
        return
    exchange.last_message = {
        "type": "http.response.body",
        "body": content,
        "more_body": False,
    }


def _with_length(encoded: EncodedHeaders, length: int) -> EncodedHeaders:
    """Put the content's real length in place of the one that was set."""
    headers = [
        (name, b"%d" % length if name.lower() == b"content-length" else value)
        for name, value in encoded.headers
    ]
    return encoded._replace(headers=headers, content_length=length)


async def _send_stream(
    handler: "ASGIHandler",
    exchange: Exchange,
    response: Any,
    guard: ContentLengthGuard | None,
) -> None:
    if response.is_async:
        await _release_worker(exchange)
        await _send_async_stream(handler, exchange, response, guard)
    else:
        await _send_sync_stream(handler, exchange, response, guard)
    if guard is not None and not exchange.is_disconnected:
        guard.finish()


async def _release_worker(exchange: Exchange) -> None:
    """Give the worker and its connections back; calls lease again, one by one."""
    lease = exchange.lease
    if lease.worker is None:
        lease.go_per_call()
    else:
        await lease.run(lease.go_per_call, pins=PINS_NOTHING, is_cleanup=True)


async def _send_async_stream(
    handler: "ASGIHandler",
    exchange: Exchange,
    response: Any,
    guard: ContentLengthGuard | None,
) -> None:
    parts = _async_parts(response)
    try:
        async for part in parts:
            await _send_part(handler, exchange, part, guard)
            if exchange.is_disconnected:
                return
    finally:
        await _aclose_all(parts, response._iterator)


def _async_parts(response: Any) -> AsyncIterator[bytes]:
    if type(response).__aiter__ is StreamingHttpResponse.__aiter__:
        # Django's own __aiter__ takes a TypeError of the view's generator for a
        # sync iterator.
        content: AsyncIterator[bytes] = response.streaming_content
        return content
    return aiter(response)


async def _aclose_all(*iterators: Any) -> None:
    """Close async generators, and those that they iterate over, in this task."""
    pending = list(iterators)
    while pending:
        iterator = pending.pop(0)
        if isinstance(iterator, AsyncGeneratorType):
            # A wrapper such as gzip's does not close what it wraps, which would
            # be left to the garbage collector.
            frame = iterator.ag_frame
            inner = [] if frame is None else list(frame.f_locals.values())
            pending.extend(
                each for each in inner if isinstance(each, AsyncGeneratorType)
            )
            del frame, inner
        if hasattr(iterator, "aclose"):
            async with aclosing(iterator):
                pass


async def _send_sync_stream(
    handler: "ASGIHandler",
    exchange: Exchange,
    response: Any,
    guard: ContentLengthGuard | None,
) -> None:
    lease = exchange.lease
    parts: Iterator[bytes] | None = None
    while not exchange.is_disconnected:
        parts, batch, is_over = await lease.run(_pull, response, parts, pins=PINS_STATE)
        if batch:
            await _send_part(handler, exchange, batch, guard)
        if is_over:
            return


def _pull(
    response: Any, parts: Iterator[bytes] | None
) -> tuple[Iterator[bytes], bytes, bool]:
    """Take items on the worker until there is enough to send."""
    if parts is None:
        parts = iter(response)
    batch: list[bytes] = []
    size = 0
    deadline = time.monotonic() + PULL_SECONDS
    for part in parts:
        batch.append(part)
        size += len(part)
        if size >= PULL_BYTES or time.monotonic() >= deadline:
            return parts, b"".join(batch), False
    return parts, b"".join(batch), True


async def _send_part(
    handler: "ASGIHandler",
    exchange: Exchange,
    part: bytes,
    guard: ContentLengthGuard | None,
) -> None:
    if guard is not None:
        part = guard.take(part)
    if len(part) <= handler.chunk_size:
        await exchange.send(
            {"type": "http.response.body", "body": part, "more_body": True}, True
        )
        return
    for chunk, _ in handler.chunk_bytes(part):
        await exchange.send(
            {"type": "http.response.body", "body": chunk, "more_body": True}, True
        )
