"""When requests that wait for their worker begin to watch for their client leaving.

Most such waits are over in a moment, long before a watch is of any use; but a watch is
a task, which asks the server for an event and has to be ended again. So it starts for
those that still wait after 10 to 20 ms, by one timer for all requests of an event loop.
"""

import asyncio
import threading
from typing import Final, Protocol

__all__ = ("TURN_SECONDS", "watch_later")

TURN_SECONDS: Final = 0.01
"""A request is watched at the second turn that it sees; turns come so often."""


class _Watched(Protocol):
    """A request whose client may leave."""

    def start_listening(self) -> None:
        """Watch, unless the request is over or is watched already."""


class _Lookout:
    """The requests of one event loop that are not watched yet."""

    __slots__ = ("_last", "_new", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._new: list[_Watched] = []
        self._last: list[_Watched] = []

    def add(self, request: _Watched) -> None:
        if not self._new and not self._last:
            self.loop.call_later(TURN_SECONDS, self._turn)
        self._new.append(request)

    def _turn(self) -> None:
        due, self._last, self._new = self._last, self._new, []
        for request in due:
            request.start_listening()
        if self._last:
            self.loop.call_later(TURN_SECONDS, self._turn)


def watch_later(request: _Watched) -> None:
    """Let a request watch for its client when it has waited for a while."""
    loop = asyncio.get_running_loop()
    lookout: _Lookout | None = getattr(_here, "lookout", None)
    if lookout is None or lookout.loop is not loop:
        lookout = _here.lookout = _Lookout(loop)
    lookout.add(request)


_here = threading.local()
