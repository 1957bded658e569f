"""The edges of a multipart body: what comes before its first part and after its last.

Specification: RFC 2046 section 5.1.1: preamble and epilogue are to be ignored. They
have no use in forms, and a parser reads through all of them.
"""

from __future__ import annotations

from enum import Enum

__all__ = ("FormEdges",)


class _Place(Enum):
    BEFORE = "the preamble of the multipart body, before its first part"
    INSIDE = "its parts"
    AFTER = "the epilogue of the multipart body, after its last part"


_PROBE_BYTES = 16
"""The end of a delimiter that is looked for first. The time for a byte of hostile
data grows with it."""


class FormEdges:
    """Watches the bytes of a multipart body go by, in order.

    Args:
        boundary: as the Content-Type names it.
        limit: bytes that the preamble may have, and the epilogue.
    """

    __slots__ = ("_delimiter", "_edge", "_limit", "_place", "_tail")

    def __init__(self, boundary: bytes, *, limit: int) -> None:
        self._delimiter = b"--" + boundary
        self._limit = limit
        self._place = _Place.BEFORE
        # Bytes of the edge that went by.
        self._edge = 0
        # The end of what went by: a delimiter may be cut in two.
        self._tail = b""

    def excess(self, chunk: bytes) -> str | None:
        """Look at the next bytes; tell what is wrong with them, if anything."""
        place = self._place
        if place is _Place.BEFORE:
            found = self._split(chunk, self._delimiter)
            if found is None:
                return self._count(place, self._edge)
            before, chunk = found
            if excess := self._count(place, self._edge + before):
                return excess
            self._place = place = _Place.INSIDE
            self._edge = 0
            # The first delimiter may be the last one too.
            self._tail = self._delimiter
        if place is _Place.INSIDE:
            found = self._split(chunk, self._delimiter + b"--")
            if found is None:
                return None
            _, chunk = found
            self._place = place = _Place.AFTER
            self._edge = 0
        self._edge += len(chunk)
        return self._count(place, self._edge)

    def _split(self, chunk: bytes, wanted: bytes) -> tuple[int, bytes] | None:
        """Look for ``wanted``: how many new bytes are before it, and what follows."""
        tail = self._tail
        kept = len(wanted) - 1
        # The seam, and then the chunk itself: to put both together would copy it.
        place = (tail + chunk[:kept]).find(wanted) if tail else -1
        if place < 0 and (within := _place_of(wanted, chunk)) >= 0:
            place = len(tail) + within
        if place >= 0:
            return place, chunk[place + len(wanted) - len(tail) :]
        size = len(tail) + len(chunk)
        self._tail = chunk[-kept:] if len(chunk) >= kept else (tail + chunk)[-kept:]
        self._edge += size - len(self._tail)
        return None

    def _count(self, place: _Place, size: int) -> str | None:
        if size <= self._limit:
            return None
        return f"{place.value}, is longer than {self._limit} bytes"


def _place_of(wanted: bytes, chunk: bytes) -> int:
    """Return where ``wanted`` first is in ``chunk``; -1 if it is not, the usual case.

    CPython's ``rfind`` jumps over most of the bytes, and takes a third of the time that
    ``find`` does; but its worst case is the product of both lengths, and a client chooses
    the delimiter. So it gets a few bytes of it.
    """
    if chunk.rfind(wanted[-_PROBE_BYTES:]) < 0:
        return -1
    return chunk.find(wanted)
