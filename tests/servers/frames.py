"""WebSocket frames, byte by byte, for what a client library would not send."""

import struct

from tests.servers.wire import Connection, Headers, WireError

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA


def ask(connection: Connection, path: str, headers: Headers = ()) -> None:
    """Ask for a WebSocket; the caller reads the answer."""
    upgrade = [
        ("Connection", "Upgrade"),
        ("Upgrade", "websocket"),
        ("Sec-WebSocket-Version", "13"),
        ("Sec-WebSocket-Key", KEY),
    ]
    host = "{}:{}".format(*connection.socket.getpeername()[:2])
    connection.send_head("GET", path, [*upgrade, *headers], host)


def encode(opcode: int, payload: bytes) -> bytes:
    """Return a whole message in one frame, as RFC 6455 section 5.2 writes it.

    Its mask is zero, which is as good as any other.
    """
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def read(connection: Connection) -> tuple[int, bytes]:
    """Return opcode and payload of the server's next frame, which is a whole one."""
    first, size = connection.read_exactly(2)
    if first & 0xF0 != 0x80 or size & 0x80:
        raise WireError(f"not a whole, plain frame: {first:#x} {size:#x}")
    if size == 126:
        (size,) = struct.unpack("!H", connection.read_exactly(2))
    elif size == 127:
        (size,) = struct.unpack("!Q", connection.read_exactly(8))
    return first & 0x0F, connection.read_exactly(size)


def read_close(connection: Connection) -> tuple[int | None, str]:
    """Return code and reason of the server's close frame; others are left out."""
    while (received := read(connection))[0] != CLOSE:
        pass
    payload = received[1]
    if not payload:
        return None, ""
    return struct.unpack("!H", payload[:2])[0], payload[2:].decode("utf-8")
