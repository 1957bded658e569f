"""A response that is read as it arrives: what ``AsyncClient.stream`` gives."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http.cookies import SimpleCookie
from typing import Any

from django.http import HttpRequest
from django.http.response import HttpResponseBase, ResponseHeaders

from django_asgi_bridge.testing.connection import Connection
from django_asgi_bridge.types import Message

__all__ = ("StreamedResponse",)


class StreamedResponse:
    """Status and headers of a response that is still under way, and its chunks.

    ``async for chunk in response`` gives the bytes of each event once, as they
    arrive. The application does not get ahead: it waits with a chunk until the one
    before was read.

    Attributes:
        status_code: the HTTP status.
        headers: what was sent; names in any case, of several the last one.
        raw_headers: the same as pairs of bytes, in their order.
        cookies: the cookies that were set.
    """

    def __init__(self, connection: Connection) -> None:
        start: Any = connection.start
        self._connection = connection
        self.status_code: int = start["status"]
        self.raw_headers: list[tuple[bytes, bytes]] = list(start["headers"])
        self.headers = ResponseHeaders({})
        self.cookies: SimpleCookie = SimpleCookie()
        for name, value in self.raw_headers:
            text = value.decode("latin-1")
            self.headers[name.decode("latin-1")] = text
            if name.lower() == b"set-cookie":
                self.cookies.load(text)

    @property
    def http_response(self) -> HttpResponseBase | None:
        """The handler's own response object; it is still being sent."""
        return self._connection.response

    @property
    def asgi_request(self) -> HttpRequest | None:
        """The request that is being answered."""
        return self._connection.request

    @property
    def asgi_events(self) -> list[Message]:
        """The events that came so far, those of the body excepted."""
        return self._connection.events

    @property
    def is_complete(self) -> bool:
        """Has the application sent its last byte?"""
        return self._connection.is_complete

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks that were not read yet.

        Raises:
            Exception: what the application raised in mid-response.
        """
        while (chunk := await self._connection.next_chunk()) is not None:
            yield chunk

    async def read(self) -> bytes:
        """Wait for the rest of the body and return it."""
        return b"".join([chunk async for chunk in self])

    async def disconnect(self) -> None:
        """Leave as a client that closes its connection.

        Returns when the application, if it listens, was given ``http.disconnect``;
        ``wait_end()`` waits for what it makes of it.
        """
        await self._connection.disconnect()

    async def wait_end(self) -> None:
        """Wait until the application has ended, signals and clean-up included.

        Raises:
            Exception: what the application raised.
        """
        await self._connection.wait_end()
