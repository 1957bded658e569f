"""What a project's ``asgi.py`` imports: one application for every kind of scope."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import Any

import django

# Django's half, and from here: rooms of ours would load it three imports deeper. Each
# is some frames on the interpreter's stack, which grows by maps of 16 KiB; at the end
# of one every call makes a map and frees it (CPython 3.13 made 1,100 of them).
import django.core.handlers.asgi
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.conf import django_settings, get_config
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.http.look import load_routes
from django_asgi_bridge.lifespan import Lifespan
from django_asgi_bridge.threads import detached_here, get_pool, tail_call
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = ("Application", "get_asgi_application")


class Application:
    """Hands each scope to what serves its type.

    Args:
        handler: serves ``http``, and refuses what nobody knows.
        mounts: other applications by path prefix.
    """

    answers_lifespan = True

    def __init__(
        self, handler: ASGIHandler, mounts: Mapping[str, Callable[..., Any]]
    ) -> None:
        self.handler = handler
        self.lifespan: Lifespan = handler.lifespan
        self._by_type: dict[str, App] = {
            "http": (
                handler.begin
                if type(handler).__call__ is ASGIHandler.__call__
                else handler
            ),
            "lifespan": self._live,
            "websocket": self._serve_socket,
        }
        if mounts:
            # Only sites that mount others pay for this room.
            from django_asgi_bridge.mounts import Mounts  # noqa: PLC0415

            own = dict(self._by_type)

            async def serve_own(scope: Scope, receive: Receive, send: Send) -> None:
                await own[scope["type"]](scope, receive, send)

            web = Mounts(mounts, serve_own, lifespan=self.lifespan)
            self._by_type |= {"http": web, "websocket": web}

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve one connection, or the lifespan of the process.

        Raises:
            ValueError: the scope is of a type that nobody serves; servers take
                that for "not supported".
        """
        serve = self._by_type.get(scope["type"], self.handler)
        return serve(scope, receive, send)

    def _serve_socket(
        self, scope: Scope, receive: Receive, send: Send
    ) -> Awaitable[Any]:
        """Serve a WebSocket by the routes in the URLconf."""
        if self.lifespan.needs_start:
            return self._start_and_serve_socket(scope, receive, send)
        return self._sockets(scope, receive, send)

    async def _start_and_serve_socket(
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        await self.lifespan.ensure_started()
        scope = {**scope, "state": self.lifespan.request_state(scope)}
        await self._sockets(scope, receive, send)

    @cached_property
    def _sockets(self) -> App:
        # Only sites that have such routes pay for this half of the package.
        from django_asgi_bridge.routing.site import WebSocketSite  # noqa: PLC0415

        return WebSocketSite()

    def _load_routes(self) -> None:
        """Load the URLconf: no visitor waits for it, and wrong routes are told now.

        A URLconf that cannot be imported is left to the requests, as Django does.

        Raises:
            ImproperlyConfigured: a WebSocket route is wrong.
        """
        urlconf = getattr(django_settings, "ROOT_URLCONF", None)
        if not isinstance(urlconf, str):
            return
        load_routes(urlconf)
        if getattr(sys.modules.get(urlconf), "websocket_urlpatterns", None):
            # See `_sockets`.
            from django_asgi_bridge.routing.urlconf import (  # noqa: PLC0415
                current_urlconf,
            )

            current_urlconf(urlconf)
            self._sockets  # noqa: B018 - made now

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._load_routes()
        except ImproperlyConfigured as error:
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        pool = get_pool()
        pool.reopen()
        try:
            await self.lifespan(scope, receive, send)
        finally:
            if left := detached_here():
                # Sync views that outlived their clients may end first.
                await asyncio.wait(left, timeout=get_config().detach_after)
            pool.shutdown(timeout=1.0)


def get_asgi_application(
    *, mounts: Mapping[str, Callable[..., Any]] | None = None
) -> Application:
    """Set Django up and return the project's ASGI application.

    Args:
        mounts: ASGI (2 or 3) and WSGI applications by path prefix, such as
            ``{"/api": fastapi_app, "/old": wsgi_app}``. The longest prefix that
            ends at a segment's end wins; Django has the rest.

    Raises:
        ImproperlyConfigured: the settings, a prefix or a lifespan hook is wrong.
    """
    django.setup(set_prefix=False)
    return Application(ASGIHandler(), mounts or {})
