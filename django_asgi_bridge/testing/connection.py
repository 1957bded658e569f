"""The server's half of one HTTP request: what it hands in, what it is sent.

Specification: ASGI HTTP 2.5.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
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
        body: the request body's chunks; the last one ends the body.
        is_live: wait with each chunk of the response until the last one was taken,
            as a server does whose client reads slowly; else collect them.
    """

    def __init__(
        self, scope: Scope, body: AsyncIterator[bytes], *, is_live: bool = False
    ) -> None:
        self.scope = scope
        self.is_live = is_live
        self.request: HttpRequest | None = None
        self.response: HttpResponseBase | None = None
        #: Every event of the application, in order; bodies of a live one excepted.
        self.events: list[Message] = []
        self.start: Message | None = None
        self.is_complete = False
        self._body = body
        self._ahead: bytes | None = None
        self._is_body_sent = False
        self._chunks: deque[bytes] = deque()
        self._has_left = asyncio.Event()
        self._changed = asyncio.Condition()
        self._listeners = 0
        self._upload_error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None

    # The client's side.

    def run(
        self, serve: Callable[[Scope, Receive, Send], Coroutine[Any, Any, None]]
    ) -> "asyncio.Task[None]":
        """Start the application."""
        self._task = asyncio.create_task(serve(self.scope, self.receive, self.send))
        self._task.add_done_callback(lambda _: self._has_left.set())
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
        await self._tell()
        return chunk

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the response as it arrives; whoever stops reading leaves."""
        try:
            while (chunk := await self.next_chunk()) is not None:
                yield chunk
        finally:
            await self.leave()

    async def disconnect(self) -> None:
        """Leave; return when the application, if it listens, was told."""
        self._has_left.set()
        await self._tell()
        await self._wait_for(lambda: self._listeners == 0)

    async def leave(self) -> None:
        """Leave unless the response is complete, and wait for the application's end."""
        if not self.is_complete:
            await self.disconnect()
        await self.wait_end()

    async def wait_end(self) -> None:
        """Wait until the application has ended.

        Raises:
            Exception: what it raised, or what the request body's iterator raised.
        """
        if self._task is not None:
            try:
                await self._task
            except BaseException:
                self._task.cancel()
                with suppress(BaseException):
                    await self._task
                raise
        if self._upload_error is not None:
            raise self._upload_error

    async def _wait_for(self, predicate: Callable[[], object]) -> None:
        """Wait until something is true, or the application has ended."""
        task = self._task
        if task is None or task.done() or predicate():
            return
        waiting = asyncio.ensure_future(self._until(predicate))
        try:
            await asyncio.wait({waiting, task}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            waiting.cancel()

    async def _until(self, predicate: Callable[[], object]) -> None:
        async with self._changed:
            await self._changed.wait_for(predicate)

    async def _tell(self) -> None:
        async with self._changed:
            self._changed.notify_all()

    # The application's side.

    async def receive(self) -> Message:
        """Give the next event: the request body, then the client's leaving."""
        if not self._has_left.is_set() and not self._is_body_sent:
            message = await self._next_of_body()
            if message is not None:
                return message
        self._listeners += 1
        try:
            await self._has_left.wait()
        finally:
            self._listeners -= 1
            await self._tell()
        return {"type": "http.disconnect"}

    async def _next_of_body(self) -> Message | None:
        if self._ahead is None:
            self._ahead = await self._next_piece()
        if self._has_left.is_set():
            return None
        following = await self._next_piece() if self._ahead is not None else None
        if self._has_left.is_set():
            return None
        chunk, self._ahead = self._ahead, following
        self._is_body_sent = following is None
        return {
            "type": "http.request",
            "body": chunk or b"",
            "more_body": not self._is_body_sent,
        }

    async def _next_piece(self) -> bytes | None:
        """Wait for a piece of the upload, or for the client's leaving."""
        step = asyncio.ensure_future(_next_of(self._body))
        left = asyncio.ensure_future(self._has_left.wait())
        try:
            await asyncio.wait({step, left}, return_when=asyncio.FIRST_COMPLETED)
            if not step.done():
                return None
            return step.result()
        except Exception as error:
            self._upload_error = error
            self._has_left.set()
            return None
        finally:
            step.cancel()
            left.cancel()

    async def send(self, message: Message) -> None:
        """Take an event; wait while the client has not read what is there."""
        kind = message["type"]
        if kind != "http.response.body":
            self.events.append(message)
            if kind == "http.response.start":
                self.start = message
                await self._tell()
            return
        chunk = message.get("body", b"")
        if not self.is_live:
            self.events.append(message)
        elif chunk and self._chunks:
            await self._until(lambda: not self._chunks or self._has_left.is_set())
        if self._has_left.is_set():
            return
        if chunk:
            self._chunks.append(chunk)
        self.is_complete = not message.get("more_body", False)
        await self._tell()

    def collected(self) -> bytes:
        """Return the body that was collected."""
        return b"".join(self._chunks)


async def _next_of(body: AsyncIterator[bytes]) -> bytes | None:
    return await anext(body, None)
