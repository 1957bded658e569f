"""Each member of a group gets a message of its own.

Containers are copied by type, immutable values are shared, anything else goes
through ``copy.deepcopy``.
"""

from __future__ import annotations

import copy
import datetime
import decimal
import fractions
import uuid
from typing import Any

__all__ = ("is_flat", "isolated")

_IMMUTABLE = frozenset({
    bool,
    bytes,
    complex,
    datetime.date,
    datetime.timedelta,
    decimal.Decimal,
    float,
    fractions.Fraction,
    int,
    range,
    str,
    type(None),
    uuid.UUID,
})  # fmt: skip


def is_flat(message: dict[str, Any]) -> bool:
    """Tell whether ``dict(message)`` shares nothing that can change."""
    if type(message) is not dict:
        return False
    immutable = _IMMUTABLE
    for key, value in message.items():
        if type(value) not in immutable or type(key) is not str:
            return False
    return True


def isolated(message: dict[str, Any]) -> dict[str, Any]:
    """Return a copy of a message that shares nothing that can change.

    Equal to ``copy.deepcopy(message)`` for any object, only faster for messages
    of dicts, lists and plain values. What stands twice in the message stands twice
    in the copy, and a message that contains itself is copied as such.

    Raises:
        Exception: what ``deepcopy`` raises for a value that cannot be copied.
    """
    if is_flat(message):
        return dict(message)
    copied: dict[str, Any] = _copied(message, {})
    return copied


def _copied(value: Any, memo: dict[int, Any]) -> Any:
    kind = type(value)
    if kind in _IMMUTABLE:
        return value
    if kind is not dict and kind is not list:
        return copy.deepcopy(value, memo)
    known = memo.get(id(value))
    if known is not None:
        return known
    if kind is list:
        items: list[Any] = []
        # Before its items: one of them may be the list itself.
        memo[id(value)] = items
        items.extend(_copied(item, memo) for item in value)
        return items
    copied: dict[Any, Any] = {}
    memo[id(value)] = copied
    for key, item in value.items():
        copied[_copied(key, memo)] = _copied(item, memo)
    return copied
