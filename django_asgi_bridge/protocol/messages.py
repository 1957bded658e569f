"""What a message may contain, where something has to carry it as bytes.

Specification: ASGI, "Extra Coroutines and Message Formats"; WebSocket message
format 2.5, "Send".
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from django_asgi_bridge.exceptions import BadMessage

__all__ = ("check_frame", "check_message")

_MIN_INTEGER: Final = -(2**63)
_MAX_INTEGER: Final = 2**63 - 1
_MAX_DEPTH: Final = 500
"""Containers in containers; msgpack's own limit is 511."""

_MAX_SHOWN: Final = 80
"""Characters of a value that an error repeats."""


def check_message(
    message: object, *, noun: str = "message", allows_bytes: bool = True
) -> None:
    """Refuse what ASGI forbids in a message.

    Allowed are ``str`` that is valid Unicode, ``bytes``, ``int`` within 64 bits,
    finite ``float``, ``bool``, ``None``, lists (tuples count as lists) and dicts
    with ``str`` keys, 500 deep at most.

    Args:
        noun: what the error calls the message; the key path begins with it.
        allows_bytes: False for formats that cannot carry ``bytes``, such as JSON.

    Raises:
        BadMessage: names the path of what is wrong, as ``message['a'][3]``.
    """
    if not isinstance(message, dict):
        raise BadMessage(f"{noun} is {_shown(message)}; a message is a dict.")
    # Not recursive: a message may be as deep as it likes to be refused.
    pending: list[tuple[object, _Path]] = [(message, None)]
    while pending:
        value, path = pending.pop()
        if isinstance(value, dict):
            for key, item in value.items():
                if type(key) is not str or not key.isascii():
                    _check_key(key, noun, path)
                kind = type(item)
                if kind not in _PLAIN or (kind is bytes and not allows_bytes):
                    pending.append((item, (key, path)))
                elif kind is str and not item.isascii():
                    _check_text(item, noun, (key, path))
        elif isinstance(value, list | tuple):
            pending.extend((item, (index, path)) for index, item in enumerate(value))
        else:
            _check_scalar(value, noun, path, allows_bytes=allows_bytes)
            continue
        if _depth(path) >= _MAX_DEPTH:
            raise BadMessage(
                f"{noun} has containers in containers beyond {_MAX_DEPTH} levels;"
                f" one that contains itself cannot be carried."
            )


def check_frame(message: Mapping[str, Any], *, noun: str = "message") -> None:
    """Refuse a ``websocket.send`` event without exactly one of text and bytes.

    Raises:
        BadMessage: both or neither of them are given, or one has the wrong type.
    """
    text, content = message.get("text"), message.get("bytes")
    if (text is None) == (content is None):
        given = "neither" if text is None else "both"
        raise BadMessage(
            f"{noun} is a 'websocket.send' event with {given} of 'text' and 'bytes';"
            f" give exactly one of them."
        )
    if text is not None and not isinstance(text, str):
        raise BadMessage(f"{noun}['text'] is {_shown(text)}; it must be a str.")
    if content is not None and not isinstance(content, bytes):
        raise BadMessage(f"{noun}['bytes'] is {_shown(content)}; it must be bytes.")


_Path = tuple[object, "_Path"] | None
"""The last key, and the path before it."""

_PLAIN: Final = frozenset({bool, bytes, str, type(None)})


def _check_key(key: object, noun: str, path: _Path) -> None:
    if not isinstance(key, str):
        raise BadMessage(
            f"{_at(noun, path)} has the key {_shown(key)}; keys must be str."
        )
    _check_text(key, noun, (key, path))


def _check_text(text: str, noun: str, path: _Path) -> None:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise BadMessage(
            f"{_at(noun, path)} has the lone surrogate {text[error.start]!r} at"
            f" position {error.start}; text must be valid Unicode."
        ) from error


def _check_scalar(value: object, noun: str, path: _Path, *, allows_bytes: bool) -> None:
    if value is None or isinstance(value, bool):
        return
    if allows_bytes and isinstance(value, bytes):
        return
    if isinstance(value, str):
        _check_text(value, noun, path)
    elif isinstance(value, int):
        if not _MIN_INTEGER <= value <= _MAX_INTEGER:
            raise BadMessage(
                f"{_at(noun, path)} is an integer of {value.bit_length()} bits;"
                f" it must be from -2**63 to 2**63 - 1."
            )
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadMessage(f"{_at(noun, path)} is {value!r}; it must be finite.")
    else:
        kinds = "str, bytes, int" if allows_bytes else "str, int"
        raise BadMessage(
            f"{_at(noun, path)} is {_shown(value)}; it must be {kinds}, float, bool,"
            f" None, a list or a dict."
        )


def _at(noun: str, path: _Path) -> str:
    keys = []
    while path is not None:
        key, path = path
        keys.append(f"[{key!r}]")
    return noun + "".join(reversed(keys))


def _depth(path: _Path) -> int:
    depth = 0
    while path is not None:
        _, path = path
        depth += 1
    return depth


def _shown(value: object) -> str:
    kind = type(value).__name__
    try:
        text = repr(value)
    except Exception:
        return f"of type {kind}"
    if len(text) > _MAX_SHOWN:
        text = f"{text[:_MAX_SHOWN]}…"
    return f"{text} of type {kind}"
