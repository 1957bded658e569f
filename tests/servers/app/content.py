"""Bytes that the site serves and the tests know."""

import os
from pathlib import Path

FILE_NAME = "download.bin"
FILE_TAG = '"the-download"'
FILE_SIZE = 300_000

LONG_REASON = "ü" * 61 + "."
"""123 bytes in UTF-8: what a close frame carries at most."""


def pattern(size: int) -> bytes:
    """Return bytes in which a lost, doubled or moved block shows."""
    words = b"".join(number.to_bytes(4, "big") for number in range(size // 4 + 1))
    return words[:size]


def file_content() -> bytes:
    """Return what the file to download holds."""
    return pattern(FILE_SIZE)


def site_directory() -> Path:
    """Return where the running site keeps its files."""
    return Path(os.environ["SITE_DIR"])
