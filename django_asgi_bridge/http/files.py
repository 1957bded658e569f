"""File responses: ranges, and the cheapest way from the disk to the client.

Where the server sends files itself (``http.response.pathsend``,
``http.response.zerocopysend``) it is told which; otherwise the file is read block
by block on a worker, which is free between the blocks.

Specification: RFC 9110 section 14 (ranges) and 13.1.5 (If-Range); ASGI extensions
"Path Send" and "Zero Copy Send".
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any, Self

from django.http.response import FileResponse
from django.utils.http import parse_http_date_safe

from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.protocol.ranges import Unsatisfiable, parse_range
from django_asgi_bridge.protocol.response import BadResponse
from django_asgi_bridge.threads import PINS_NOTHING

__all__ = ("FileSender",)

BLOCK_BYTES = 65536
"""Bytes of one body event."""

BLOCKS_PER_TRIP = 4
"""Blocks that are read in one trip to a worker."""

# What FileResponse makes of a file-like object.
_FILE_ITERATOR = type(iter(lambda: b"", b""))


class FileSender:
    """Sends the file of one ``FileResponse``.

    Use ``of()``: a response whose file was replaced by middleware has none.
    """

    def __init__(self, response: Any, exchange: Exchange) -> None:
        self._response = response
        self._exchange = exchange
        self._file: Any = response.file_to_stream
        self._offset = 0
        self._count: int | None = None
        self._extension: str | None = None
        self._path = ""

    @classmethod
    def of(cls, response: Response, exchange: Exchange) -> Self | None:
        """Return a sender if ``response`` still streams its own file."""
        if not isinstance(response, FileResponse) or response.is_async:
            return None
        if getattr(response, "file_to_stream", None) is None:
            return None
        if not isinstance(vars(response)["_iterator"], _FILE_ITERATOR):
            return None
        return cls(response, exchange)

    async def prepare(self) -> None:
        """Look at the file and at the request's range; set status and headers."""
        await self._exchange.lease.run(self._prepare, pins=PINS_NOTHING)

    async def send(self) -> dict[str, Any]:
        """Send the body's events but the last; return that one."""
        if self._extension == "http.response.pathsend":
            return {"type": "http.response.pathsend", "path": self._path}
        if self._extension == "http.response.zerocopysend":
            return {
                "type": "http.response.zerocopysend",
                "file": self._file.fileno(),
                "offset": self._offset,
                "count": self._count,
                "more_body": False,
            }
        exchange = self._exchange
        while not exchange.is_disconnected:
            blocks = await exchange.lease.run(self._read, pins=PINS_NOTHING)
            for block in blocks:
                await exchange.send(
                    {"type": "http.response.body", "body": block, "more_body": True},
                    True,
                )
            if len(blocks) < BLOCKS_PER_TRIP:
                break
        return {"type": "http.response.body"}

    # On a worker.

    def _prepare(self) -> None:
        # Reading needs no thread of its own: the worker is free between blocks.
        self._exchange.lease.go_per_call()
        response, file = self._response, self._file
        length = response.headers.get("Content-Length", "")
        self._count = int(length) if str(length).isdecimal() else None
        is_seekable = hasattr(file, "seek") and (
            not hasattr(file, "seekable") or file.seekable()
        )
        if self._count is not None and is_seekable and hasattr(file, "tell"):
            self._offset = file.tell()
            if response.status_code == 200 and "Content-Encoding" not in response:
                self._apply_range(self._count)
        self._choose_extension()

    def _apply_range(self, size: int) -> None:
        request: Any = self._exchange.request
        response = self._response
        header = None if request is None else request.headers.get("Range")
        if not header or request.method != "GET":
            return
        response.headers.setdefault("Accept-Ranges", "bytes")
        if not self._if_range_holds(request):
            return
        span = parse_range(header, size)
        if span is None:
            return
        if isinstance(span, Unsatisfiable):
            response.status_code = 416
            response.headers["Content-Range"] = f"bytes */{size}"
            response.headers["Content-Length"] = "0"
            self._count = 0
            return
        start, stop = span
        response.status_code = 206
        response.headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        response.headers["Content-Length"] = str(stop - start)
        self._offset += start
        self._count = stop - start
        self._file.seek(self._offset)

    def _if_range_holds(self, request: Any) -> bool:
        condition = request.headers.get("If-Range")
        if condition is None:
            return True
        etag = self._response.headers.get("ETag", "")
        if condition.startswith(('"', "W/")):
            # RFC 9110 section 13.1.5: the comparison is strong.
            return bool(condition == etag and not etag.startswith("W/"))
        modified = self._response.headers.get("Last-Modified")
        date = parse_http_date_safe(condition)
        return modified is not None and date == parse_http_date_safe(modified)

    def _choose_extension(self) -> None:
        offered = self._exchange.scope.get("extensions") or {}
        if not offered or self._count is None or not hasattr(self._file, "fileno"):
            return
        try:
            status = os.fstat(self._file.fileno())
        except (OSError, ValueError):
            return
        if not stat.S_ISREG(status.st_mode):
            return
        name = getattr(self._file, "name", None)
        is_whole = self._offset == 0 and self._count == status.st_size
        if "http.response.pathsend" in offered and is_whole and isinstance(name, str):
            path = str(Path(name).absolute())
            if _is_same_file(path, status):
                self._extension, self._path = "http.response.pathsend", path
                return
        if "http.response.zerocopysend" in offered:
            self._extension = "http.response.zerocopysend"

    def _read(self) -> list[bytes]:
        """Read the next blocks; fewer than ``BLOCKS_PER_TRIP`` at the end."""
        blocks: list[bytes] = []
        while len(blocks) < BLOCKS_PER_TRIP:
            wanted = BLOCK_BYTES
            if self._count is not None:
                wanted = min(wanted, self._count)
            block: bytes = self._file.read(wanted) if wanted else b""
            if not block:
                if self._count:
                    raise BadResponse(
                        f"the file {getattr(self._file, 'name', self._file)!r} ended "
                        f"{self._count} bytes before its announced length"
                    )
                break
            blocks.append(block)
            if self._count is not None:
                self._count -= len(block)
        return blocks


def _is_same_file(path: str, status: os.stat_result) -> bool:
    """Tell whether ``path`` still names the open file."""
    try:
        named = Path(path).stat()
    except OSError:
        return False
    return os.path.samestat(named, status)
