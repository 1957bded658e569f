"""What a communicator asserts of the events it receives, in the words of Channels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ("expect_event", "expect_type")


def expect_event(event: Mapping[str, Any], kind: str) -> None:
    """Raise ``AssertionError`` if an event is of another kind."""
    if event["type"] != kind:
        raise AssertionError(f"Expected type '{kind}', but was '{event['type']}'")


def expect_type(value: object, kind: type, message: str) -> None:
    """Raise ``AssertionError`` with the message if a value has another type."""
    if not isinstance(value, kind):
        raise AssertionError(message)  # noqa: TRY004 - as Channels
