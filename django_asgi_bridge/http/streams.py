"""Streaming bodies: from the view's iterator to body events.

A sync iterator runs on the request's worker: see ``pulling``. An async one runs in
the request's own task, and is closed there; that of an event stream in its source's.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from time import monotonic
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from django.http.response import StreamingHttpResponse

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.items import encoder_of
from django_asgi_bridge.http.pulling import send_pulled
from django_asgi_bridge.http.turns import turns_of_loop
from django_asgi_bridge.protocol.length import ContentLengthGuard
from django_asgi_bridge.threads import PINS_NOTHING

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Chunker

__all__ = ("close_unread", "send_stream", "take_place")


async def send_stream(
    handler: Chunker,
    exchange: Exchange,
    response: Response,
    declared: int | None,
) -> None:
    """Send the body events of a streaming response but the last.

    Args:
        declared: the Content-Length that was sent, if any.

    Raises:
        BadResponse: the body is not as long as was declared.
        ClientDisconnected: the client left.
    """
    guard = None if declared is None else ContentLengthGuard(declared)
    size = handler.chunk_size

    def pass_on(part: bytes) -> Awaitable[None]:
        if guard is not None:
            guard.take(part)
        if len(part) > size:
            return _pass_on_chunks(handler, exchange, part)
        # No coroutine of our own around it: a stream may be a million small parts.
        return exchange.pass_on(
            {"type": "http.response.body", "body": part, "more_body": True}, True
        )

    async def send(part: bytes) -> None:
        try:
            await pass_on(part)
        except OSError as error:
            raise exchange.lost() from error

    if not response.is_async:
        await send_pulled(exchange, response, send)
    else:
        await _release_worker(exchange)
        events = getattr(response, "async_events", None)
        if events is None:
            await _send_async(exchange, response, pass_on)
        else:
            await events.send_all(send, exchange)
    if guard is not None and not exchange.is_disconnected:
        guard.finish()


def take_place(handler: Chunker, exchange: Exchange) -> None:
    """Count a response with a sync iterator; its place goes back with the request.

    Raises:
        PoolBusy: as many as ``ASGI_BRIDGE["MAX_SYNC_STREAMS"]`` are under way.
    """
    if not handler.stream_places.acquire(blocking=False):
        raise PoolBusy(
            "as many responses with a sync iterator are under way as "
            "ASGI_BRIDGE['MAX_SYNC_STREAMS'] allows, "
            f"{exchange.config.max_sync_streams}."
        )
    exchange.places += (handler.stream_places,)


async def close_unread(response: Response) -> None:
    """Close an async iterator that nobody will read."""
    if response.streaming and response.is_async:
        await _aclose_all(response._iterator)


async def _release_worker(exchange: Exchange) -> None:
    """Give the worker and its connections back; calls lease again, one by one."""
    lease = exchange.lease
    if lease.worker is None or lease.is_left():
        lease.go_per_call()
    else:
        await lease.run(lease.go_per_call, pins=PINS_NOTHING, is_cleanup=True)


async def _send_async(
    exchange: Exchange, response: Response, pass_on: Callable[[bytes], Awaitable[None]]
) -> None:
    encode = encoder_of(response)
    parts = response._iterator if encode else _own_parts(response)
    turns = turns_of_loop()
    try:
        async for item in parts:
            part = encode(item) if encode and type(item) is not bytes else item
            try:
                await pass_on(part)
            except OSError as error:
                raise exchange.lost() from error
            if exchange.is_disconnected:
                return
            if monotonic() > turns.end:
                await turns.take()
    finally:
        await _aclose_all(parts, response._iterator)


def _own_parts(response: Response) -> AsyncIterator[bytes]:
    if type(response).__aiter__ is StreamingHttpResponse.__aiter__:
        # Django's own __aiter__ takes a TypeError of the view's generator for a
        # sync iterator.
        content: AsyncIterator[bytes] = response.streaming_content
        return content
    return aiter(response)


async def _aclose_all(*iterators: Any) -> None:
    """Close async generators, and those that they iterate over, in this task."""
    pending = list(iterators)
    closed: list[Any] = []
    while pending:
        iterator = pending.pop(0)
        if any(iterator is each for each in closed):
            continue
        closed.append(iterator)
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


async def _pass_on_chunks(handler: Chunker, exchange: Exchange, part: bytes) -> None:
    for chunk, _ in handler.chunk_bytes(part):
        await exchange.pass_on(
            {"type": "http.response.body", "body": chunk, "more_body": True}, True
        )
