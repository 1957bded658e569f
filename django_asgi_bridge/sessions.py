"""Cookies and Django sessions for scopes; the interface is ``channels.sessions``'s."""

from __future__ import annotations

import datetime
import time
from collections.abc import Awaitable, Mapping, MutableMapping
from importlib import import_module
from typing import Any, ClassVar

from django.core.exceptions import SuspiciousOperation
from django.http import parse_cookie
from django.http.cookie import SimpleCookie
from django.utils import timezone
from django.utils.encoding import force_str
from django.utils.functional import LazyObject
from django.utils.http import http_date

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.db import database_sync_to_async
from django_asgi_bridge.threads import ensured_lease, hand_on, raising, tail_call
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = (
    "CookieMiddleware",
    "InstanceSessionWrapper",
    "SessionMiddleware",
    "SessionMiddlewareStack",
    "read_cookies",
)

_LONG_AGO = "Thu, 01-Jan-1970 00:00:00 GMT"
_SAMESITE = ("strict", "lax", "none")


class CookieMiddleware:
    """Puts the cookies of a scope into ``scope["cookies"]``.

    Args:
        inner: the application that sees them.
    """

    def __init__(self, inner: App) -> None:
        self.inner = inner

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Call the application with the cookies.

        Raises:
            ValueError: the scope has no headers.
        """
        if "headers" not in scope:
            return raising(
                ValueError(
                    "CookieMiddleware was passed a scope that did not have a headers "
                    "key (make sure it is only passed HTTP or WebSocket connections)"
                )
            )
        cookies = read_cookies(scope)
        return hand_on(self.inner, {**scope, "cookies": cookies}, receive, send)

    @classmethod
    def set_cookie(
        cls,
        message: MutableMapping[str, Any],
        key: str,
        value: Any = "",
        max_age: float | None = None,
        expires: datetime.datetime | str | None = None,
        path: str | None = "/",
        domain: str | None = None,
        secure: bool | None = False,
        httponly: bool | None = False,
        samesite: str | None = "lax",
    ) -> None:
        """Add a ``Set-Cookie`` header to an event that starts a response.

        Args:
            message: the event.
            max_age: seconds the browser keeps it.
            expires: when it ends: a moment, naive ones in UTC, or the header's text.
                A moment sets ``max_age``.
            samesite: ``"strict"``, ``"lax"``, ``"none"``, or None to leave it out.

        Raises:
            AssertionError: ``samesite`` is something else.
        """
        if samesite is not None and samesite.lower() not in _SAMESITE:
            raise AssertionError("samesite must be either 'strict', 'lax' or 'none'")
        if isinstance(expires, datetime.datetime):
            max_age, expires = _seconds_until(expires), None
        jar = SimpleCookie()
        jar[key] = force_str(value)
        morsel = jar[key]
        morsel["expires"] = expires or ""
        if max_age is not None:
            morsel["max-age"] = max_age
            # Browsers that know no Max-Age.
            morsel["expires"] = expires or http_date(time.time() + max_age)
        if path is not None:
            morsel["path"] = path
        if domain is not None:
            morsel["domain"] = domain
        if secure:
            morsel["secure"] = True
        if httponly:
            morsel["httponly"] = True
        if samesite is not None:
            morsel["samesite"] = samesite
        field = morsel.output(header="").strip().encode()
        message.setdefault("headers", []).append((b"Set-Cookie", field))

    @classmethod
    def delete_cookie(
        cls,
        message: MutableMapping[str, Any],
        key: str,
        path: str | None = "/",
        domain: str | None = None,
        samesite: str | None = "lax",
    ) -> None:
        """Add a ``Set-Cookie`` header that makes the browser forget a cookie.

        Args:
            samesite: that of the cookie; browsers ignore a deletion that says less.
        """
        cls.set_cookie(
            message,
            key,
            max_age=0,
            path=path,
            domain=domain,
            expires=_LONG_AGO,
            samesite=samesite,
            # Browsers take SameSite=None from secure cookies alone.
            secure=samesite is not None and samesite.lower() == "none",
        )


def read_cookies(scope: Scope) -> dict[str, str]:
    """Return the cookies in the headers of a scope."""
    # HTTP/2 clients send a header for each cookie (RFC 9113 8.2.3).
    parts = [
        value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"
    ]
    cookies = parse_cookie("; ".join(part.rstrip("; ") for part in parts))
    name = django_settings.SESSION_COOKIE_NAME
    if name in cookies:
        # By a name that all connections share, in the memory of each idle one.
        cookies = {name if key == name else key: cookies[key] for key in cookies}
    return cookies


def _seconds_until(moment: datetime.datetime) -> int:
    if timezone.is_naive(moment):
        moment = moment.replace(tzinfo=datetime.UTC)
    # One second more, since a fraction is lost on the way to the header's date.
    left = moment - datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=1)
    return max(0, left.days * 86400 + left.seconds)


class InstanceSessionWrapper:
    """The session of one connection: loaded lazily, saved when the answer starts.

    Attributes:
        save_message_types: events that save a session that was changed. A
            WebSocket's is saved when the handshake is answered; what changes later
            is saved by ``await save_session()``, or the session's own ``asave()``.
        cookie_response_message_types: those of them that can carry the cookie.
    """

    # Lists, as in Channels: subclasses add to them.
    save_message_types: ClassVar[list[str]] = [
        "http.response.start",
        "websocket.accept",
        "websocket.http.response.start",
    ]
    cookie_response_message_types: ClassVar[list[str]] = [*save_message_types]

    def __init__(self, scope: Scope, send: Send) -> None:
        self.cookie_name = django_settings.SESSION_COOKIE_NAME
        self.session_store = import_module(django_settings.SESSION_ENGINE).SessionStore
        self.scope: dict[str, Any] = dict(scope)
        # A session from further up is that one's business.
        self.activated = "session" not in self.scope
        if self.activated:
            if "cookies" not in self.scope:
                raise ValueError(
                    "No cookies in scope - SessionMiddleware needs to run "
                    "inside of CookieMiddleware."
                )
            self.scope["session"] = LazyObject()
        self.real_send = send

    async def resolve_session(self) -> None:
        """Make the session object; its data are loaded when they are asked for."""
        key = self.scope["cookies"].get(self.cookie_name)
        self.scope["session"]._wrapped = self.session_store(key)

    async def send(self, message: Mapping[str, Any]) -> Any:
        """Send an event; save the session first, where it may be told the client."""
        if (
            self.activated
            and message["type"] in self.save_message_types
            # An answer that failed on the server's side keeps nothing.
            and message.get("status", 200) < 500
            and self._has_to_be_saved()
        ):
            is_empty = self.scope["session"].is_empty()
            # An empty one would be a record that no cookie names; Channels makes it
            # for HTTP.
            if not is_empty or message["type"].startswith("http."):
                await self.save_session()
            if message["type"] in self.cookie_response_message_types:
                message = {**message, "headers": list(message.get("headers") or ())}
                self._add_cookie(message, is_empty=is_empty)
        return await self.real_send(message)

    def _has_to_be_saved(self) -> bool:
        session = self.scope["session"]
        return bool(session.modified or django_settings.SESSION_SAVE_EVERY_REQUEST)

    def _add_cookie(self, message: dict[str, Any], *, is_empty: bool) -> None:
        settings, session = django_settings, self.scope["session"]
        place: dict[str, Any] = {
            "path": settings.SESSION_COOKIE_PATH,
            "domain": settings.SESSION_COOKIE_DOMAIN,
            "samesite": settings.SESSION_COOKIE_SAMESITE or None,
        }
        if is_empty:
            if self.cookie_name in self.scope["cookies"]:
                CookieMiddleware.delete_cookie(message, self.cookie_name, **place)
            return
        max_age = expires = None
        if not session.get_expire_at_browser_close():
            max_age = session.get_expiry_age()
            expires = http_date(time.time() + max_age)
        CookieMiddleware.set_cookie(
            message,
            self.cookie_name,
            session.session_key,
            max_age=max_age,
            expires=expires,
            secure=settings.SESSION_COOKIE_SECURE or None,
            httponly=settings.SESSION_COOKIE_HTTPONLY or None,
            **place,
        )

    async def save_session(self) -> None:
        """Save the session, on the connection's worker thread.

        Raises:
            SuspiciousOperation: somebody deleted the session meanwhile.
        """
        # Imported late: a site without sessions may import this module.
        from django.contrib.sessions.backends.base import (  # noqa: PLC0415
            UpdateError,
        )

        try:
            await database_sync_to_async(self.scope["session"].save)()
        except UpdateError:
            raise SuspiciousOperation(
                "The request's session was deleted before the "
                "request completed. The user may have logged "
                "out in a concurrent request, for example."
            ) from None


class SessionMiddleware:
    """Puts a Django session into ``scope["session"]``; needs ``CookieMiddleware``.

    Args:
        inner: the application that sees it.
    """

    def __init__(self, inner: App) -> None:
        self.inner = inner

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Call the application with the session."""
        with ensured_lease():
            wrapper = InstanceSessionWrapper(scope, send)
            if wrapper.activated:
                await wrapper.resolve_session()
            return await self.inner(wrapper.scope, receive, wrapper.send)


def SessionMiddlewareStack(inner: App) -> CookieMiddleware:  # noqa: N802 - as Channels
    """Return an application inside ``CookieMiddleware`` and ``SessionMiddleware``."""
    return CookieMiddleware(SessionMiddleware(inner))
