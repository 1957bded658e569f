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
from django_asgi_bridge.protocol.response import (
    BadResponse,
    ResponseState,
    encode_headers,
)

__all__ = ("deliver", "deliver_last")


async def deliver(handler: Responder, exchange: Exchange) -> None:
    """Send everything of the exchange's response but its last event.

    Raises:
        Exception: what stopped a response that had begun.
    """
    try:
        await handler.send_response(exchange.response, exchange.send)
    except ClientDisconnected:
        raise
    except Exception as error:
        if exchange.order.is_started or settings.DEBUG_PROPAGATE_EXCEPTIONS:
            raise
        # Closed at the end, like every response that is not sent.
        exchange.note(exchange.response)
        exchange.response = await _replacement(handler, exchange, error)
        await handler.send_response(exchange.response, exchange.send)


async def deliver_last(exchange: Exchange) -> None:
    """Send the last body event, and the trailers.

    Called outside the request's context: a server may start the connection's next
    request from within this call.
    """
    message = exchange.last_message
    if message is None:
        return
    exchange.last_message = None
    await exchange.send(message)
    response = exchange.response
    if response is None or exchange.order.state is not ResponseState.TRAILERS:
        return
    trailers = trailers_of(response)
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
