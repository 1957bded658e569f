"""Delivery: a response, or an error page in the place of one that cannot be sent."""

from django.http import HttpResponse

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.exceptions import ClientDisconnected, PoolBusy
from django_asgi_bridge.http import answers
from django_asgi_bridge.http.contracts import Responder
from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.extensions import trailers_of
from django_asgi_bridge.http.plan import convert
from django_asgi_bridge.http.response import send_response
from django_asgi_bridge.protocol.response import (
    BadResponse,
    ResponseState,
    encode_headers,
)

__all__ = ("deliver", "send_trailers")


async def deliver(
    handler: Responder, exchange: Exchange, *, is_overridden: bool
) -> None:
    """Send everything of the exchange's response but its last event.

    Args:
        is_overridden: a subclass sends responses by a method of its own.

    Raises:
        Exception: what stopped a response that had begun.
    """
    response = exchange.response
    try:
        if is_overridden:
            await handler.send_response(response, exchange.send)
        else:
            await send_response(handler, exchange, response)
    except ClientDisconnected:
        raise
    except Exception as error:
        is_begun = exchange.state is not ResponseState.WAITING
        if is_begun or settings.DEBUG_PROPAGATE_EXCEPTIONS:
            raise
        # Closed at the end, like every response that is not sent.
        exchange.note(response)
        exchange.response = await _replacement(handler, exchange, error)
        await handler.send_response(exchange.response, exchange.send)


async def send_trailers(exchange: Exchange) -> None:
    """Send what follows the last body event of a response that announced it."""
    trailers = trailers_of(exchange.response)
    if trailers is not None:
        encoded = encode_headers(trailers.items(), (), lower=True)
        await exchange.send(
            {
                "type": "http.response.trailers",
                "headers": encoded.headers,
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
