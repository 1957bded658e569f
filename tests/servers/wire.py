"""An HTTP/1.1 client in which every byte counts.

It sends what it is told, well-formed or not, and reads answers strictly: what a
browser would forgive is an error here. It never follows, retries or decodes.
"""

import re
import select
import socket
import ssl
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Self

PATIENCE = 10.0
"""Seconds without a byte after which a read gives up."""

STATUS_LINE = re.compile(
    rb"HTTP/1\.[01] (?P<status>[1-9]\d\d)(?: (?P<reason>[^\r\n]*))?"
)
FIELD_LINE = re.compile(
    rb"(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*(?P<value>[^\x00-\x08\x0a-\x1f\x7f]*?)[ \t]*"
)


class WireError(Exception):
    """The server sent what is not HTTP, or ended the connection too early."""


class SilenceError(WireError):
    """The server sent nothing for too long."""


HostPort = tuple[str, int]
Headers = Iterable[tuple[str, str | bytes]]


@dataclass
class Head:
    """A status line and its header lines, in order, in the case that was sent."""

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)

    def all(self, name: str) -> list[str]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def __getitem__(self, name: str) -> str:
        values = self.all(name)
        if len(values) != 1:
            raise WireError(f"header {name!r} sent {len(values)} times: {self!r}")
        return values[0]

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))


@dataclass
class Response(Head):
    """A whole answer."""

    body: bytes = b""
    interim: list[Head] = field(default_factory=list)

    def json(self) -> dict:
        """Return the body as the object that a view has seen."""
        import json

        if self.status != 200:
            raise WireError(f"status {self.status}, expected 200: {self.body[:300]!r}")
        return json.loads(self.body)


