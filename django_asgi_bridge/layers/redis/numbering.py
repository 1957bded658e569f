"""The numbers that one sender gives its messages, so that losses can be counted."""

from __future__ import annotations

import os
import secrets
import threading
from collections import OrderedDict

__all__ = ("Numbering",)

_MAX_GROUPS = 10_000
"""Groups whose last number is remembered."""


class Numbering:
    """Numbers messages by group, from 1 on.

    The sender's name is another one for each group, in a forked child, and for a
    group that was forgotten: whoever receives sees a sender that begins, not one
    whose messages it has had.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[str, tuple[bytes, int]] = OrderedDict()
        self._pid = os.getpid()

    def next(self, group: str) -> tuple[bytes, int]:
        """Return who sends, and the number of its next message to a group."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid = os.getpid()
                self._last.clear()
            if group in self._last:
                sender, last = self._last.pop(group)
            else:
                sender, last = secrets.token_bytes(8), 0
            self._last[group] = sender, last + 1
            if len(self._last) > _MAX_GROUPS:
                self._last.popitem(last=False)
            return sender, last + 1
