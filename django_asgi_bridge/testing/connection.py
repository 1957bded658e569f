"""The server's half of one HTTP request: what it hands in, what it is sent.

Specification: ASGI HTTP 2.5.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from django_asgi_bridge.exceptions import ClientDisconnected
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("Connection",)


class Connection:
    """One request on its way through an application, in a task of its own.

    Args:
        scope: what the application is given.
        body: the request's body, or what gives it bit by bit.
        chunk_size: bytes of a body event.
        is_live: wait with each chunk of the response until the one before was taken,
            as a server does whose client reads slowly; else collect them.
    """

    def __init__(
        self,
        scope: Scope,
        body: bytes | AsyncIterator[bytes],
        *,
        chunk_size: int,
        is_live: bool = False,
    ) -> None:
        self.scope = scope
        self.is_live = is_live
        self.request: HttpRequest | None = None
        self.response: HttpResponseBase | None = None
        #: What the application sent, in its order; of a live body nothing is kept.
        self.events: list[Message] = []
        self.start: Message | None = None
        self.is_complete = False
        self._upload = None if isinstance(body, bytes) else body
        self._upload_error: Exception | None = None
        self._body: deque[Message] = deque()
        if isinstance(body, bytes):
            self._body.extend(_body_events(body, chunk_size))
        self._chunks: deque[bytes] = deque()
        self._changed = asyncio.Event()
        self._has_left = False
        self._has_raised = False
        self._listeners = 0
        self._task: asyncio.Task[None] | None = None

    # The client's side.

    def run(
        self, serve: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        """Start the application."""
        self._task = asyncio.create_task(serve(self.scope, self.receive, self.send))
        self._task.add_done_callback(lambda _: self._tell())
        return self._task

    async def wait_start(self) -> None:
        """Wait for the status and the headers.

        Raises:
            ClientDisconnected: the application ended without a response.
        """
        await self._wait_for(lambda: self.start is not None)
        if self.start is None:
            await self.wait_end()
            raise ClientDisconnected("the application ended without a response")

    async def next_chunk(self) -> bytes | None:
        """Wait for the next bytes of the response; ``None`` is its end.

        Raises:
            Exception: what the application raised in mid-response.
        """
        await self._wait_for(lambda: self._chunks or self.is_complete)
        if not self._chunks:
            if not self.is_complete:
                await self.wait_end()
            return None
        chunk = self._chunks.popleft()
        self._tell()
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the response as it arrives; whoever stops reading leaves."""
        try:
            while (chunk := await self.next_chunk()) is not None:
                yield chunk
        finally:
            await self.leave()

    def collected(self) -> bytes:
        """Return the body as far as it was not taken."""
        return b"".join(self._chunks)

    async def disconnect(self) -> None:
        """Leave; return when the application, if it listens, was told."""
        self._has_left = True
        self._tell()
        await self._wait_for(lambda: self._listeners == 0)

    async def leave(self) -> None:
        """Leave unless the response is complete, and wait for the application's end."""
        if not self.is_complete:
            await self.disconnect()
        await self.wait_end()

    async def abandon(self) -> None:
        """Leave and stop the application, as a server that is told to end at once."""
        self._has_left = True
        self._tell()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def wait_end(self) -> None:
        """Wait until the application has ended.

        Raises:
            Exception: what it raised, or what the request body's iterator raised;
                once.
        """
        if self._task is None:
            return
        try:
            await self._task
            if self._upload_error is not None:
                raise self._upload_error
        except Exception:
            # A test that has seen it once need not expect it again on its way out.
            if self._has_raised:
                return
            self._has_raised = True
            raise

    async def _wait_for(self, predicate: Callable[[], object]) -> None:
        """Wait until something is true, or the application has ended."""
        task = self._task
        if task is None:
            return
        try:
            await self._until(lambda: task.done() or predicate())
        except asyncio.CancelledError:
            await self.abandon()
            raise

    async def _until(self, predicate: Callable[[], object]) -> None:
        while not predicate():
            await self._changed.wait()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # The application's side.

    async def receive(self) -> Message:
        """Give the next event: the request body, then the client's leaving."""
        if not self._has_left and self._body:
            return self._body.popleft()
        self._listeners += 1
        try:
            if self._upload is not None and not self._has_left:
                message = await self._next_of_upload(self._upload)
                if message is not None:
                    return message
            await self._until(lambda: self._has_left)
        finally:
            self._listeners -= 1
            self._tell()
        return {"type": "http.disconnect"}

    async def _next_of_upload(self, upload: AsyncIterator[bytes]) -> Message | None:
        """Wait for a piece of the body, or for the client's leaving."""
        step = asyncio.ensure_future(_next_or_none(upload))
        step.add_done_callback(lambda _: self._tell())
        try:
            await self._until(lambda: step.done() or self._has_left)
            if self._has_left:
                return None
            chunk = step.result()
        except Exception as error:
            # The client breaks off when its own source does.
            self._upload_error = error
            self._has_left = True
            return None
        finally:
            step.cancel()
        if chunk is None:
            self._upload = None
        return {
            "type": "http.request",
            "body": chunk or b"",
            "more_body": chunk is not None,
        }

    async def send(self, message: Message) -> None:
        """Take an event; wait while the client has not read what is there."""
        is_body = message["type"] == "http.response.body"
        if not is_body or not self.is_live:
            self.events.append(message)
        if message["type"] == "http.response.start":
            self.start = message
        if is_body:
            await self._take_body(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
        self._tell()

    async def _take_body(self, chunk: bytes) -> None:
        if self.is_live and chunk:
            await self._until(lambda: not self._chunks or self._has_left)
        if chunk and not self._has_left:
            self._chunks.append(chunk)


def _body_events(body: bytes, chunk_size: int) -> list[Message]:
    """Cut a body into events; one without a body has one empty event."""
    starts = range(0, len(body), chunk_size) or range(1)
    return [
        {
            "type": "http.request",
            "body": body[start : start + chunk_size],
            "more_body": start + chunk_size < len(body),
        }
        for start in starts
    ]


async def _next_or_none(upload: AsyncIterator[bytes]) -> bytes | None:
    return await anext(upload, None)
