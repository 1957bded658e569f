"""The content of what is sent over one WebSocket, checked before any byte leaves."""

from __future__ import annotations

from django_asgi_bridge.protocol.messages import check_frame, check_message
from django_asgi_bridge.protocol.websocket import check_accept, check_close
from django_asgi_bridge.types import Message

__all__ = ("check_content",)


def check_content(event: Message, *, is_strict: bool) -> None:
    """Refuse an event whose content may not be sent.

    Args:
        event: of any type.
        is_strict: also what ASGI forbids and servers send, or fail with, each in its
            own way.

    Raises:
        BadMessage: the content may not be sent.
        BadResponse: a header of an accept would break the response apart.
    """
    kind = event["type"]
    if kind == "websocket.accept":
        check_accept(event.get("subprotocol"), event.get("headers") or ())
    elif kind == "websocket.close":
        check_close(event.get("code"), event.get("reason"))
    if is_strict:
        if kind == "websocket.send":
            check_frame(event)
        check_message(event)
