"""A request without a server: somebody called ``get_response_async`` directly."""

from __future__ import annotations

import asyncio
import contextvars
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestAborted

from django_asgi_bridge.conf import get_config
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.look import look_at
from django_asgi_bridge.threads import drive, new_lease

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Responder

__all__ = ("answer_apart",)


async def answer_apart(handler: Responder, request: Request) -> Response:
    """Run middleware and view for a request that came by no ASGI events."""
    exchange = Exchange(
        getattr(request, "scope", {}),
        _nobody,
        _nobody,
        new_lease(),
        get_config(),
        _nobody,
    )
    request._bridge_exchange = exchange
    return await drive(contextvars.copy_context(), _answer(handler, request, exchange))


async def _answer(handler: Responder, request: Request, exchange: Exchange) -> Response:
    exchange.task, exchange.lease.owner = asyncio.current_task(), exchange
    exchange.lease.enter()
    exchange.see(look_at(request.path_info, None, "cancel"))
    try:
        return await handler.get_response_async(request)
    finally:
        exchange.lease.pool.close(exchange.lease)


async def _nobody(*args: Any) -> Any:
    """Be a server that is not there."""
    raise RequestAborted
