"""What a message may consist of, so that a server or a layer can carry it.

These are rules alone. Specification: ASGI 3.0, "Events": byte strings, Unicode
strings, integers of 64 bits, floats that are numbers, lists, dictionaries with
string keys, booleans and None.
"""

import math
from typing import Any, Final, NoReturn

from django_asgi_bridge.exceptions import BadMessage

__all__ = ("NotAMessage", "check_content", "check_message")

_INTEGERS: Final = range(-(2**63), 2**64)
_MAX_DEPTH: Final = 100
_RESERVED: Final = "__asgi_channel__"


class NotAMessage(BadMessage, AssertionError):
    """What was sent to a layer is no dictionary, or uses a key of the layer's own.

    If you see this: send a dictionary with a ``type``.
    """


def check_message(message: object, name: str = "message") -> None:
    """Check what every layer refuses.

    Raises:
        NotAMessage: it is no dictionary, or has a key that layers use themselves.
    """
    if not isinstance(message, dict):
        raise NotAMessage(
            f"{name} is not a dict: got {type(message).__name__}; send a dictionary "
            "with a 'type'."
        )
    if _RESERVED in message:
        raise NotAMessage(
            f"{name} has the key {_RESERVED!r}, which channel layers use themselves."
        )


def check_content(value: object, path: str = "message", depth: int = 0) -> None:
    """Check that a value is made of what ASGI allows alone.

    Args:
        path: what the error calls it.
        depth: how deep the caller is.

    Raises:
        BadMessage: it is not; the error names the key path.
    """
    kind = type(value)
    if kind in _PLAIN:
        return
    if depth > _MAX_DEPTH:
        _refuse(path, f"it is nested deeper than {_MAX_DEPTH}")
    if isinstance(value, bool | str | bytes | bytearray):
        return
    if isinstance(value, int):
        if value not in _INTEGERS:
            _refuse(path, f"{str(value)[:24]}... does not fit into 64 bits")
    elif isinstance(value, float):
        if not math.isfinite(value):
            _refuse(path, f"{value!r} is not a number that can be sent")
    elif isinstance(value, dict):
        _check_items(value, path, depth)
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            if type(item) not in _PLAIN:
                check_content(item, f"{path}[{index}]", depth + 1)
    else:
        _refuse(
            path,
            f"a {kind.__name__} cannot be sent: make it a string, number, list or "
            "dictionary first",
        )


# Nothing about these can be wrong.
_PLAIN: Final = frozenset({str, bytes, bool, type(None)})


def _check_items(value: dict[Any, Any], path: str, depth: int) -> None:
    for key, item in value.items():
        if not isinstance(key, str):
            _refuse(path, f"the key {key!r} is no string")
        if type(item) not in _PLAIN:
            check_content(item, f"{path}[{key!r}]", depth + 1)


def _refuse(path: str, wrong: str) -> NoReturn:
    raise BadMessage(f"{path}: {wrong}.")
