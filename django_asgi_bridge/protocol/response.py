"""What a response may say and in which order, before any byte of it is sent.

These are rules alone: nothing here sends, awaits or logs.
Specification: ASGI HTTP message format 2.5, "Response Start" to "Response Body"
with its extensions; RFC 9110 5.5, 5.6.2, 6.4.1, 7.6.1, 8.6.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, Literal, NoReturn, TypeAlias

from django_asgi_bridge.exceptions import BridgeError

__all__ = (
    "CONTROLS",
    "MAX_LENGTH_DIGITS",
    "NEXT_STATES",
    "TOKEN",
    "BadResponse",
    "Headers",
    "ResponseState",
    "check_status",
    "cut",
    "encode_headers",
    "has_body",
    "state_after",
)

MAX_FIELD_BYTES: Final = 65536
"""Bytes of one header value: Python's http.client reads no longer header line."""

MAX_LENGTH_DIGITS: Final = 18
"""Digits of a Content-Length: 10**18 bytes is an exabyte, and fits 64 bits."""

MAX_SHOWN: Final = 80
"""Characters of a value that an error repeats."""

TOKEN: Final = (
    b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)
"""What a token is made of, RFC 9110 5.6.2: methods, and names of headers."""

CONTROLS: Final = bytes([*range(0x09), *range(0x0A, 0x20), 0x7F])
"""What no value has, RFC 9110 5.5: everything below space but HTAB, and DEL."""

# NEL (0x85) ends a line for str.splitlines(); it is fine inside UTF-8 text.
_SUSPECTS: Final = CONTROLS + b"\x85"

# A site gives these the same few values again and again, and no secrets.
_REPEATING_NAMES: Final = (
    b"accept-ranges access-control-allow-credentials access-control-allow-headers"
    b" access-control-allow-methods access-control-allow-origin"
    b" access-control-expose-headers allow cache-control content-encoding"
    b" content-language content-type cross-origin-embedder-policy"
    b" cross-origin-opener-policy cross-origin-resource-policy permissions-policy"
    b" pragma referrer-policy strict-transport-security vary x-accel-buffering"
    b" x-content-type-options x-frame-options x-robots-tag x-xss-protection".split()
)

MAX_REMEMBERED_NAMES: Final = 128
"""Names that are remembered of each kind of HTTP; a site sends a few dozen."""

MAX_REMEMBERED: Final = 32
"""Pairs that are remembered of one name, in whatever case and kind of HTTP."""

MAX_REMEMBERED_LENGTH: Final = 256
"""Characters of a value that is remembered."""

# What is special about a name; every other name is 0.
_LENGTH: Final = 1
_CONNECTION: Final = 2
_OF_THE_HOP: Final = 3
_REPEATS: Final = 4

