"""A load generator for large bodies: some connections, one request after another.

The job: ``path``, ``connections``, ``expected`` (bytes that an answer has at least),
and ``upload`` (bytes of a file that is sent in a form). Each answer is read to its end
and its bytes are counted. At least one answer each is fetched, and what has begun is
finished.
"""

import selectors
import socket
import time
from typing import Any

from testproject.bench.clients import talk

__all__ = ()

_CHUNK = 1024 * 1024
_PATIENCE = 120.0
_BOUNDARY = "boundary"


class Fetcher:
    """Fetches again and again.

    Args:
        job: what this process was told.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.seconds: float = job["seconds"]
        self.address = ("127.0.0.1", job["ports"][0])
        self.connections: int = job["connections"]
        self.expected: int = job["expected"]
        self.request = _request(job["path"], job.get("upload", 0))
        self.buffer = bytearray(_CHUNK)
        self.selector = selectors.DefaultSelector()

    def fetch(self) -> int:
        """Return how many answers came."""
        deadline = time.perf_counter() + self.seconds
        under_way = 0
        count = 0
        for _ in range(self.connections):
            self._begin()
            under_way += 1
        while under_way:
            ready = self.selector.select(_PATIENCE)
            if not ready:
                raise SystemExit(f"no byte for {_PATIENCE:g} s")
            for key, events in ready:
                exchange: _Exchange = key.data
                if events & selectors.EVENT_WRITE and not exchange.write():
                    self.selector.modify(key.fileobj, selectors.EVENT_READ, exchange)
                if not events & selectors.EVENT_READ or exchange.read(self.buffer):
                    continue
                self.selector.unregister(key.fileobj)
                exchange.check(self.expected)
                count += 1
                under_way -= 1
                if time.perf_counter() < deadline:
                    self._begin()
                    under_way += 1
        return count

    def _begin(self) -> None:
        exchange = _Exchange(self.address, self.request)
        events = selectors.EVENT_READ | selectors.EVENT_WRITE
        self.selector.register(exchange.socket, events, exchange)


class _Exchange:
    """One request and its answer, on a connection of its own."""

    def __init__(self, address: tuple[str, int], request: bytes) -> None:
        self.socket = socket.create_connection(address, _PATIENCE)
        self.socket.setblocking(False)
        self.rest = memoryview(request)
        self.head = b""
        self.size = 0

    def write(self) -> bool:
        """Send what the socket takes; return whether there is more."""
        try:
            self.rest = self.rest[self.socket.send(self.rest) :]
        except ConnectionError:
            # Refused before its end: the answer may be there all the same.
            return False
        return bool(self.rest)

    def read(self, buffer: bytearray) -> bool:
        """Take what came; return whether there may be more."""
        try:
            size = self.socket.recv_into(buffer)
        except ConnectionResetError:
            size = 0
        if len(self.head) < 4096:
            self.head += buffer[: min(size, 4096)]
        self.size += size
        if not size:
            self.socket.close()
        return bool(size)

    def check(self, expected: int) -> None:
        """See that it was a whole answer."""
        if b" 200 " not in self.head[:20] or self.size < expected:
            raise SystemExit(
                f"{self.size} bytes came, expected {expected}: {self.head[:500]!r}"
            )


def _request(path: str, upload: int) -> bytes:
    head = f" {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    if not upload:
        return f"GET{head}\r\n".encode()
    start = (
        f"--{_BOUNDARY}\r\nContent-Disposition: form-data; "
        'name="file"; filename="big"\r\nContent-Type: application/octet-stream\r\n\r\n'
    )
    body = start.encode() + b"x" * upload + f"\r\n--{_BOUNDARY}--\r\n".encode()
    head += f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\n"
    head += f"Content-Length: {len(body)}\r\n"
    return f"POST{head}\r\n".encode() + body


def main() -> None:
    """Do the job."""
    job = talk.job()
    talk.perform(0, Fetcher(job).fetch)


if __name__ == "__main__":
    main()
