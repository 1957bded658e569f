"""What a log says of messages that a layer dropped, or had better not be given."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

from django_asgi_bridge.exceptions import BadMessage
from django_asgi_bridge.protocol.messages import check_message

__all__ = ("LossLog", "warn_of_content")

logger = logging.getLogger("django_asgi_bridge.layers")

_INTERVAL: Final = 10.0
"""Seconds between two records of one layer: long enough for one in a burst."""

_has_warned = False


class LossLog:
    """One record for a burst of messages to groups that full channels refused.

    Args:
        clock: returns the time in seconds.
    """

    __slots__ = ("_clock", "_lost", "_next")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._next: float | None = None
        self._lost = 0

    def note(self, group: str, lost: int) -> None:
        """Count a loss, and log all since the last record if that is long ago."""
        self._lost += lost
        now = self._clock()
        if self._next is not None and now < self._next:
            return
        self._next = now + _INTERVAL
        total, self._lost = self._lost, 0
        logger.warning(
            "Messages to groups that full channels refused since the last such record:"
            " %d, the last of group %r; readers are slower than senders.",
            total,
            group,
        )


def warn_of_content(message: dict[str, Any]) -> None:
    """Log, once in a process, that a message is one that not every layer carries."""
    global _has_warned
    if _has_warned:
        return
    try:
        check_message(message)
    except BadMessage as error:
        _has_warned = True
        logger.warning(
            "The in-memory layer carries any object, but a layer that serialises"
            " refuses this message of type %r: %s",
            message.get("type"),
            error,
        )
