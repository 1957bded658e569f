"""The bytes of WebSocket frames, as a client writes them and counts them (RFC 6455)."""

import base64
import os

__all__ = ("CLOSE", "TEXT", "client_frame", "handshake", "server_frame")

TEXT = 0x1
CLOSE = 0x8


def client_frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole message in one masked frame."""
    key = os.urandom(4)
    keys = key * (len(payload) // 4 + 1)
    masked = bytes(byte ^ mask for byte, mask in zip(payload, keys, strict=False))
    return _head(opcode, len(payload), 0x80) + key + masked


def server_frame(opcode: int, payload: bytes) -> bytes:
    """Return the frame that a server sends for a message that is not compressed."""
    return _head(opcode, len(payload), 0) + payload


def _head(opcode: int, length: int, mask: int) -> bytes:
    first = bytes((0x80 | opcode,))
    if length < 126:
        return first + bytes((mask | length,))
    if length < 65536:
        return first + bytes((mask | 126,)) + length.to_bytes(2, "big")
    return first + bytes((mask | 127,)) + length.to_bytes(8, "big")


def handshake(port: int, path: str, cookie: str = "") -> bytes:
    """Return the request that opens a WebSocket; no extension is offered."""
    lines = [
        f"GET {path} HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        f"Origin: http://127.0.0.1:{port}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
        "Sec-WebSocket-Version: 13",
    ]
    if cookie:
        lines.append(f"Cookie: {cookie}")
    return "\r\n".join([*lines, "", ""]).encode()
