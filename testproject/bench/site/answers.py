"""What every peer answers with: the same bytes, rows and events."""

import os
import random
import time
from collections.abc import Iterator

__all__ = (
    "BIG",
    "CSV_ROWS",
    "EVENT_INTERVAL",
    "HELLO",
    "MESSAGE",
    "NUMBERS",
    "WAIT",
    "csv_blocks",
    "event_text",
    "file_path",
    "random_ids",
)

HELLO = b"Hello, world!"
MESSAGE = {"message": "Hello, world!"}
BIG = b"x" * 1024 * 1024
WAIT = 0.1
"""Seconds that a view of the waiting cases waits."""

EVENT_INTERVAL = 1.0
NUMBERS = 10_000
"""Rows of the table of numbers."""

CSV_ROWS = 100_000
_CSV_BLOCK = 100


def csv_blocks() -> Iterator[str]:
    """Give the rows of the CSV, a hundred at a time."""
    for start in range(0, CSV_ROWS, _CSV_BLOCK):
        yield "".join(
            f"{row},name {row},{row * 7 % 1000},2026-01-01\r\n"
            for row in range(start, start + _CSV_BLOCK)
        )


def event_text() -> str:
    """Return what an event says: when it was made, by a clock of the machine."""
    return f"{time.monotonic():.6f}"


def file_path() -> str:
    """Return the path of the file to download."""
    return os.environ["BENCH_FILE"]


def random_ids(count: int) -> list[int]:
    """Return the keys of some numbers."""
    return random.choices(range(1, NUMBERS + 1), k=count)
