"""What a Range header asks for: the bytes of a file that are to be sent.

Several ranges in one header are answered with the whole file.

Specification: RFC 9110 section 14.
"""

from __future__ import annotations

import enum
import re
from typing import Final

__all__ = ("Unsatisfiable", "parse_range")

# RFC 9110 14.1: unit names are case-insensitive. 100 digits bound int()'s work.
_RANGE: Final = re.compile(
    r"bytes=([0-9]{0,100})-([0-9]{0,100})", re.IGNORECASE | re.ASCII
)


class Unsatisfiable(enum.Enum):
    """What ``parse_range`` answers when no byte of the range exists: status 416."""

    RANGE = 416


def parse_range(header: str, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """Read a Range header that asks for one range (RFC 9110 14).

    Args:
        header: The value, for example ``bytes=0-99``.
        size: Bytes that the whole representation has.

    Returns:
        Start and stop (past the last byte), or None when the header is to be
        ignored: malformed, another unit, several ranges, or nothing to cut from.
        ``Unsatisfiable.RANGE`` when the range holds none of the bytes there are.
    """
    found = _RANGE.fullmatch(header)
    if found is None or size == 0:
        # Nothing of an empty file fits a Content-Range; it is sent whole.
        return None
    first, last = found.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    if last and int(last) < start:
        return None
    if start >= size:
        return Unsatisfiable.RANGE
    return start, min(int(last) + 1, size) if last else size


def _suffix(length: str, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """Read the range of the last ``length`` bytes."""
    if not length:
        return None
    count = int(length)
    return (max(size - count, 0), size) if count else Unsatisfiable.RANGE
