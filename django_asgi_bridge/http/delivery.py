"""What is sent besides a response: an error page in its place, trailers after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.http import HttpResponse

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.exceptions import ClientDisconnected, PoolBusy
from django_asgi_bridge.http import answers
from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.plan import convert
from django_asgi_bridge.http.response import trailers_of
from django_asgi_bridge.protocol.response import (
    BadResponse,
    encode_headers,
)

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Responder

__all__ = ("is_replaceable", "replace", "send_trailers")


def is_replaceable(exchange: Exchange, error: Exception) -> bool:
    """Tell whether an error page may be sent in place of a response that failed."""
    return (
        exchange.state == "waiting"
        and not isinstance(error, ClientDisconnected)
        and not settings.DEBUG_PROPAGATE_EXCEPTIONS
    )


async def replace(handler: Responder, exchange: Exchange, error: Exception) -> None:
    """Send everything of an error page but its last event.

    Args:
        error: what kept the exchange's response from being sent.
    """
    # Closed at the end, like every response that is not sent.
    exchange.note(exchange.response)
    exchange.response = await _replacement(handler, exchange, error)
    await handler.send_response(exchange.response, exchange.send)


async def send_trailers(exchange: Exchange) -> None:
    """Send what follows the last body event of a response that announced it."""
    response = exchange.response
    trailers = None if response is None else trailers_of(response)
    if trailers is not None:
        headers, _, _ = encode_headers(trailers.items(), (), lower=True)
        await exchange.send(
            {
                "type": "http.response.trailers",
                "headers": headers,
                "more_trailers": False,
            }
        )


async def _replacement(
    handler: Responder, exchange: Exchange, error: Exception
) -> Response:
    """Return an error response for one that cannot be sent."""
    request = exchange.request
    if isinstance(error, PoolBusy) and request is not None:
        return answers.busy(error, request)
    if request is None:
        return HttpResponse("Internal Server Error", status=500)
    try:
        page = await exchange.lease.run_promptly(convert, request, error)
        encode_headers(page.items(), (), lower=False)
    except BadResponse:
        page = handler.last_chance(request)
    except PoolBusy as busy:
        page = answers.busy(busy, request)
    return page
