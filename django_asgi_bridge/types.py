"""The vocabulary of ASGI as this package uses it.

Specification: ASGI HTTP and WebSocket message format 2.5, lifespan 2.0.
"""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

__all__ = ("App", "Message", "Receive", "Scope", "Send")

Scope = MutableMapping[str, Any]
"""One connection's description, made by the server."""

Message = Mapping[str, Any]
"""One event between the server and the application, told apart by ``type``."""

Receive = Callable[[], Awaitable[Message]]
"""Waits for the next event from the client."""

Send = Callable[[Message], Awaitable[None]]
"""Hands one event to the server; may wait while the client reads slowly."""

App = Callable[[Scope, Receive, Send], Awaitable[Any]]
"""An ASGI 3 application."""
