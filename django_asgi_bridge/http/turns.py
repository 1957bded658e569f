"""The turns that an async iterator that never waits gives to the rest of the loop.

Nor may the server ever have to wait: others on the loop would stand still, the watch
for the client that leaves too.
"""

import asyncio
from time import monotonic

__all__ = ("Turns",)

_SECONDS = 0.005
"""How long the loop may go without a turn before it is looked at; the same time again
passes until one is forced."""


class Turns:
    """Watches whether the event loop had a turn of late; for one task.

    Ask only after ``end``, which most items of a fast iterator do not reach::

        if monotonic() > turns.end:
            await turns.take()

    Attributes:
        end: on the clock ``time.monotonic()``.
    """

    __slots__ = ("_is_awaited", "_loop", "end")

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._is_awaited = False
        self.end = monotonic() + _SECONDS

    async def take(self) -> None:
        """Wait for a turn of the loop, unless it had one since this was called last.

        An iterator that waited itself for what comes next need not wait once more.
        """
        if self._is_awaited:
            await asyncio.sleep(0)
        else:
            self._is_awaited = True
            self._loop.call_soon(self._note)
        self.end = monotonic() + _SECONDS

    def _note(self) -> None:
        self._is_awaited = False
