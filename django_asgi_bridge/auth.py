"""The user of a scope; the interface is that of ``channels.auth``."""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any

from django.utils.crypto import constant_time_compare
from django.utils.functional import LazyObject

from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.db import database_sync_to_async
from django_asgi_bridge.middleware import BaseMiddleware
from django_asgi_bridge.sessions import CookieMiddleware, SessionMiddleware
from django_asgi_bridge.threads import ensured_lease
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = (
    "AuthMiddleware",
    "AuthMiddlewareStack",
    "UserLazyObject",
    "get_user",
    "login",
    "logout",
)

# django.contrib.auth is imported inside functions: its models need the app registry,
# and a site without it may import this module.


@database_sync_to_async
def get_user(scope: Scope) -> Any:
    """Return the user whose session the scope has, else an ``AnonymousUser``.

    A session whose hash is of the user's old password is flushed. One that was
    signed with a key of ``SECRET_KEY_FALLBACKS`` is accepted as it is.

    Raises:
        ValueError: the scope has no session.
    """
    from django.contrib import auth  # noqa: PLC0415
    from django.contrib.auth.models import AnonymousUser  # noqa: PLC0415

    session = _session(
        scope,
        "Cannot find session in scope. You should wrap your consumer in "
        "SessionMiddleware.",
    )
    try:
        user_id = _get_user_session_key(session)
        path = session[auth.BACKEND_SESSION_KEY]
    except KeyError:
        return AnonymousUser()
    if path not in django_settings.AUTHENTICATION_BACKENDS:
        return AnonymousUser()
    user = auth.load_backend(path).get_user(user_id)
    if hasattr(user, "get_session_auth_hash") and not _is_hash_valid(session, user):
        session.flush()
        user = None
    return user or AnonymousUser()


def _is_hash_valid(session: Any, user: Any) -> bool:
    from django.contrib import auth  # noqa: PLC0415

    found = session.get(auth.HASH_SESSION_KEY)
    if not found:
        return False
    if constant_time_compare(found, user.get_session_auth_hash()):
        return True
    # Django would move the session to the new key. A handshake may come beside
    # requests that still bring the old cookie, so that is left to a request.
    fallbacks = getattr(user, "get_session_auth_fallback_hash", tuple)
    return any(constant_time_compare(found, each) for each in fallbacks())


@database_sync_to_async
def login(
    scope: MutableMapping[str, Any], user: Any, backend: str | None = None
) -> None:
    """Sign a user in: in the session, and in ``scope["user"]``.

    A sign-in gives the session a new key. The cookie with it reaches the browser only
    if this happens before the handshake is answered; later the user is signed in for
    this connection, and for others only after ``await scope["session"].asave()`` and
    with the new key.

    Args:
        user: None for ``scope["user"]``.
        backend: dotted path; needed where several are configured and the user was
            not authenticated by one of them.

    Raises:
        ValueError: there is no session or no user, or no backend among several.
    """
    from django.contrib import auth  # noqa: PLC0415

    session = _session(
        scope,
        "Cannot find session in scope. You should wrap your consumer in "
        "SessionMiddleware.",
    )
    user = scope.get("user") if user is None else user
    if user is None:
        raise ValueError(
            "User must be passed as an argument or must be present in the scope."
        )
    has_hash = hasattr(user, "get_session_auth_hash")
    session_hash = user.get_session_auth_hash() if has_hash else ""
    if auth.SESSION_KEY not in session:
        session.cycle_key()
    elif _get_user_session_key(session) != user.pk or (
        session_hash
        and not constant_time_compare(
            session.get(auth.HASH_SESSION_KEY, ""), session_hash
        )
    ):
        # Somebody else's data must not become this user's.
        session.flush()
    backend = backend or getattr(user, "backend", None) or _only_backend()
    session[auth.SESSION_KEY] = user._meta.pk.value_to_string(user)
    session[auth.BACKEND_SESSION_KEY] = backend
    session[auth.HASH_SESSION_KEY] = session_hash
    scope["user"] = user
    auth.user_logged_in.send(sender=user.__class__, request=None, user=user)


def _only_backend() -> str:
    paths: list[str] = list(django_settings.AUTHENTICATION_BACKENDS)
    if len(paths) != 1:
        raise ValueError(
            "You have multiple authentication backends configured and "
            "therefore must provide the `backend` "
            "argument or set the `backend` attribute on the user."
        )
    return paths[0]


@database_sync_to_async
def logout(scope: MutableMapping[str, Any]) -> None:
    """Sign the user out: flush the session, and make ``scope["user"]`` anonymous.

    Raises:
        ValueError: the scope has no session.
    """
    from django.contrib.auth import user_logged_out  # noqa: PLC0415
    from django.contrib.auth.models import AnonymousUser  # noqa: PLC0415

    session = _session(
        scope,
        "Login cannot find session in scope. You should wrap your "
        "consumer in SessionMiddleware.",
    )
    user = scope.get("user")
    if user is not None and getattr(user, "is_authenticated", True):
        # Before the end, so that receivers can tell who it was.
        user_logged_out.send(sender=user.__class__, request=None, user=user)
    session.flush()
    if "user" in scope:
        scope["user"] = AnonymousUser()


def _session(scope: Scope, error: str) -> Any:
    if "session" not in scope:
        raise ValueError(error)
    return scope["session"]


def _get_user_session_key(session: Any) -> Any:
    """Return the primary key that the session keeps as text."""
    from django.contrib.auth import SESSION_KEY, get_user_model  # noqa: PLC0415

    field: Any = get_user_model()._meta.pk
    return field.to_python(session[SESSION_KEY])


class UserLazyObject(LazyObject):  # type: ignore[type-arg] # not generic at run time
    """Stands for the user until ``AuthMiddleware`` has loaded it."""

    def _setup(self) -> None:
        raise ValueError("Accessing scope user before it is ready.")


class AuthMiddleware(BaseMiddleware):
    """Puts the session's user into ``scope["user"]``; needs ``SessionMiddleware``."""

    def populate_scope(self, scope: MutableMapping[str, Any]) -> None:
        """Put a stand-in for the user into the scope.

        Raises:
            ValueError: the scope has no session.
        """
        _session(
            scope,
            "AuthMiddleware cannot find session in scope. "
            "SessionMiddleware must be above it.",
        )
        if "user" not in scope:
            scope["user"] = UserLazyObject()

    async def resolve_scope(self, scope: MutableMapping[str, Any]) -> None:
        """Load the user, on the connection's worker thread."""
        scope["user"]._wrapped = await get_user(scope)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Call the application with the user."""
        with ensured_lease():
            scope = dict(scope)
            self.populate_scope(scope)
            await self.resolve_scope(scope)
            return await super().__call__(scope, receive, send)


def AuthMiddlewareStack(inner: App) -> CookieMiddleware:  # noqa: N802 - as Channels
    """Return an application that sees cookies, session and user."""
    return CookieMiddleware(SessionMiddleware(AuthMiddleware(inner)))
