"""A consumer for HTTP requests, with the interface of ``channels.generic.http``.

A Django view is the better choice for nearly everything; this is for sites that
have such consumers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from django_asgi_bridge.consumer import AsyncConsumer
from django_asgi_bridge.db import aclose_old_connections  # noqa: F401 - re-export
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.types import Message

__all__ = ("AsyncHttpConsumer",)


class AsyncHttpConsumer(AsyncConsumer):
    """Answers one HTTP request.

    Attributes:
        body: the pieces of the request's body that have come.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.body: list[bytes] = []

    async def send_headers(
        self,
        *,
        status: int = 200,
        headers: Mapping[bytes, bytes] | Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        """Set status and headers; they leave with the first piece of the body."""
        pairs = headers.items() if isinstance(headers, Mapping) else headers or ()
        await self.send(
            {"type": "http.response.start", "status": status, "headers": list(pairs)}
        )

    async def send_body(self, body: bytes, *, more_body: bool = False) -> None:
        """Send a piece of the body.

        Args:
            more_body: another piece will follow.

        Raises:
            AssertionError: the body is not bytes.
        """
        if not isinstance(body, bytes):
            raise AssertionError("Body is not bytes")  # noqa: TRY004 - as Channels
        await self.send(
            {"type": "http.response.body", "body": body, "more_body": more_body}
        )

    async def send_response(self, status: int, body: bytes, **kwargs: Any) -> None:
        """Send a whole response; ``kwargs`` are those of ``send_headers()``."""
        await self.send_headers(status=status, **kwargs)
        await self.send_body(body)

    async def handle(self, body: bytes) -> None:
        """Answer the request, with the ``send_*`` methods.

        Raises:
            NotImplementedError: the subclass has no ``handle()``.
        """
        raise NotImplementedError(
            "Subclasses of AsyncHttpConsumer must provide a handle() method."
        )

    async def disconnect(self) -> None:
        """Clean up; runs once, after ``handle()`` or when the client leaves."""

    async def http_request(self, message: Message) -> None:
        """Collect the body, and call ``handle()`` when it is complete."""
        if "body" in message:
            self.body.append(message["body"])
        if message.get("more_body"):
            return
        handle: Callable[[bytes], Awaitable[None]] = self.handle
        try:
            await handle(b"".join(self.body))
        finally:
            await self.disconnect()
        raise StopConsumer

    async def http_disconnect(self, message: Message) -> None:
        """Call ``disconnect()`` and end the consumer."""
        await self.disconnect()
        raise StopConsumer
