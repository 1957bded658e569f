"""The request body: unread, arriving, or complete.

``IncomingBody`` is what ``request._stream`` is while the body still arrives. A
sync view reads it like a file, from its worker: each read that needs more waits
for the next event, so a slow handler slows the client down. An async view awaits
it. Buffering keeps small bodies in memory and spools large ones to
``FILE_UPLOAD_TEMP_DIR``, off the event loop.

Specification: ASGI HTTP 2.5, "Request - receive event".
"""

from __future__ import annotations

import asyncio
import io
import sys
import tempfile
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import IO, Any

from django.core.exceptions import RequestAborted, RequestDataTooBig

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.exceptions import BridgeError, ClientDisconnected
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.incoming import buffer_limit, check_message
from django_asgi_bridge.protocol.chunks import Chunks
from django_asgi_bridge.protocol.request import Refusal
from django_asgi_bridge.threads import run_apart
from django_asgi_bridge.types import Message, Receive

__all__ = (
    "BodyTimeout",
    "IncomingBody",
    "pieces_of",
    "spool",
)

PREFETCH_BYTES = 65536
"""Bytes that are there, unless the body is shorter, before a worker is leased."""


class BodyTimeout(BridgeError, TimeoutError):
    """No byte of the request body came for ``ASGI_BRIDGE["BODY_TIMEOUT"]`` seconds.

    The client gets a 408. If you see this often: clients are slow or gone, or a
    proxy in front holds uploads back.
    """


