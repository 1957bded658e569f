"""The arrival of a request: what is received before its view runs.

Whether the body is left unread, pulled by the view, or complete first, depends on
the view that the early look found and on the middleware that runs before it.
"""

from __future__ import annotations

import asyncio
import io
import logging
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestAborted, RequestDataTooBig

from django_asgi_bridge import http
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.exceptions import ClientDisconnected, PoolBusy
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.incoming import buffer_limit, check_message, header_of
from django_asgi_bridge.http.look import look_at
from django_asgi_bridge.http.place import mounted_path
from django_asgi_bridge.protocol.request import HAS_LENGTH, Refusal, read_head
from django_asgi_bridge.threads import new_lease
from django_asgi_bridge.types import Receive, Scope, Send

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Receiver

__all__ = ("open_body", "open_exchange")

logger = logging.getLogger("django_asgi_bridge.http")


def open_exchange(
    handler: Receiver, scope: Scope, receive: Receive, send: Send
) -> Exchange:
    """Check the scope of a request and have an early look at the URL."""
    config = get_config()
    exchange = Exchange(
        scope, receive, send, new_lease(), config, handler.listen_for_disconnect
    )
    told = read_head(
        scope,
        max_headers=config.max_headers,
        max_header_bytes=config.max_header_bytes,
        strict_paths=config.strict_paths,
    )
    if isinstance(told, Refusal):
        exchange.refusal = told
        return exchange
    exchange.prefix, path_info = mounted_path(scope)
    urlconf = getattr(handler.request_class, "urlconf", None)
    exchange.see(look_at(path_info, urlconf, config.on_disconnect))
    if told & HAS_LENGTH:
        exchange.refusal = _refuse_length(exchange)
    return exchange


async def open_body(handler: Receiver, exchange: Exchange, is_read_here: bool) -> Any:
    """Return a file to read the body from; None when there is no request.

    Args:
        is_read_here: the handler has no ``read_body`` of its own.
    """
    if exchange.refusal is not None:
        return None
    try:
        if not is_read_here:
            body_file = await handler.read_body(exchange.receive)
            exchange.body_arrived()
            return body_file
        # On the event loop, code that nobody knows may ask for request.body.
        look = exchange.look
        if (
            look is None
            or look.marks.streams_body
            or (look.match is None and handler.reads_lazily())
        ):
            exchange.stop_body_timer()
            exchange.body = http.body.IncomingBody(exchange)
            return exchange.body
        message = await exchange.receive()
        if exchange.body_timer is not None:
            exchange.stop_body_timer()
        check_message(message)
        first: bytes = message.get("body", b"")
        if message.get("more_body", False):
            return await _receive_rest(handler, exchange, first)
        exchange.body_arrived()
        if first and (over := _over_limit(exchange, len(first))):
            raise RequestDataTooBig(over)
        return io.BytesIO(first)
    except (RequestAborted, ClientDisconnected):
        exchange.is_disconnected = True
    except http.body.BodyTimeout:
        # It left its refusal.
        pass
    except (PoolBusy, RequestDataTooBig, OSError) as error:
        exchange.refusal = _refusal_of(error)
    except asyncio.CancelledError:
        if not exchange.was_too_slow():
            raise
    return None


def _refusal_of(error: Exception) -> Refusal:
    if isinstance(error, PoolBusy):
        return Refusal(503, str(error))
    if isinstance(error, RequestDataTooBig):
        return Refusal(413, str(error))
    logger.error("a request body could not be spooled", exc_info=error)
    return Refusal(507, str(error))


async def _receive_rest(handler: Receiver, exchange: Exchange, first: bytes) -> Any:
    body = exchange.body = http.body.IncomingBody(exchange, first)
    if not (handler.reads_lazily() and exchange.is_sync_view):
        await body.buffer(buffer_limit(exchange.scope))
        return body
    await body.prefetch()
    if not body.is_complete and handler.upload_places.acquire(blocking=False):
        exchange.places += (handler.upload_places,)
        return body
    await body.buffer()
    return body


def _refuse_length(exchange: Exchange) -> Refusal | None:
    """Refuse a body by its announced length, before a byte of it is read."""
    length = header_of(exchange.scope, b"content-length")
    if not length.isdigit():
        return None
    over = _over_limit(exchange, int(length))
    return None if over is None else Refusal(413, over)


def _streams(exchange: Exchange) -> bool:
    return exchange.look is not None and exchange.look.marks.streams_body


def _over_limit(exchange: Exchange, size: int) -> str | None:
    """Tell which limit a body of ``size`` bytes is over, if any."""
    limits = [exchange.config.max_body_size]
    if not exchange.is_sync_view and not _streams(exchange):
        limits.append(buffer_limit(exchange.scope))
    for limit in limits:
        if limit is not None and size > limit:
            return f"a body of {size} bytes is over the limit of {limit}"
    return None
