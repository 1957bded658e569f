"""The vocabulary of ASGI as this package uses it.

Specification: ASGI HTTP and WebSocket message format 2.5, lifespan 2.0.

The contracts of channel layers are loaded by the first who asks for one.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from django_asgi_bridge.types.layers import ChannelLayer, Mailbox

__all__ = ("App", "ChannelLayer", "Mailbox", "Message", "Receive", "Scope", "Send")

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


if not TYPE_CHECKING:
    # Type checkers would take every misspelled name for one that this gives.

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.layers"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
