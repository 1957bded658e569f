"""Waking what waits on an event loop, from other threads.

Each call of ``call_soon_threadsafe`` costs a system call and a handle; what is told
to a loop before it comes to look shares one.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable

__all__ = ("LoopBell", "bell_of_loop")


class LoopBell:
    """Calls functions on an event loop's own thread, as many at a time as there are.

    Args:
        loop: whose thread it is.
    """

    __slots__ = ("_calls", "_is_rung", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._is_rung = False

    def call(self, function: Callable[[], None]) -> None:
        """Call ``function``, which never raises, on the loop soon; from any thread.

        Where the loop was closed nobody waits any more, and nothing happens.
        """
        self._calls.append(function)
        if self._is_rung:
            return
        self._is_rung = True
        try:
            self.loop.call_soon_threadsafe(self._answer)
        except RuntimeError:
            self._calls.clear()

    def _answer(self) -> None:
        # In this order: whoever appends after the last look rings again.
        self._is_rung = False
        while self._calls:
            self._calls.popleft()()


def bell_of_loop(loop: asyncio.AbstractEventLoop) -> LoopBell:
    """Return the bell of a loop; called on its own thread."""
    bell = _here.bell
    if bell is None or bell.loop is not loop:
        bell = _here.bell = LoopBell(loop)
    return bell


class _Here(threading.local):
    bell: LoopBell | None = None


_here = _Here()
