"""A load generator that holds event streams open, counts events and times them.

The job: ``path`` and ``streams``. An event says when it was made, by the clock of the
machine, so how long it was on its way is known. A server may hold fewer streams than
it is asked for: that is told, and no error.
"""

import selectors
import socket
import time
from typing import Any

from testproject.bench.clients import talk
from testproject.bench.processes import raise_file_limit

__all__ = ()

_CHUNK = 65536
_PATIENCE = 20.0
"""Seconds that a stream has until its first event is here."""


class Listener:
    """Event streams that are open.

    Args:
        job: what this process was told.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.seconds: float = job["seconds"]
        self.selector = selectors.DefaultSelector()
        self.late: list[float] = []
        request = (
            f"GET {job['path']} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "Accept: text/event-stream\r\n\r\n"
        ).encode()
        address = ("127.0.0.1", job["ports"][0])
        for number in range(job["streams"]):
            opened = socket.create_connection(address, _PATIENCE)
            opened.sendall(request)
            opened.setblocking(False)
            self.selector.register(opened, selectors.EVENT_READ, number)
        self.open = self._wait_for_first(job["streams"])

    def _wait_for_first(self, streams: int) -> int:
        silent = set(range(streams))
        deadline = time.monotonic() + _PATIENCE
        while silent and time.monotonic() < deadline:
            for key, _ in self.selector.select(1.0):
                chunk = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr] # a socket
                if not chunk or (chunk.startswith(b"HTTP") and b" 200 " not in chunk):
                    raise SystemExit(f"a stream was answered by {chunk[:500]!r}")
                if b"data:" in chunk:
                    silent.discard(key.data)
        return streams - len(silent)

    def listen(self) -> int:
        """Return how many events came."""
        count = 0
        deadline = time.perf_counter() + self.seconds
        while (left := deadline - time.perf_counter()) > 0:
            for key, _ in self.selector.select(left):
                chunk = key.fileobj.recv(_CHUNK)  # type: ignore[union-attr] # a socket
                if not chunk:
                    raise SystemExit("a stream ended")
                now = time.monotonic()
                for part in chunk.split(b"data: ")[1:]:
                    count += 1
                    made, newline, _ = part.partition(b"\n")
                    if newline:
                        self.late.append(now - float(made.strip(b'"')))
        return count

    def lateness(self) -> dict[str, float]:
        """Return the seconds that 99 of 100 events needed at most."""
        late = sorted(self.late)
        return {"late": late[int(len(late) * 0.99)] if late else 0.0}


def main() -> None:
    """Do the job."""
    raise_file_limit()
    listener = Listener(talk.job())
    talk.perform(listener.open, listener.listen, listener.lateness)


if __name__ == "__main__":
    main()
