"""Refusing a WebSocket handshake without a consumer."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from http import HTTPStatus

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.protocol.websocket import denial
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("busy", "offers_response", "refusal", "refuse")

logger = logging.getLogger("django.request")


def offers_response(scope: Scope) -> bool:
    """Tell whether the server can refuse with an HTTP response (ASGI extension)."""
    return "websocket.http.response" in (scope.get("extensions") or {})


async def refuse(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    status: int = 403,
    body: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> None:
    """Answer a handshake with an HTTP response, or as the server refuses by itself.

    Args:
        status: 300 to 599; servers without the extension always answer 403.
        body: plain text; the status' own phrase when empty.
        headers: of the response.
    """
    # Servers hand out the handshake as an event, and some take no answer before.
    message = await receive()
    if message["type"] == "websocket.disconnect":
        return
    for event in refusal(scope, status=status, body=body, headers=headers):
        await send(event)


def refusal(
    scope: Scope,
    *,
    status: int,
    body: bytes = b"",
    headers: Iterable[tuple[bytes, bytes]] = (),
) -> Iterable[Message]:
    """Return the events of ``refuse()``, for a handshake that was received."""
    if not offers_response(scope):
        return ({"type": "websocket.close"},)
    text = [(b"content-type", b"text/plain; charset=utf-8")]
    phrase = HTTPStatus(status).phrase.encode()
    return denial(status, [*text, *headers], body or phrase)


def busy(scope: Scope, error: PoolBusy) -> Iterable[Message]:
    """Return the events that refuse a handshake for want of a worker; log a line."""
    logger.warning(
        "Service Unavailable: %s (WebSocket): %s",
        scope.get("path"),
        error,
        extra={"status_code": 503, "scope": scope},
    )
    retry_after = str(error.retry_after).encode()
    return refusal(scope, status=503, headers=[(b"retry-after", retry_after)])
