"""Origin checks: which sites' pages may open a WebSocket.

Browsers send cookies with the handshake and ask nobody (there is no CORS for
WebSockets): without a check, any page can act as its visitor. The classes with
Channels' names keep Channels' rules; ``SameOriginValidator`` is what
``get_asgi_application()`` puts in front of routes from the URLconf.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any
from urllib.parse import ParseResult, urlparse

from django.http import parse_cookie
from django.http.request import validate_host
from django.utils.http import is_same_domain

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.sockets.refusal import refuse
from django_asgi_bridge.threads import hand_on, raising, tail_call
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = (
    "AllowedHostsOriginValidator",
    "OriginValidator",
    "SameOriginValidator",
    "WebsocketDenier",
)

logger = logging.getLogger("django_asgi_bridge.security")

_DEFAULT_PORTS = {"http": 80, "ws": 80, "https": 443, "wss": 443}
_LOCAL_HOSTS = ["localhost", "127.0.0.1", "[::1]"]


class OriginValidator:
    """Lets a handshake through if its Origin is in a list.

    Args:
        application: what serves the connections that may be opened.
        allowed_origins: ``"*"`` for all, also those without an Origin; a host; a
            host with a dot in front, for its subdomains too; or either with a
            scheme, and a port where it is not the scheme's own.
    """

    def __init__(self, application: App, allowed_origins: Iterable[str]) -> None:
        self.application = application
        self.allowed_origins = allowed_origins

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve a connection, or refuse it.

        Raises:
            ValueError: the scope is no WebSocket's.
        """
        if scope["type"] != "websocket":
            return raising(
                ValueError(
                    "You cannot use OriginValidator on a non-WebSocket connection"
                )
            )
        origins = _values(scope, b"origin")
        # Two of them can only be an attempt to be read in two ways.
        origin = _parse(origins[0]) if len(origins) == 1 else None
        if len(origins) < 2 and self.valid_origin(origin):
            return hand_on(self.application, scope, receive, send)
        return WebsocketDenier()(scope, receive, send)

    def valid_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Tell whether an origin, or none, is allowed."""
        if parsed_origin is None and "*" not in self.allowed_origins:
            return False
        return self.validate_origin(parsed_origin)

    def validate_origin(self, parsed_origin: ParseResult | None) -> bool:
        """Tell whether an origin matches one of the list."""
        return any(
            pattern == "*" or self.match_allowed_origin(parsed_origin, pattern)
            for pattern in self.allowed_origins
        )

    def match_allowed_origin(
        self, parsed_origin: ParseResult | None, pattern: str
    ) -> bool:
        """Tell whether an origin matches one pattern."""
        if parsed_origin is None or parsed_origin.hostname is None:
            return False
        parsed = urlparse(pattern.lower())
        if not parsed.scheme:
            host = urlparse(f"//{pattern}").hostname or pattern
            return is_same_domain(parsed_origin.hostname, host)
        return (
            parsed.scheme == parsed_origin.scheme
            and self.get_origin_port(parsed) == self.get_origin_port(parsed_origin)
            and parsed.hostname is not None
            and is_same_domain(parsed_origin.hostname, parsed.hostname)
        )

    def get_origin_port(self, origin: ParseResult) -> int | None:
        """Return an origin's port, its scheme's own where it names none."""
        return _port(origin)


def AllowedHostsOriginValidator(application: App) -> OriginValidator:  # noqa: N802
    """Return an ``OriginValidator`` for the hosts in ``ALLOWED_HOSTS``."""
    allowed: Sequence[str] = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = _LOCAL_HOSTS
    return OriginValidator(application, allowed)


class WebsocketDenier:
    """An application that refuses every handshake, with status 403."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse a handshake."""
        await refuse(scope, receive, send)

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> App:
        """Return the application, as consumers do."""
        return cls()


