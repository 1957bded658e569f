"""The turns that an async iterator that never waits gives to the rest of the loop.

Nor may the server ever have to wait: others on the loop would stand still, the watch
for the client that leaves too.
"""

from __future__ import annotations

import asyncio
import threading
from time import monotonic

__all__ = ("Turns", "turns_of_loop")

_SECONDS = 0.005
"""How long the loop may go without a turn before somebody looks for one; the same time
again passes until one is forced."""


class Turns:
    """Watches whether an event loop has its turns.

    All tasks of the loop share it. They ask when ``end`` has passed, which most items
    of a fast iterator do not see::

        if monotonic() > turns.end:
            await turns.take()

    Attributes:
        loop: that is watched.
        end: on the clock ``time.monotonic()``.
    """

    __slots__ = ("_is_awaited", "end", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._is_awaited = False
        self.end = monotonic() + _SECONDS

    async def take(self) -> None:
        """Wait for a turn of the loop if it had none since somebody called this.

        Who waited himself for what he has now need not wait once more.
        """
        if self._is_awaited:
            await asyncio.sleep(0)
        else:
            self._is_awaited = True
            self.loop.call_soon(self._note)
        self.end = monotonic() + _SECONDS

    def _note(self) -> None:
        self._is_awaited = False


def turns_of_loop() -> Turns:
    """Return the turns of the running loop."""
    loop = asyncio.get_running_loop()
    turns = _here.turns
    if turns is None or turns.loop is not loop:
        turns = _here.turns = Turns(loop)
    return turns


class _Here(threading.local):
    turns: Turns | None = None


_here = _Here()
