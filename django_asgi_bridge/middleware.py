"""The base of ASGI middleware; the interface is that of ``channels.middleware``."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

from django_asgi_bridge.threads import hand_on, tail_call
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = ("BaseMiddleware",)


class BaseMiddleware:
    """Wraps an ASGI application and gives it a scope of its own.

    One instance serves every connection: keep what belongs to one of them in the
    scope.

    Args:
        inner: the application.
    """

    def __init__(self, inner: App) -> None:
        self.inner = inner

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Call the application with a copy of the scope."""
        return hand_on(self.inner, dict(scope), receive, send)