class SameOriginValidator:
    """Lets pages of this site, and of sites that are named, open a WebSocket.

    The Origin's scheme, host and port must be those of the request's own Host, which
    ``ALLOWED_HOSTS`` has to allow, or of one of ``allowed``. ``ALLOWED_HOSTS`` is no
    list of origins: ``"*"`` there says nothing about who may act as a visitor. Clients
    that are no browsers send no Origin; they are let in as long as they bring no
    session cookie.

    Args:
        application: what serves the connections that may be opened.
        allowed: origins such as ``"https://app.example.com"``.
    """

    def __init__(self, application: App, allowed: Iterable[str] = ()) -> None:
        self.application = application
        self.allowed = tuple(allowed)
        self._parsed = tuple(_site(urlparse(each.lower())) for each in self.allowed)

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve a connection, or refuse it."""
        if not self.admits(scope):
            return refuse(scope, receive, send)
        return hand_on(self.application, scope, receive, send)

    def admits(self, scope: Scope) -> bool:
        """Tell whether a handshake may go on; log why if not."""
        reason = self._objection(scope)
        if reason:
            logger.warning(
                "WebSocket %r refused: %s; allowed are this site itself and %r; add "
                "the origin to ASGI_BRIDGE['WEBSOCKET_ORIGINS'] if it is yours",
                scope.get("path"),
                reason,
                self.allowed,
            )
        return not reason

    def _objection(self, scope: Scope) -> str:
        """Return what speaks against a handshake; nothing if it may go on."""
        origins = _values(scope, b"origin")
        if len(origins) > 1:
            return f"it has {len(origins)} Origin headers"
        if not origins:
            return _objection_without_origin(scope)
        origin = _parse(origins[0])
        site = None if origin is None else _site(origin)
        if site is None:
            return f"its Origin {origins[0][:200]!r} is no scheme, host and port"
        if site in self._parsed:
            return ""
        if site not in _own_sites(scope):
            return f"its Origin is {origins[0][:200]!r}"
        if not _is_host_allowed(site):
            return f"its Host {site[1][:200]!r} is not in ALLOWED_HOSTS"
        return ""


def _objection_without_origin(scope: Scope) -> str:
    # Parsed as where the session is looked for: white space around a name is none.
    cookies = parse_cookie("; ".join(_values(scope, b"cookie")))
    has_session = django_settings.SESSION_COOKIE_NAME in cookies
    return "it has a session cookie and no Origin" if has_session else ""


_Site = tuple[str, str, int]


def _own_sites(scope: Scope) -> list[_Site]:
    """Return scheme, host and port of the request itself.

    They are two where nothing tells whether it came over TLS: a page that was loaded
    over it from this very host and port is this site's own in any case.
    """
    # As ``HttpRequest.get_host()``: what the browser asked the proxy for.
    is_behind_proxy = getattr(django_settings, "USE_X_FORWARDED_HOST", False)
    hosts = _values(scope, b"x-forwarded-host") if is_behind_proxy else []
    hosts = hosts or _values(scope, b"host")
    if len(hosts) != 1:
        return []
    scheme = _scheme(scope)
    schemes = ("http", "https") if scheme is None else (scheme,)
    origins = [_parse(f"{each}://{hosts[0]}") for each in schemes]
    sites = [None if origin is None else _site(origin) for origin in origins]
    return [site for site in sites if site is not None]


def _is_host_allowed(site: _Site) -> bool:
    """Tell whether a page of this host could have come from here.

    Without it a page could lead its own name to this server (DNS rebinding).
    """
    allowed: Sequence[str] = django_settings.ALLOWED_HOSTS
    if django_settings.DEBUG and not allowed:
        allowed = [".localhost", *_LOCAL_HOSTS]
    host = f"[{site[1]}]" if ":" in site[1] else site[1]
    return validate_host(host, allowed)


def _scheme(scope: Scope) -> str | None:
    """Return the scheme that the browser saw, proxies that Django trusts included.

    None where the server does not tell: daphne does not, with TLS of its own either.
    """
    proxy = getattr(django_settings, "SECURE_PROXY_SSL_HEADER", None)
    if proxy:
        name = proxy[0].removeprefix("HTTP_").replace("_", "-").lower().encode()
        values = _values(scope, name)
        if values:
            is_secure = values[0].split(",")[0].strip() == proxy[1]
            return "https" if is_secure else "http"
    scheme = scope.get("scheme")
    if scheme is None:
        return None
    return "https" if scheme in ("wss", "https") else "http"


def _site(origin: ParseResult) -> _Site | None:
    """Return what makes an origin (RFC 6454), or None if it is none."""
    is_bare = origin.path in ("", "/") and not (origin.query or origin.fragment)
    port = _port(origin)
    if origin.hostname is None or port is None or not is_bare:
        return None
    if "@" in origin.netloc:
        return None
    scheme = {"ws": "http", "wss": "https"}.get(origin.scheme, origin.scheme)
    return scheme, origin.hostname.rstrip("."), port


def _port(origin: ParseResult) -> int | None:
    # 0 is a port of its own, though none that a browser opens.
    port = origin.port
    return _DEFAULT_PORTS.get(origin.scheme) if port is None else port


def _values(scope: Scope, name: bytes) -> list[str]:
    return [
        value.decode("latin-1")
        for each, value in scope.get("headers") or ()
        if each.lower() == name
    ]


def _parse(origin: str) -> ParseResult | None:
    """Parse an origin; None for one that has no valid host or port."""
    try:
        parsed = urlparse(origin.strip().lower())
        parsed.port  # noqa: B018 - raises when it is none
    except ValueError:
        return None
    return parsed
