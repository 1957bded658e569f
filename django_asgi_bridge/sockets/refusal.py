"""Refusing a WebSocket handshake without a consumer."""

from collections.abc import Iterable
from http import HTTPStatus

from django_asgi_bridge.protocol.websocket import denial
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("offers_response", "refuse")


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
    events: Iterable[Message] = ({"type": "websocket.close"},)
    if offers_response(scope):
        text = [(b"content-type", b"text/plain; charset=utf-8")]
        phrase = HTTPStatus(status).phrase.encode()
        events = denial(status, [*text, *headers], body or phrase)
    for event in events:
        await send(event)
