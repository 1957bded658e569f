"""What the sync and the async consumers decide alike: events made of arguments."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Literal, NoReturn

from django.core.exceptions import PermissionDenied
from django.http import Http404

from django_asgi_bridge.exceptions import Redirect
from django_asgi_bridge.protocol.websocket import SocketState, denial
from django_asgi_bridge.types import Message, Scope

__all__ = (
    "NO_GROUPS",
    "NO_TEXT",
    "Headers",
    "accept_event",
    "close_event",
    "frame_event",
    "parse_json",
    "refusal_events",
    "refusal_of",
)

Headers = Mapping[Any, Any] | Iterable[tuple[Any, Any]]

# Pinned by the interface of Channels.
NO_GROUPS = "BACKEND is unconfigured or doesn't support groups"
NO_TEXT = "No text section for incoming WebSocket frame!"

# Close codes of applications for HTTP statuses, by common custom: 4401, 4403, 4404.
_CODE_BASE = 4000


def accept_event(subprotocol: str | None, headers: Headers | None) -> dict[str, Any]:
    """Return the event that accepts a handshake."""
    event: dict[str, Any] = {"type": "websocket.accept", "subprotocol": subprotocol}
    if headers:
        event["headers"] = _pairs(headers)
    return event


def frame_event(text_data: str | None, bytes_data: bytes | None) -> dict[str, Any]:
    """Return the event that sends a frame.

    Raises:
        ValueError: neither is given.
    """
    if text_data is not None:
        return {"type": "websocket.send", "text": text_data}
    if bytes_data is not None:
        return {"type": "websocket.send", "bytes": bytes_data}
    raise ValueError("You must pass one of bytes_data or text_data")


def close_event(code: int | bool | None, reason: str | None) -> dict[str, Any]:
    """Return the event that closes; True means the server's own code."""
    event: dict[str, Any] = {"type": "websocket.close"}
    if code is not None and code is not True:
        event["code"] = code
    if reason:
        event["reason"] = reason
    return event


def refusal_of(
    error: Exception, state: SocketState
) -> tuple[int, dict[str, str]] | None:
    """Return status and headers for an error raised in ``connect()``.

    None where the error is no refusal, or the handshake is answered already. To a
    client that has left meanwhile nothing is sent, and nothing is wrong.
    """
    if state in (SocketState.OPEN, SocketState.DENYING):
        return None
    if isinstance(error, Redirect):
        return error.status, {"location": error.url}
    if isinstance(error, PermissionDenied):
        return 403, {}
    if isinstance(error, Http404):
        return 404, {}
    return None


def refusal_events(
    scope: Scope,
    status: int,
    body: bytes | str,
    headers: Headers | None,
    fallback: Literal["refuse", "accept_then_close"],
) -> list[Message]:
    """Return the events that refuse a handshake.

    Args:
        scope: says whether the server can send an HTTP response.
        fallback: for servers that cannot: ``"refuse"`` makes them answer 403;
            ``"accept_then_close"`` lets browsers read a close code, 4000 + status.
    """
    phrase = HTTPStatus(status).phrase if status in set(HTTPStatus) else ""
    content = body.encode() if isinstance(body, str) else body
    if "websocket.http.response" in (scope.get("extensions") or {}):
        pairs = _pairs(headers or ())
        if not any(_lower(name) == b"content-type" for name, _ in pairs):
            pairs.append((b"content-type", b"text/plain; charset=utf-8"))
        return [*denial(status, pairs, content or phrase.encode())]
    close = close_event(_CODE_BASE + status, phrase)
    if fallback == "accept_then_close":
        return [accept_event(None, None), close]
    return [close]


def parse_json(text: str) -> Any:
    """Read a frame's JSON more strictly than ``json.loads``.

    Raises:
        ValueError: the text is no JSON of RFC 8259: NaN and Infinity are none; or
            it holds half of a surrogate pair, which no reply could repeat.
        RecursionError: it is nested too deeply.
    """
    content = _decoder.decode(text)
    if "\\ud" in text or "\\uD" in text:
        json.dumps(content, ensure_ascii=False).encode("utf-8")
    return content


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


# ``json.loads()`` makes one for each text, if it is given an argument.
_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _pairs(headers: Headers) -> list[tuple[Any, Any]]:
    return list(headers.items() if isinstance(headers, Mapping) else headers)


def _lower(name: str | bytes) -> bytes:
    return (name.encode("latin-1") if isinstance(name, str) else name).lower()
