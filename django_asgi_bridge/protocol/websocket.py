"""What may be sent over one WebSocket connection, and when.

These are rules alone: nothing here sends, awaits or logs.
Specification: ASGI WebSocket message format 2.5 with its extension "Websocket
Denial Response"; RFC 6455 5.5.1, 7.4.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from typing import Any, Final

from django_asgi_bridge.exceptions import BadMessage, SocketStateError
from django_asgi_bridge.protocol.response import encode_headers

__all__ = (
    "MAX_REASON_BYTES",
    "SocketState",
    "after",
    "check_accept",
    "check_close",
    "denial",
)

MAX_REASON_BYTES: Final = 123
"""Bytes of a close reason: a control frame has 125, and the code takes 2 (5.5)."""

_SUBPROTOCOL_SEPARATORS: Final = frozenset('()<>@,;:\\"/[]?={} \t')


class SocketState(enum.Enum):
    """How far a connection is."""

    CONNECTING = "the handshake is not answered"
    OPEN = "open"
    DENYING = "refused, the response is not complete"
    CLOSED = "closed"


_S = SocketState
_ACCEPT: Final = "websocket.accept"
_SEND: Final = "websocket.send"
_CLOSE: Final = "websocket.close"
_DENY_START: Final = "websocket.http.response.start"
_DENY_BODY: Final = "websocket.http.response.body"

# (state, event) -> state after it. An event of the table that has no entry for the
# state is a mistake of the application, unless nobody listens any more.
_TRANSITIONS: Final[dict[tuple[SocketState, str], SocketState]] = {
    (_S.CONNECTING, _ACCEPT): _S.OPEN,
    (_S.CONNECTING, _CLOSE): _S.CLOSED,
    (_S.CONNECTING, _DENY_START): _S.DENYING,
    (_S.DENYING, _DENY_BODY): _S.DENYING,
    (_S.OPEN, _SEND): _S.OPEN,
    (_S.OPEN, _CLOSE): _S.CLOSED,
}
# What comes too late to matter: it is left out, since two parties may decide at
# the same time (a handler closes while the client does).
_LATE: Final = frozenset({(_S.OPEN, _ACCEPT), (_S.DENYING, _CLOSE)})
_EVENTS: Final = frozenset({_ACCEPT, _SEND, _CLOSE, _DENY_START, _DENY_BODY})


def after(state: SocketState, event: Mapping[str, Any]) -> SocketState | None:
    """Return the state after an event is sent, or None if it must be left out.

    An event of a type that WebSockets do not know changes nothing.

    Raises:
        SocketStateError: the event may not be sent in this state.
    """
    kind = event["type"]
    following = _TRANSITIONS.get((state, kind))
    if following is not None:
        if kind == _DENY_BODY and not event.get("more_body"):
            return _S.CLOSED
        return following
    if state is _S.CLOSED or (state, kind) in _LATE:
        return None
    if kind not in _EVENTS:
        return state
    allowed = sorted(known for each, known in _TRANSITIONS if each is state)
    raise SocketStateError(
        f"event {kind!r} was sent while the connection is {state.name} "
        f"({state.value}): expected one of {', '.join(map(repr, allowed))}; "
        "call accept() before you send, and refuse only before you accept."
    )


def check_accept(
    subprotocol: str | None, headers: Iterable[tuple[bytes | str, bytes | str]]
) -> None:
    """Check what accepts a handshake, before any byte of it is sent.

    Raises:
        BadMessage: the subprotocol is no token of RFC 9110.
        BadResponse: a header would break the response apart.
    """
    if subprotocol is not None and not _is_token(subprotocol):
        raise BadMessage(
            f"subprotocol {subprotocol!r} is not valid: use one that the client "
            "offered, printable ASCII without separators."
        )
    encode_headers(headers, lower=True)


def _is_token(text: str) -> bool:
    return bool(text) and all(
        "!" <= character <= "~" and character not in _SUBPROTOCOL_SEPARATORS
        for character in text
    )


def check_close(code: int | None, reason: str | None) -> None:
    """Check a close code and reason, which servers refuse late and differently.

    Raises:
        BadMessage: the code may not be sent (RFC 6455 7.4), or the reason is longer
            than a control frame.
    """
    if code is not None and not (code in _CLOSE_CODES or 3000 <= code <= 4999):
        raise BadMessage(
            f"close code {code!r} may not be sent: use 1000, 1001, 1002, 1003, "
            "1007 to 1014, or 3000 to 4999."
        )
    if reason is not None:
        size = len(reason.encode("utf-8", "surrogatepass"))
        if size > MAX_REASON_BYTES:
            raise BadMessage(
                f"close reason {reason[:40]!r}... has {size} bytes in UTF-8: a close "
                f"frame carries {MAX_REASON_BYTES}; shorten it."
            )


# RFC 6455 7.4.1 and the IANA registry, without those that only describe (1005,
# 1006, 1015).
_CLOSE_CODES: Final = frozenset({1000, 1001, 1002, 1003, *range(1007, 1015)})


def denial(
    status: int, headers: Iterable[tuple[bytes | str, bytes | str]], body: bytes
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the two events that refuse a handshake with an HTTP response.

    Only for servers that offer the extension ``websocket.http.response``.

    Raises:
        BadMessage: the status is none that a refusal can have.
        BadResponse: a header would break the response apart.
    """
    if not 300 <= status <= 599:
        raise BadMessage(
            f"status {status!r} cannot refuse a handshake: use one from 300 to 599."
        )
    encoded = encode_headers(headers, lower=True)[0]
    return (
        {"type": _DENY_START, "status": status, "headers": encoded},
        {"type": _DENY_BODY, "body": body},
    )