_KINDS: Final = {
    b"content-length": _LENGTH,
    b"connection": _CONNECTION,
    # RFC 9110 7.6.1: these speak of one connection, which is the server's.
    **dict.fromkeys(
        [b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade"],
        _OF_THE_HOP,
    ),
    **dict.fromkeys(_REPEATING_NAMES, _REPEATS),
}

_Header: TypeAlias = tuple[bytes, bytes]

Headers: TypeAlias = list[_Header]
"""Names and values, ready for ``http.response.start``."""

_Pair: TypeAlias = tuple[str | bytes, str | bytes]
_Name: TypeAlias = tuple[bytes, int]

# Filled as they come: made at the start they would take as long as two modules. Names'
# bytes and what is special about them; headers by pairs; places that names still have.
_NAMES: Final[dict[str, _Name]] = {}
_LOWER_NAMES: Final[dict[str, _Name]] = {}
_PAIRS: Final[dict[_Pair, _Header]] = {}
_LOWER_PAIRS: Final[dict[_Pair, _Header]] = {}
_PLACES: Final[dict[bytes, int]] = {}


class BadResponse(BridgeError, ValueError):
    """A response that must not be sent as it is.

    If you see this: the message names the header, status or event; correct it
    in the view or middleware that made it. The client got a 500 instead.
    """


def encode_headers(
    items: Iterable[_Pair],
    cookies: Iterable[str] = (),
    *,
    lower: bool,
    are_text: bool = False,
) -> tuple[Headers, tuple[str, ...], int | None]:
    """Encode and check the headers of a response.

    Args:
        items: Names and values, as ``response.items()`` gives them.
        cookies: Values of ``Set-Cookie`` headers, which follow the others.
        lower: Whether names are lower-cased, which HTTP/2 demands (RFC 9113 8.2).
        are_text: Whether no name or value is of bytes. Then pairs are looked up as
            they are; to compare bytes with text is what ``python -bb`` forbids.

    Returns:
        The headers in order; which hop-by-hop ones were left out; Content-Length.

    Raises:
        BadResponse: A name is no token; a value holds a control character other
            than a tab, a character outside Latin-1, white space in front or more
            than 64 KiB; Content-Length is no number or came twice.
    """
    names, pairs = (_LOWER_NAMES, _LOWER_PAIRS) if lower else (_NAMES, _PAIRS)
    headers: Headers = []
    dropped: tuple[str, ...] = ()
    content_length = None
    for pair in items:
        header = pairs.get(pair) if are_text else None
        if header is not None:
            headers.append(header)
            continue
        name, value = pair
        entry = names.get(name) if isinstance(name, str) else None
        encoded, kind = entry or _learn_name(names, name, lower=lower)
        if kind == _LENGTH:
            field, content_length = _read_length(value, content_length)
            headers.append((encoded, field))
        elif kind in (_CONNECTION, _OF_THE_HOP) and _is_dropped(kind, value, lower):
            dropped += (encoded.decode("ascii"),)
        else:
            header = (encoded, _encode_value(encoded, value))
            headers.append(header)
            if kind == _REPEATS and are_text:
                _remember(pairs, pair, header)
    if cookies:
        name = b"set-cookie" if lower else b"Set-Cookie"
        headers += [(name, _encode_value(name, cookie)) for cookie in cookies]
    return headers, dropped, content_length


def _remember(pairs: dict[_Pair, _Header], pair: _Pair, header: _Header) -> None:
    """Keep a header of plain text that passed the checks; never thrown out again."""
    name = header[0].lower()
    places = _PLACES.get(name, MAX_REMEMBERED)
    is_plain = type(pair[0]) is type(pair[1]) is str
    if places and is_plain and len(pair[1]) <= MAX_REMEMBERED_LENGTH:
        _PLACES[name] = places - 1
        pairs[pair] = header


def _learn_name(known: dict[str, _Name], name: str | bytes, *, lower: bool) -> _Name:
    """Check a name, and keep what is known of it; nothing is ever thrown out."""
    entry = _encode_name(name, lower=lower)
    # A view that makes names of what clients say takes no place of those that matter.
    places = MAX_REMEMBERED_NAMES * (2 if entry[1] else 1)
    if type(name) is str and len(known) < places:
        known[name] = entry
    return entry


def _encode_name(name: str | bytes, *, lower: bool) -> _Name:
    """Return a name's bytes and kind, or raise BadResponse."""
    # What ASCII lacks becomes "?", which is no token either.
    encoded = name.encode("ascii", "replace") if isinstance(name, str) else name
    if not encoded or encoded.translate(None, TOKEN):
        raise BadResponse(
            f"response header name {cut(name)} is not valid:"
            " use one or more of A-Z a-z 0-9 ! # $ % & ' * + - . ^ _ ` | ~"
        )
    lowered = encoded.lower()
    other = _OF_THE_HOP if lowered.startswith(b"proxy-") else 0
    return lowered if lower else encoded, _KINDS.get(lowered, other)


def _is_dropped(kind: int, value: str | bytes, lower: bool) -> bool:
    """Tell whether a header is about the connection, which belongs to the server."""
    if kind == _CONNECTION:
        # HTTP/2 has no Connection header at all (RFC 9113 8.2.2).
        text = value if isinstance(value, str) else value.decode("latin-1")
        return lower or text.strip().lower() != "close"
    return True


def _encode_value(name: bytes, value: object) -> bytes:
    """Return a value's bytes without the white space at its end."""
    if isinstance(value, str):
        try:
            field = value.encode("latin-1")
        except UnicodeEncodeError as exc:
            character = f"{value[exc.start]!r} at position {exc.start}"
            _refuse(name, value, f"{character} is not in Latin-1; encode it", exc)
    elif isinstance(value, bytes):
        field = value
    else:
        _refuse(name, repr(value), "expected str or bytes")
    if len(field.translate(None, _SUSPECTS)) != len(field):
        _check_suspects(name, field)
    if len(field) > MAX_FIELD_BYTES:
        _refuse(name, field, f"{len(field)} bytes, more than {MAX_FIELD_BYTES}")
    # Not part of the value (RFC 9110 5.5). At its end joined lists leave some, as
    # policies do; in front of it only a mistake or an attempt to fold lines does.
    if field[:1] in (b" ", b"\t"):
        _refuse(name, field, "it starts with white space; strip it")
    return field.rstrip(b" \t")


def _check_suspects(name: bytes, field: bytes) -> None:
    """Raise BadResponse unless the suspect bytes are parts of UTF-8 text."""
    for position, byte in enumerate(field):
        if byte in CONTROLS:
            where = f"byte 0x{byte:02x} at position {position}"
            _refuse(name, field, f"{where} is a control character; remove it")
    try:
        field.decode()
    except UnicodeDecodeError as exc:
        _refuse(name, field, "byte 0x85 is a line end outside UTF-8; remove it", exc)


def _refuse(
    name: bytes, value: str | bytes, wrong: str, cause: Exception | None = None
) -> NoReturn:
    """Raise BadResponse for a value; of a cookie only the name is repeated."""
    shown = cut(value)
    if name.lower() == b"set-cookie":
        text = value if isinstance(value, str) else value.decode("latin-1")
        shown = cut(text.partition("=")[0] + "=...")
    raise BadResponse(
        f"response header {name.decode('ascii')!r} has the value {shown}: {wrong}"
    ) from cause


def _read_length(value: str | bytes, earlier: int | None) -> tuple[bytes, int]:
    """Return a Content-Length, which must be a number and come once."""
    if isinstance(value, str) and value.isascii() and value.isdecimal():
        field = value.encode()
    else:
        field = _encode_value(b"Content-Length", value)
    if earlier is not None:
        _refuse(b"Content-Length", field, f"a second one, after {earlier}")
    if not (field.isdigit() and len(field) <= MAX_LENGTH_DIGITS):
        _refuse(b"Content-Length", field, "expected 1 to 18 decimal digits")
    return field, int(field)


def cut(value: str | bytes) -> str:
    """Return a value's repr, at most ``MAX_SHOWN`` characters of it."""
    shown = repr(value[:MAX_SHOWN])
    return shown if len(shown) <= MAX_SHOWN else shown[: MAX_SHOWN - 3] + "..."


def has_body(method: str | None, status: int) -> bool:
    """Tell whether a response to this method with this status carries a body.

    RFC 9110 6.4.1: none does for HEAD, 204 and 304.

    Raises:
        BadResponse: No final response may have this status.
    """
    if not 200 <= status <= 599:
        check_status(status)
    return method != "HEAD" and status not in {204, 304}


def check_status(status: int) -> None:
    """Raise BadResponse unless a final response may have this status (200-599)."""
    if not 100 <= status <= 599:
        raise BadResponse(f"response status {status!r} is not valid: use 200 to 599")
    if status < 200:
        raise BadResponse(
            f"response status {status} is interim: a view's answer is final,"
            " use 200 to 599"
        )


ResponseState: TypeAlias = Literal[
    "waiting", "started", "sending", "started with trailers", "sending with trailers",
    "trailing", "done",
]  # fmt: skip
"""How far a response is."""

# The events that lead on.
_HINT: Final = "http.response.early_hint"
_DEBUG: Final = "http.response.debug"
_PUSH: Final = "http.response.push"
_START: Final = "http.response.start"
_BODY: Final = "http.response.body"
_ZERO: Final = "http.response.zerocopysend"
_FILE: Final = "http.response.pathsend"  # the whole body
_TRAILERS: Final = "http.response.trailers"

NEXT_STATES: Final[dict[bool, dict[ResponseState, dict[str, ResponseState]]]] = {
    False: {
        "waiting": {
            _HINT: "waiting", _DEBUG: "waiting", _PUSH: "waiting", _START: "started",
        },
        "started": {_PUSH: "started", _BODY: "done", _ZERO: "done", _FILE: "done"},
        "sending": {_PUSH: "sending", _BODY: "done", _ZERO: "done"},
        "started with trailers": {
            _PUSH: "started with trailers",
            _BODY: "trailing", _ZERO: "trailing", _FILE: "trailing",
        },
        "sending with trailers": {
            _PUSH: "sending with trailers", _BODY: "trailing", _ZERO: "trailing",
        },
        "trailing": {_PUSH: "trailing", _TRAILERS: "done"},
        "done": {},
    },
    True: {
        "waiting": {_START: "started with trailers"},
        "started": {_BODY: "sending", _ZERO: "sending"},
        "sending": {_BODY: "sending", _ZERO: "sending"},
        "started with trailers": {
            _BODY: "sending with trailers", _ZERO: "sending with trailers",
        },
        "sending with trailers": {
            _BODY: "sending with trailers", _ZERO: "sending with trailers",
        },
        "trailing": {_TRAILERS: "trailing"},
        "done": {},
    },
}  # fmt: skip
"""The state that follows, by ``more``, the present one and the event's type.

``more`` is the event's own flag: ``trailers`` of ``http.response.start``,
``more_body`` of body events, ``more_trailers`` of trailers; False for all others.
What is missing is refused.
"""


def state_after(
    state: ResponseState, event_type: str, more: bool = False
) -> ResponseState:
    """Return how far a response is when this event is sent; see ``NEXT_STATES``.

    Raises:
        BadResponse: The event may not come in this state.
    """
    following = NEXT_STATES[more][state].get(event_type)
    if following is None:
        raise BadResponse(
            f"event {event_type!r} (more={more}) may not be sent while the"
            f" response is {state}"
        )
    return following