class IncomingBody:
    """A request body that is still arriving, with the interface of a binary file.

    Args:
        exchange: whose events bring the body.
        first: the bytes that were received already.
    """

    def __init__(self, exchange: Exchange, first: bytes = b"") -> None:
        self._exchange = exchange
        self._chunks = Chunks(first)
        self._file: IO[bytes] | None = None
        self.received = len(first)
        self.is_complete = False
        self.closed = False

    # The event loop's side.

    async def receive_chunk(self) -> bytes:
        """Wait for the next bytes; an empty result is the end of the body.

        Raises:
            BodyTimeout: nothing came in time.
            ClientDisconnected: the client left in mid-body.
            RequestDataTooBig: the body is over ``ASGI_BRIDGE["MAX_BODY_SIZE"]``.
        """
        exchange = self._exchange
        while not self.is_complete:
            message = await self._next_message()
            chunk: bytes = message.get("body", b"")
            if not message.get("more_body", False):
                self.is_complete = True
                exchange.body_arrived()
            self.received += len(chunk)
            self._check_total()
            if chunk:
                return chunk
        return b""

    async def prefetch(self) -> None:
        """Wait until the body is complete or its first part is there."""
        await self._receive_until(PREFETCH_BYTES)

    async def buffer(self, limit: int | None = None) -> None:
        """Wait for the whole body and make it a file that can be read and sought.

        Args:
            limit: bytes that the body may have.

        Raises:
            RequestDataTooBig: it has more; the rest was not received.
        """
        if self._file is not None:
            return
        self._check_limit(limit)
        self._file = await spool(self._pieces(limit))

    async def buffer_for_loop(self) -> None:
        """Buffer the body for code on the event loop, within the limit for that."""
        await self.buffer(buffer_limit(self._exchange.scope))

    async def next_chunk(self) -> bytes:
        """Return the next bytes of the body, empty at its end."""
        if self._chunks:
            return self._chunks.take(len(self._chunks))
        if self._file is not None:
            return await run_apart(self._file.read, PREFETCH_BYTES)
        return await self.receive_chunk()

    async def _receive_until(self, wanted: int) -> None:
        while len(self._chunks) < wanted and not self.is_complete:
            self._chunks.put(await self.receive_chunk())

    async def _pieces(self, limit: int | None) -> AsyncGenerator[bytes, None]:
        if self._chunks:
            yield self._chunks.take(len(self._chunks))
        while chunk := await self.receive_chunk():
            self._check_limit(limit)
            yield chunk

    async def _next_message(self) -> Message:
        exchange = self._exchange
        try:
            async with asyncio.timeout(exchange.config.body_timeout):
                message = await exchange.receive()
        except TimeoutError:
            reason = f"no body byte came within {exchange.config.body_timeout:g} s"
            exchange.refusal = Refusal(408, reason)
            raise BodyTimeout(reason) from None
        try:
            check_message(message)
        except RequestAborted:
            exchange.is_disconnected = True
            raise ClientDisconnected("the client left in mid-body") from None
        return message

    def _check_total(self) -> None:
        limit = self._exchange.config.max_body_size
        if limit is not None and self.received > limit:
            self._exchange.refusal = Refusal(
                413, f"the body is over ASGI_BRIDGE['MAX_BODY_SIZE'], {limit} bytes"
            )
            raise RequestDataTooBig(self._exchange.refusal.reason)

    def _check_limit(self, limit: int | None) -> None:
        if limit is not None and self.received > limit:
            raise RequestDataTooBig(
                "Request body exceeded settings.DATA_UPLOAD_MAX_MEMORY_SIZE."
            )

    # The view's side: a file.

    def fill(self, limit: int | None) -> None:
        """Buffer the whole body from a worker; see ``buffer``."""
        if self._file is None:
            self._require_worker("body")
            self._exchange.lease.call_async(self.buffer, limit)

    def read(self, size: int | None = -1) -> bytes:
        """Return ``size`` bytes, or all; fewer only at the end of the body."""
        if self._file is not None:
            return self._file.read(-1 if size is None else size)
        wanted = sys.maxsize if size is None or size < 0 else size
        self._pull(wanted)
        return self._chunks.take(wanted)

    def readline(self, size: int | None = -1) -> bytes:
        """Return one line with its end, or ``size`` bytes of it."""
        if self._file is not None:
            return self._file.readline(-1 if size is None else size)
        wanted = sys.maxsize if size is None or size < 0 else size
        searched = 0
        while not (end := self._chunks.line_end(searched)):
            searched = len(self._chunks)
            if searched >= wanted or not self._pull(searched + 1):
                end = searched
                break
        return self._chunks.take(min(wanted, end))

    def seekable(self) -> bool:
        """Tell whether the body is complete and buffered."""
        return self._file is not None

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move in a buffered body."""
        if self._file is None:
            raise io.UnsupportedOperation(
                "a request body that is still arriving cannot be sought"
            )
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return how many bytes were read."""
        if self._file is not None:
            return self._file.tell()
        return self.received - len(self._chunks)

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def is_on_disk(self) -> bool:
        """Tell whether it was spooled to a file on disk."""
        return self._file is not None and getattr(self._file, "_rolled", True)

    def close(self) -> None:
        """Drop what was buffered; the temporary file goes with it."""
        self.closed = True
        self._chunks.clear()
        if self._file is not None:
            self._file.close()

    def _pull(self, wanted: int) -> bool:
        """Wait until so many bytes are there, or all; tell whether any have come."""
        held = len(self._chunks)
        if held >= wanted or self.is_complete:
            return False
        self._require_worker("read()")
        self._exchange.lease.call_async(self._receive_until, wanted)
        return len(self._chunks) > held

    def _require_worker(self, what: str) -> None:
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        raise SynchronousBodyRead(
            f"request.{what} was used in an async view marked with @streams_body "
            "before the body had arrived; use 'await request.abody()' first, or "
            "'async for chunk in request.stream()'."
        )


class SynchronousBodyRead(BridgeError, RuntimeError):
    """A body that is still arriving was read synchronously on the event loop."""


async def spool(chunks: AsyncGenerator[bytes, None]) -> IO[bytes]:
    """Write chunks to a file in memory that rolls over to disk when it grows.

    The writes that touch the disk, the roll-over included, leave the event loop.
    """
    limit = settings.FILE_UPLOAD_MAX_MEMORY_SIZE
    file: Any = tempfile.SpooledTemporaryFile(  # noqa: SIM115 - the caller closes it
        max_size=limit, mode="w+b", dir=settings.FILE_UPLOAD_TEMP_DIR
    )
    size = 0
    try:
        async with aclosing(chunks):
            async for chunk in chunks:
                size += len(chunk)
                if limit and size > limit:
                    await run_apart(file.write, chunk)
                else:
                    file.write(chunk)
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file  # type: ignore[no-any-return]  # typeshed: not an IO


async def pieces_of(receive: Receive) -> AsyncGenerator[bytes, None]:
    """Yield the body chunks of a server's events until the last one."""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise RequestAborted
        if "body" in message:
            yield message["body"]
        if not message.get("more_body", False):
            return
