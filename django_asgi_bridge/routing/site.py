"""What ``get_asgi_application()`` serves WebSockets with.

Route, origin, session, user, consumer: each can refuse, in this order, and what is
refused has cost no more than what came before.
"""

from __future__ import annotations

import functools
import logging
from typing import Any

from django.apps import apps
from django.urls import ResolverMatch
from django.urls.exceptions import Resolver404

from django_asgi_bridge.auth import AuthMiddleware
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.place import mounted_path, use_script_prefix
from django_asgi_bridge.protocol.request import Refusal, check_request
from django_asgi_bridge.routing.urlconf import current_urlconf
from django_asgi_bridge.security.websocket import SameOriginValidator
from django_asgi_bridge.sessions import InstanceSessionWrapper, read_cookies
from django_asgi_bridge.sockets.marks import HANDSHAKE, STRICT_EVENTS
from django_asgi_bridge.sockets.refusal import busy, refuse
from django_asgi_bridge.threads import Lease, ensured_lease, lease_of_context
from django_asgi_bridge.types import App, Message, Receive, Scope, Send

__all__ = ("WebSocketSite",)

logger = logging.getLogger("django.request")

_SCHEMES = {"ws": "http", "wss": "https"}


class WebSocketSite:
    """Serves the routes in ``websocket_urlpatterns``.

    Pages of other sites are refused, and the consumers find ``scope["session"]`` and
    ``scope["user"]`` where the project has these apps.
    """

    def __init__(self) -> None:
        config = get_config()
        self._origins = SameOriginValidator(_serve, config.websocket_origins)
        has_sessions = apps.is_installed("django.contrib.sessions")
        has_users = apps.is_installed("django.contrib.auth")
        self._has_sessions = has_sessions
        self._users = AuthMiddleware(_serve) if has_users else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one WebSocket, or refuse its handshake."""
        # Little may stand here: it is kept as long as the connection lives.
        with ensured_lease(is_refusable=True) as lease:
            admitted = await self._admit(scope, receive, send, lease)
            if admitted is not None:
                consumer, scope, send = admitted
                admitted = None
                await consumer(scope, receive, send)

    async def _admit(
        self, scope: Scope, receive: Receive, send: Send, lease: Lease | None
    ) -> tuple[App, Scope, Send] | None:
        """Return the consumer of a connection with its scope; None if it is refused.

        Args:
            lease: one that was made for this connection.
        """
        match, status = _resolve(scope)
        if match is None:
            await refuse(scope, receive, send, status=status)
            return None
        routed = {
            **scope,
            "headers": _without_underscores(scope["headers"]),
            "path_remaining": "",
            "url_route": {"args": match.args, "kwargs": match.kwargs},
            STRICT_EVENTS: True,
        }
        if not self._origins.admits(routed):
            await refuse(routed, receive, send)
            return None
        consumer = match.func
        if not hasattr(consumer, "consumer_class"):
            consumer = functools.partial(_serve_other, consumer)
        try:
            admitted = (consumer, *await self._identify(routed, send))
        except PoolBusy as error:
            if lease is None or not lease.is_refusable:
                raise
            # Session and user: nothing has been received yet.
            await receive()
            for event in busy(scope, error):
                await send(event)
            return None
        if lease is not None:
            lease.owner = HANDSHAKE
        current = lease_of_context()
        if current is not None:
            # From here on the consumer answers for what it does.
            current.is_refusable = False
        return admitted

    async def _identify(self, scope: dict[str, Any], send: Send) -> tuple[Scope, Send]:
        """Find out who connects: cookies, session and user."""
        scope["cookies"] = read_cookies(scope)
        if self._has_sessions:
            wrapper = InstanceSessionWrapper(scope, send)
            if wrapper.activated:
                await wrapper.resolve_session()
            scope, send = wrapper.scope, wrapper.send
        if self._users is not None:
            self._users.populate_scope(scope)
            await self._users.resolve_scope(scope)
        return scope, send


def _resolve(scope: Scope) -> tuple[ResolverMatch | None, int]:
    """Return the route of a handshake, or None and the status that refuses it."""
    refusal = _check(scope)
    if refusal is not None:
        logger.warning("WebSocket refused: %s", refusal.reason)
        return None, refusal.status
    prefix, path_info = mounted_path(scope)
    try:
        match = current_urlconf().resolve(path_info)
    except Resolver404:
        _log_unknown(scope)
        return None, 404
    # For reverse() in consumers, as in views.
    use_script_prefix(prefix)
    return match, 0


def _log_unknown(scope: Scope) -> None:
    logger.warning(
        "Not Found: %s (WebSocket)",
        scope["path"],
        extra={"status_code": 404, "scope": scope},
    )


async def _serve(scope: Scope, receive: Receive, send: Send) -> Any:
    """Stand for what a middleware is around: here each does only its own part."""


async def _serve_other(
    application: App, scope: Scope, receive: Receive, send: Send
) -> Any:
    """Serve a route to what is no consumer: middleware around a router, say.

    Such a router is an inner one, and tells an outer one that it knows no route.
    """
    is_begun = False

    async def noting() -> Message:
        nonlocal is_begun
        is_begun = True
        return await receive()

    try:
        return await application(scope, noting, send)
    except Resolver404:
        if is_begun:
            # A consumer's own: it says what was looked for in vain, and by whom.
            raise
        _log_unknown(scope)
        return await refuse(scope, receive, send, status=404)


def _without_underscores(headers: Any) -> Any:
    """Return the headers without those whose name could be taken for another's."""
    if not any(b"_" in name for name, _ in headers):
        return headers
    return [each for each in headers if b"_" not in each[0]]


def _check(scope: Scope) -> Refusal | None:
    """Hold a handshake to the rules of a request: it is one (RFC 6455 4.2.1)."""
    config = get_config()
    scheme = str(scope.get("scheme") or "ws").lower()
    as_request = {**scope, "method": "GET", "scheme": _SCHEMES.get(scheme, scheme)}
    return check_request(
        as_request,
        max_headers=config.max_headers,
        max_header_bytes=config.max_header_bytes,
        strict_paths=config.strict_paths,
    )
