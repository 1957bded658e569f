"""Bytes that come in chunks and are read like a file, each of them copied once.

A chunk is kept as it came, and a read takes its part of it. One ``bytearray`` for all
would be shorter code, and would copy each byte three times: when it comes, and twice
when it is taken out at the front.
"""

from __future__ import annotations

from collections import deque

__all__ = ("Chunks",)

_SMALL = 4096
"""Bytes below which chunks are put together: an object of its own costs memory."""


class Chunks:
    """A queue of bytes; ``len()`` tells how many there are.

    Args:
        first: the bytes that it begins with.
    """

    __slots__ = ("_chunks", "_size", "_start")

    def __init__(self, first: bytes = b"") -> None:
        self._chunks: deque[bytes | bytearray] = deque()
        self._size = 0
        # Bytes of the first chunk that were taken.
        self._start = 0
        if first:
            self.put(first)

    def __len__(self) -> int:
        return self._size

    def put(self, chunk: bytes) -> None:
        """Add bytes at the end."""
        size = len(chunk)
        self._size += size
        chunks = self._chunks
        if size >= _SMALL:
            # A server may give what it changes later.
            chunks.append(chunk if type(chunk) is bytes else bytes(chunk))
        elif chunks and type(chunks[-1]) is bytearray and len(chunks[-1]) < _SMALL:
            chunks[-1] += chunk
        else:
            chunks.append(bytearray(chunk))

    def take(self, size: int) -> bytes:
        """Remove and return ``size`` bytes from the front, or all that there are."""
        size = min(size, self._size)
        if not size:
            return b""
        self._size -= size
        chunks, start = self._chunks, self._start
        end = start + size
        first = chunks[0]
        if end < len(first):
            self._start = end
            part = first[start:end]
            return part if type(part) is bytes else bytes(part)
        self._start = 0
        return b"".join(self._parts(start, end))

    def line_end(self, start: int = 0) -> int:
        """Return how many bytes there are up to the first line's end, 0 if it is not here.

        Args:
            start: bytes at the front that are known to have none.
        """
        passed = -self._start
        for chunk in self._chunks:
            place = chunk.find(b"\n", max(0, start - passed))
            if place >= 0:
                return passed + place + 1
            passed += len(chunk)
        return 0

    def clear(self) -> None:
        """Drop all bytes."""
        self._chunks.clear()
        self._size = self._start = 0

    def _parts(self, start: int, end: int) -> list[bytes | bytearray | memoryview]:
        """Remove the bytes between two places, counted from the first chunk's start."""
        chunks = self._chunks
        parts: list[bytes | bytearray | memoryview] = []
        while end:
            chunk = chunks[0]
            if end < len(chunk):
                parts.append(memoryview(chunk)[:end])
                self._start = end
                break
            chunks.popleft()
            parts.append(memoryview(chunk)[start:] if start else chunk)
            start, end = 0, end - len(chunk)
        return parts
