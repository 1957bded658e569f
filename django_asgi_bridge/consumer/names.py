"""From the type of an event to the name of the method that handles it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("get_handler_name", "is_reserved")

_RESERVED = ("websocket.", "http.", "lifespan.", "bridge.")


def get_handler_name(message: Mapping[str, Any]) -> str:
    """Return the name of the method that handles a message.

    Raises:
        ValueError: the message has no ``type``, or one that begins with ``_`` or
            ``.``, which would reach a private method.
    """
    if "type" not in message:
        raise ValueError("Incoming message has no 'type' attribute")
    kind = message["type"]
    return _names.get(kind) or _name(kind)


_names: dict[str, str] = {}

# Types come from application code and, through layers, from other processes: the
# bound keeps a flood of invented ones from growing this.
_MAX_NAMES = 1024


def _name(kind: str) -> str:
    name = kind.replace(".", "_")
    if name.startswith("_"):
        raise ValueError("Malformed type in message (leading underscore)")
    if len(_names) < _MAX_NAMES:
        _names[kind] = name
    return name


def is_reserved(kind: str) -> bool:
    """Tell whether only the server, or this package, may send events of a type."""
    return kind.startswith(_RESERVED)
