"""Copies of messages, so that no receiver sees what another one changes."""

import datetime
import decimal
import functools
import uuid
from collections.abc import Callable
from copy import deepcopy
from typing import Any, Final

__all__ = ("copier",)

# Nobody can change these.
_IMMUTABLE: Final = frozenset(
    {
        bool,
        bytes,
        complex,
        datetime.date,
        datetime.datetime,
        datetime.time,
        datetime.timedelta,
        decimal.Decimal,
        float,
        int,
        str,
        type(None),
        uuid.UUID,
    }
)


def copier(message: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Return a function that makes one independent copy of a message at each call."""
    if type(message) is dict and all(
        type(value) in _IMMUTABLE for value in message.values()
    ):
        return message.copy
    return functools.partial(_copy_message, message)


def _copy_message(message: dict[str, Any]) -> dict[str, Any]:
    try:
        copied: dict[str, Any] = _copy(message)
    except RecursionError:
        # It contains itself, which deepcopy() follows once.
        return deepcopy(message)
    return copied


def _copy(value: Any) -> Any:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is dict:
        return {_copy(key): _copy(item) for key, item in value.items()}
    if kind is list:
        return [_copy(item) for item in value]
    if kind is tuple:
        return tuple([_copy(item) for item in value])
    return deepcopy(value)
