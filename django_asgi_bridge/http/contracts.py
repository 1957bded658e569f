"""What the rooms of a request ask of the handler and of the body, and no more.

They are contracts for the type checker: with them a room can be read without the
handler, and imports go one way.
"""

from __future__ import annotations

from collections.abc import Iterator
from threading import Semaphore
from typing import Any, Protocol

from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.types import Receive

__all__ = ("Body", "Chunker", "Client", "Dispatcher", "Receiver", "Responder")


class Body(Protocol):
    """A request body that is still arriving, or was."""

    async def buffer_for_loop(self) -> None:
        """Complete it, for code on the event loop."""

    def is_on_disk(self) -> bool:
        """Tell whether closing it touches the disk."""

    def close(self) -> None:
        """Drop it."""


class Chunker(Protocol):
    """Cuts a response body into events."""

    chunk_size: int

    @property
    def stream_places(self) -> Semaphore:
        """The responses with a sync iterator that may be under way."""

    @classmethod
    def chunk_bytes(cls, data: Any) -> Iterator[tuple[Any, bool]]:
        """Yield chunks, each with whether it is the last."""


class Client(Protocol):
    """Who a response is sent to."""

    is_disconnected: bool


class Dispatcher(Protocol):
    """Finds the view of a request; Django's own methods."""

    def resolve_request(self, request: Request) -> Any:
        """Return the view with its arguments."""

    def make_view_atomic(self, view: Any) -> Any:
        """Wrap the view in transactions where the settings ask for it."""

    def check_response(
        self, response: Any, callback: Any, name: str | None = ...
    ) -> Any:
        """Complain about a view that returned no response."""


class Responder(Protocol):
    """Answers requests and sends responses."""

    async def get_response_async(self, request: Request) -> Response:
        """Run middleware and view."""

    async def send_response(self, response: Response, send: Any) -> None:
        """Send a response."""

    def last_chance(self, request: Request) -> Response:
        """Return the response when the error page failed too."""


class Receiver(Protocol):
    """Receives requests and their bodies."""

    @property
    def request_class(self) -> type:
        """What requests are made of."""

    @property
    def upload_places(self) -> Semaphore:
        """The workers that may wait for body bytes."""

    def reads_lazily(self) -> bool:
        """Tell whether a body may be left unread until a sync view asks for it."""

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Wait for the client to leave; subclasses override it."""

    async def read_body(self, receive: Receive) -> Any:
        """Read a whole body; subclasses override it."""
