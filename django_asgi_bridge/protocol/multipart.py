"""The edges of a multipart body: what comes before its first part and after its last.

Specification: RFC 2046 section 5.1.1: preamble and epilogue are to be ignored. They
have no use in forms, and a parser reads through all of them.
"""

from enum import Enum

__all__ = ("FormEdges",)


class _Place(Enum):
    BEFORE = "the preamble of the multipart body, before its first part"
    INSIDE = "its parts"
    AFTER = "the epilogue of the multipart body, after its last part"


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
        whole = self._tail + chunk
        place = whole.find(wanted)
        if place >= 0:
            return place, whole[place + len(wanted) :]
        self._tail = whole[-(len(wanted) - 1) :]
        self._edge += len(whole) - len(self._tail)
        return None

    def _count(self, place: _Place, size: int) -> str | None:
        if size <= self._limit:
            return None
        return f"{place.value}, is longer than {self._limit} bytes"