class Connection:
    """One connection to a server."""

    def __init__(
        self,
        address: HostPort,
        *,
        tls: ssl.SSLContext | None = None,
        patience: float = PATIENCE,
    ) -> None:
        raw = socket.create_connection(address, timeout=patience)
        raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket = tls.wrap_socket(raw, server_hostname="localhost") if tls else raw
        self.local_port = (
            raw.getsockname()[1] if tls is None else self.socket.getsockname()[1]
        )
        self.buffer = b""
        self.method = "GET"
        self.head: Head | None = None
        self.interim: list[Head] = []
        self.must_close = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.socket.close()

    def leave(self, *, abruptly: bool) -> None:
        """Close the connection, with RST in place of FIN when abruptly."""
        if abruptly:
            linger = struct.pack("ii", 1, 0)
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    # Sending

    def send(self, wire_bytes: bytes) -> None:
        """Send bytes as they are."""
        self.socket.sendall(wire_bytes)

    def send_until_answered(self, wire_bytes: bytes) -> None:
        """Send as a careful client does: stop when the server answers or closes."""
        rest = memoryview(wire_bytes)
        while rest:
            readable, writable, _ = select.select(
                [self.socket], [self.socket], [], PATIENCE
            )
            if readable or not writable:
                return
            try:
                rest = rest[self.socket.send(rest[:65536]) :]
            except ConnectionError:
                return

    def send_head(
        self,
        method: str,
        target: str | bytes,
        headers: Headers = (),
        host: str = "testsite",
    ) -> None:
        """Send the head of a request; the caller sends the body."""
        self.method = method
        self.send(request_head(method, target, headers, host=host))

    def request(
        self,
        method: str,
        target: str | bytes,
        headers: Headers = (),
        body: bytes | None = None,
    ) -> Response:
        """Send a request with its Content-Length and read the answer."""
        sent = list(headers)
        if body is not None:
            sent.append(("Content-Length", str(len(body))))
        self.method = method
        self.send(request_head(method, target, sent))
        # A server may refuse a large body, and close, before it is all sent.
        self.send_until_answered(body or b"")
        return self.read_response()

    def get(self, target: str | bytes, headers: Headers = ()) -> Response:
        """Send a GET request and read the answer."""
        return self.request("GET", target, headers)

    # Receiving

    def fill(self) -> bool:
        """Receive more; false at the end of the connection."""
        try:
            received = self.socket.recv(262144)
        except TimeoutError as exc:
            raise SilenceError(
                f"nothing came; {self.buffer[:200]!r} is unread"
            ) from exc
        except (ConnectionError, ssl.SSLError) as exc:
            raise WireError(
                f"connection lost; {self.buffer[:200]!r} is unread"
            ) from exc
        self.buffer += received
        return bool(received)

    def need(self) -> None:
        """Receive more, which must come."""
        if not self.fill():
            raise WireError(f"connection ended early after {self.buffer[:200]!r}")

    def read_line(self) -> bytes:
        """Return the next line without its CRLF."""
        while b"\r\n" not in self.buffer:
            self.need()
        line, self.buffer = self.buffer.split(b"\r\n", 1)
        return line

    def read_exactly(self, size: int) -> bytes:
        """Return the next bytes."""
        pieces = []
        while size:
            if not self.buffer:
                self.need()
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def read_any_head(self) -> Head:
        """Return the next head, be it interim or final."""
        line = self.read_line()
        match = STATUS_LINE.fullmatch(line)
        if match is None:
            raise WireError(f"not a status line: {line!r}")
        head = Head(int(match["status"]))
        while line := self.read_line():
            match = FIELD_LINE.fullmatch(line)
            if match is None:
                raise WireError(f"not a header line: {line!r}")
            name, value = (
                match["name"].decode("ascii"),
                match["value"].decode("latin-1"),
            )
            head.headers.append((name, value))
        return head

    def read_head(self) -> Head:
        """Return the next final head; interim ones are kept in `interim`."""
        self.interim = []
        while (head := self.read_any_head()).status < 200:
            self.interim.append(head)
        self.head = head
        options = ",".join(head.all("connection")).lower()
        self.must_close = "close" in options
        return head

    def read_chunk(self) -> bytes:
        """Return the next chunk of a chunked body, `b""` after the last one."""
        line = self.read_line()
        if re.fullmatch(rb"[0-9A-Fa-f]+", line) is None:
            raise WireError(f"not a chunk size: {line!r}")
        chunk = self.read_exactly(int(line, 16))
        if self.read_line() != b"":
            raise WireError("a chunk is longer than its size")
        return chunk

    def read_body(self, head: Head) -> bytes:
        """Return the body that belongs to a head."""
        if self.method == "HEAD" or head.status in {204, 304}:
            return b""
        if "transfer-encoding" in head:
            if (
                head["transfer-encoding"].lower() != "chunked"
                or "content-length" in head
            ):
                raise WireError(f"framing is not clear: {head!r}")
            return b"".join(iter(self.read_chunk, b""))
        if "content-length" in head:
            return self.read_exactly(int(head["content-length"]))
        self.must_close = True
        while self.fill():
            pass
        body, self.buffer = self.buffer, b""
        return body

    def read_response(self) -> Response:
        """Return the next answer."""
        head = self.read_head()
        interim = self.interim
        return Response(head.status, head.headers, self.read_body(head), interim)

    def read_pieces(self, head: Head) -> Iterator[bytes]:
        """Yield the pieces of a streamed body as they arrive, until its end."""
        if "transfer-encoding" in head:
            yield from iter(self.read_chunk, b"")
            return
        while self.buffer or self.fill():
            piece, self.buffer = self.buffer, b""
            yield piece

    def is_ended(self) -> bool:
        """Wait for the end of the connection; false when bytes come instead."""
        return not self.buffer and not self.fill()


def request_head(
    method: str, target: str | bytes, headers: Headers = (), host: str = "testsite"
) -> bytes:
    """Return the bytes of a request's head."""
    target = target if isinstance(target, bytes) else target.encode("ascii")
    lines = [b"%s %s HTTP/1.1" % (method.encode("ascii"), target)]
    lines.append(b"Host: %s" % host.encode("latin-1"))
    for name, value in headers:
        octets = value if isinstance(value, bytes) else value.encode("latin-1")
        lines.append(b"%s: %s" % (name.encode("latin-1"), octets))
    return b"\r\n".join(lines) + b"\r\n\r\n"
