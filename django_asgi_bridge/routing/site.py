"""What ``get_asgi_application()`` serves WebSockets with.

Route, origin, session, user, consumer: each can refuse, in this order, and what is
refused has cost no more than what came before.
"""

import logging
from typing import Any

from django.apps import apps
from django.urls.exceptions import Resolver404

from django_asgi_bridge.auth import AuthMiddleware
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.place import mounted_path, use_script_prefix
from django_asgi_bridge.protocol.request import Refusal, check_request
from django_asgi_bridge.routing.urlconf import current_urlconf
from django_asgi_bridge.security.websocket import SameOriginValidator
from django_asgi_bridge.sessions import CookieMiddleware, SessionMiddleware
from django_asgi_bridge.sockets.marks import ROUTE, STRICT_EVENTS
from django_asgi_bridge.sockets.refusal import busy, refuse
from django_asgi_bridge.threads import ensured_lease, lease_of_context
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
        application: App = _serve_route
        if apps.is_installed("django.contrib.auth"):
            application = AuthMiddleware(application)
        if apps.is_installed("django.contrib.sessions"):
            application = SessionMiddleware(application)
        application = CookieMiddleware(application)
        self._application = SameOriginValidator(application, config.websocket_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one WebSocket, or refuse its handshake."""
        refusal = _check(scope)
        if refusal is not None:
            logger.warning("WebSocket refused: %s", refusal.reason)
            return await refuse(scope, receive, send, status=refusal.status)
        prefix, path_info = mounted_path(scope)
        try:
            match = current_urlconf().resolve(path_info)
        except Resolver404:
            return await _refuse_unknown(scope, receive, send)
        # For reverse() in consumers, as in views.
        use_script_prefix(prefix)
        routed = {
            **scope,
            "headers": [each for each in scope["headers"] if b"_" not in each[0]],
            "path_remaining": "",
            "url_route": {"args": match.args, "kwargs": match.kwargs},
            ROUTE: match,
            STRICT_EVENTS: True,
        }
        with ensured_lease(is_refusable=True) as lease:
            try:
                return await self._application(routed, receive, send)
            except PoolBusy as error:
                if lease is None or not lease.is_refusable:
                    raise
                # Session and user: nothing has been received yet.
                await receive()
                for event in busy(scope, error):
                    await send(event)


async def _serve_route(scope: Scope, receive: Receive, send: Send) -> Any:
    lease = lease_of_context()
    if lease is not None:
        # From here on the consumer answers for what it does.
        lease.is_refusable = False
    application = scope[ROUTE].func
    if hasattr(application, "consumer_class"):
        return await application(scope, receive, send)
    return await _serve_other(application, scope, receive, send)


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
        return await _refuse_unknown(scope, receive, send)


async def _refuse_unknown(scope: Scope, receive: Receive, send: Send) -> None:
    logger.warning(
        "Not Found: %s (WebSocket)",
        scope["path"],
        extra={"status_code": 404, "scope": scope},
    )
    await refuse(scope, receive, send, status=404)


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
