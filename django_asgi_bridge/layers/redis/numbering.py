"""The numbers that one process gives its messages, so that losses can be counted."""

import os
import secrets
import threading
from collections import OrderedDict

__all__ = ("Numbering",)

_MAX_GROUPS = 10_000
"""Groups whose last number is remembered; one that was forgotten begins anew."""


class Numbering:
    """Numbers the messages of this process by group; a forked child is another one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: OrderedDict[str, int] = OrderedDict()
        self._pid = os.getpid()
        self._sender = secrets.token_bytes(8)

    def next(self, group: str) -> tuple[bytes, int]:
        """Return who sends, and the number of its next message to a group."""
        with self._lock:
            if self._pid != os.getpid():
                self._pid, self._sender = os.getpid(), secrets.token_bytes(8)
                self._last.clear()
            number = self._last.pop(group, 0) + 1
            self._last[group] = number
            if len(self._last) > _MAX_GROUPS:
                self._last.popitem(last=False)
            return self._sender, number
