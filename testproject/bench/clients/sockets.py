"""A load generator for WebSockets that writes prepared frames and counts bytes.

It parses no frame and makes no object per message: one thread waits for sockets with
``selectors``. That all came whole is checked once, before anything is measured, and
afterwards by the number of bytes.

The jobs: ``echo`` (each socket sends when its message came back), ``fan-out`` (one
socket sends when the last message reached all), ``connect`` (opens and closes).
"""

import selectors
import socket
import time
from collections.abc import Iterator
from typing import Any

from testproject.bench.clients import talk
from testproject.bench.clients.frames import (
    CLOSE,
    TEXT,
    client_frame,
    handshake,
    server_frame,
)
from testproject.bench.processes import raise_file_limit

__all__ = ()

_CHUNK = 65536
_PATIENCE = 120.0
"""Seconds that a message may take."""

_AT_ONCE = 64
"""Handshakes under way while sockets are opened."""


class Missing(SystemExit):
    """Something that had to come did not; its message is this process's last word."""


class Crowd:
    """WebSockets that are open.

    Args:
        job: what this process was told.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.seconds: float = job["seconds"]
        payload = job["message"].encode()
        self.frame = client_frame(TEXT, payload)
        self.reply = server_frame(TEXT, payload)
        self.sockets: list[socket.socket] = []
        self.selector = selectors.DefaultSelector()
        ports = job["ports"]
        todo = [ports[number % len(ports)] for number in range(job["sockets"])]
        for start in range(0, len(todo), _AT_ONCE):
            some = [
                _asked(port, job["path"], job.get("cookie", ""))
                for port in todo[start : start + _AT_ONCE]
            ]
            for each in some:
                _accepted(each)
            self.sockets += some
        for number, each in enumerate(self.sockets):
            self.selector.register(each, selectors.EVENT_READ, number)

    def check_echo(self) -> None:
        """See that each socket gets its own message back, to the byte."""
        for each in self.sockets:
            each.settimeout(_PATIENCE)
            each.sendall(self.frame)
            _expect(each, self.reply)
            each.setblocking(False)

    def check_fan_out(self) -> None:
        """See that a message reaches all, to the byte."""
        self.sockets[0].sendall(self.frame)
        for each in self.sockets:
            each.settimeout(_PATIENCE)
            _expect(each, self.reply)
            each.setblocking(False)

    def echo(self) -> int:
        """Return how many messages came back."""
        frame, size = self.frame, len(self.reply)
        sockets, select = self.sockets, self.selector.select
        missing = [size] * len(sockets)
        count = 0
        for each in sockets:
            each.send(frame)
        deadline = time.perf_counter() + self.seconds
        while time.perf_counter() < deadline:
            ready = select(_PATIENCE)
            if not ready:
                raise Missing(f"no answer for {_PATIENCE:g} s")
            for key, _ in ready:
                number = key.data
                each = sockets[number]
                got = len(each.recv(_CHUNK))
                if got == missing[number]:
                    missing[number] = size
                    count += 1
                    each.send(frame)
                elif 0 < got < missing[number]:
                    missing[number] -= got
                else:
                    raise Missing(f"socket {number} was closed, or got too much")
        return count

    def fan_out(self) -> int:
        """Return how many messages arrived; there is one round at least."""
        deadline = time.perf_counter() + self.seconds
        count = 0
        while True:
            self._round()
            count += len(self.sockets)
            if time.perf_counter() > deadline:
                return count

    def _round(self) -> None:
        sockets, select = self.sockets, self.selector.select
        expected = len(self.reply) * len(sockets)
        sockets[0].send(self.frame)
        while expected > 0:
            ready = select(_PATIENCE)
            if not ready:
                raise Missing(f"{expected // len(self.reply)} deliveries did not come")
            for key, _ in ready:
                got = len(sockets[key.data].recv(_CHUNK))
                if not got:
                    raise Missing(f"socket {key.data} was closed")
                expected -= got
        if expected:
            raise Missing(f"{-expected} bytes came that nobody waited for")

    def close(self) -> None:
        """Close all, as a client that leaves."""
        self.selector.close()
        farewell = client_frame(CLOSE, (1000).to_bytes(2, "big"))
        for each in self.sockets:
            each.setblocking(True)
            each.sendall(farewell)
        for each in self.sockets:
            each.settimeout(_PATIENCE)
            while each.recv(_CHUNK):
                pass
            each.close()


def _asked(port: int, path: str, cookie: str) -> socket.socket:
    opened = socket.create_connection(("127.0.0.1", port), _PATIENCE)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.sendall(handshake(port, path, cookie))
    return opened


def _accepted(opened: socket.socket) -> None:
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        # One byte at a time near the end would be exact; a server that speaks first
        # is not among the cases.
        chunk = opened.recv(_CHUNK)
        head += chunk
        if not chunk or len(head) > _CHUNK:
            break
    if not head.startswith(b"HTTP/1.1 101 ") or not head.endswith(b"\r\n\r\n"):
        raise Missing(f"the handshake was answered by {head[:200]!r}")
    opened.setblocking(False)


def _expect(opened: socket.socket, content: bytes) -> None:
    got = b""
    while len(got) < len(content):
        chunk = opened.recv(len(content) - len(got))
        if not chunk:
            break
        got += chunk
    if got != content:
        raise Missing(f"expected {content!r}, got {got!r}")


class Comers:
    """Connections that open a WebSocket, close it, and come again.

    Args:
        job: what this process was told.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.seconds: float = job["seconds"]
        self.address = ("127.0.0.1", job["ports"][0])
        self.slots: int = job["sockets"]
        self.request = handshake(self.address[1], job["path"], job.get("cookie", ""))
        self.farewell = client_frame(CLOSE, (1000).to_bytes(2, "big"))
        self.selector = selectors.DefaultSelector()

    def come_and_go(self) -> int:
        """Return how many WebSockets were opened and closed."""
        deadline = time.perf_counter() + self.seconds
        for _ in range(self.slots):
            self._come()
        count = 0
        while time.perf_counter() < deadline:
            ready = self.selector.select(_PATIENCE)
            if not ready:
                raise Missing(f"no answer for {_PATIENCE:g} s")
            for key, _ in ready:
                try:
                    next(key.data)
                except StopIteration:
                    self.selector.unregister(key.fileobj)
                    count += 1
                    self._come()
        return count

    def _come(self) -> None:
        opened = socket.create_connection(self.address, _PATIENCE)
        opened.sendall(self.request)
        visit = self._visit(opened)
        next(visit)
        self.selector.register(opened, selectors.EVENT_READ, visit)

    def _visit(self, opened: socket.socket) -> Iterator[None]:
        """Go one step on whenever something can be read."""
        yield
        _accepted(opened)
        opened.send(self.farewell)
        yield
        while opened.recv(_CHUNK):
            yield
        opened.close()


def main() -> None:
    """Do the job."""
    raise_file_limit()
    job = talk.job()
    if job["job"] == "connect":
        talk.perform(0, Comers(job).come_and_go)
        return
    crowd = Crowd(job)
    if job["job"] == "echo":
        crowd.check_echo()
        talk.perform(len(crowd.sockets), crowd.echo)
        return
    if job["job"] == "fan-out":
        crowd.check_fan_out()
        talk.perform(len(crowd.sockets), crowd.fan_out)
    else:
        talk.perform(len(crowd.sockets), lambda: 0)
    crowd.close()


if __name__ == "__main__":
    main()
