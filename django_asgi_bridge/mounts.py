"""Mounting: other ASGI and WSGI applications beside Django in one process.

The scope of a mounted application ("guest") has ``root_path`` grown by its prefix and
the full ``path``, of which ``root_path`` is the beginning: that is how Starlette,
FastAPI and Django's own ``ASGIRequest`` read it. A server that hands over a path
without its own root path is brought to the same form first.

This room never looks inside a guest's messages.

Specification: ASGI HTTP and WebSocket message format 2.5, ``root_path``; PEP 3333.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import BridgeError
from django_asgi_bridge.lifespan import Lifespan
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = ("MissingDependencyError", "Mounts", "WSGIGuest", "wsgi")


class MissingDependencyError(BridgeError, ImportError):
    """An optional library that a feature needs is not installed.

    If you see this: the message has the command that installs it.
    """


class Mounts:
    """Sends each connection to the guest whose prefix it matches, else to the default.

    A prefix matches at the boundary of a segment only, the longest one first:
    ``/api`` takes ``/api`` and ``/api/users``, not ``/apis``. Scopes that are neither
    HTTP nor WebSocket go to the default.

    Args:
        mounts: Guests by prefix, such as ``{"/api": app}``: ASGI 3, ASGI 2 or WSGI
            applications, told apart by their parameters.
        default: The application for everything else.
        lifespan: Gets the guests, whose lifespan it runs, and holds their states.

    Raises:
        ImproperlyConfigured: A prefix is malformed, or an application of no known kind.
        MissingDependencyError: A WSGI guest, and a2wsgi is not installed.
    """

    def __init__(
        self,
        mounts: Mapping[str, Callable[..., Any]],
        default: App,
        *,
        lifespan: Lifespan | None = None,
    ) -> None:
        self.default = default
        self.lifespan = lifespan
        guests = {_checked_prefix(prefix): _adapt(mounts[prefix]) for prefix in mounts}
        #: The guests as ASGI 3 applications, longest prefix first.
        self.guests: tuple[tuple[str, App], ...] = tuple(
            sorted(guests.items(), key=lambda item: len(item[0]), reverse=True)
        )
        if lifespan is not None:
            for guest in guests.values():
                if not isinstance(guest, WSGIGuest):
                    lifespan.add_guest(guest)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection by the application that it belongs to."""
        if scope["type"] not in {"http", "websocket"}:
            await self.default(scope, receive, send)
            return
        root_path = (scope.get("root_path") or "").rstrip("/")
        path: str = scope["path"]
        is_full = _is_below(path, root_path)
        local_path = path[len(root_path) :] if is_full else path
        for prefix, guest in self.guests:
            if _is_below(local_path, prefix):
                await self._visit(
                    guest,
                    _guest_scope(scope, root_path, prefix, is_full),
                    receive,
                    send,
                )
                return
        await self.default(scope, receive, send)

    async def _visit(
        self, guest: App, scope: dict[str, Any], receive: Receive, send: Send
    ) -> None:
        if self.lifespan is not None:
            if self.lifespan.needs_start:
                await self.lifespan.ensure_started()
            scope["state"] = self.lifespan.guest_state(guest, scope)
        await guest(scope, receive, send)


class WSGIGuest:
    """A WSGI application as an ASGI application, by the library a2wsgi.

    It answers HTTP only: a WebSocket is closed before it opens, and there is no
    lifespan. Each request runs in a thread of the guest's own pool, in a copy of the
    connection's context variables.

    Args:
        application: The WSGI application.
        threads: Requests that it may serve at once.

    Raises:
        MissingDependencyError: a2wsgi is not installed.
    """

    def __init__(self, application: Callable[..., Any], *, threads: int = 10) -> None:
        try:
            from a2wsgi import WSGIMiddleware  # noqa: PLC0415  # optional library
        except ImportError as error:
            raise MissingDependencyError(
                f"The WSGI application {application!r} needs a2wsgi to be mounted: "
                "pip install 'django-asgi-bridge[wsgi-mount]'"
            ) from error
        self.application = application
        # Its events are TypedDicts, ours plain mappings.
        self._adapter = cast("App", WSGIMiddleware(application, workers=threads))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request; close a WebSocket before it opens.

        Raises:
            ValueError: The scope is of another type.
        """
        if scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
            return
        if scope["type"] != "http":
            raise ValueError(
                "A WSGI application can only handle HTTP connections, not "
                f"{scope['type']}."
            )
        await self._adapter(scope, receive, send)


def wsgi(application: Callable[..., Any], *, threads: int = 10) -> WSGIGuest:
    """Declare that an application is WSGI, where its parameters do not tell.

    Args:
        application: The WSGI application.
        threads: Requests that it may serve at once.

    Returns:
        An ASGI 3 application, for ``mounts``.

    Raises:
        MissingDependencyError: a2wsgi is not installed.
    """
    return WSGIGuest(application, threads=threads)


def _checked_prefix(prefix: str) -> str:
    advice = ""
    if not prefix.startswith("/"):
        advice = "start it with a slash"
    elif prefix == "/":
        advice = "the application at the root is the default"
    elif prefix.endswith("/"):
        advice = f"write {prefix.rstrip('/')!r}, without the slash at its end"
    elif any(segment in {"", ".", ".."} for segment in prefix[1:].split("/")):
        advice = "leave out empty and dot segments"
    elif any(mark in prefix for mark in "%?#"):
        advice = "write the decoded path alone"
    if advice:
        raise ImproperlyConfigured(
            f"Mount prefix {prefix!r} is not valid, expected a path such as '/api': "
            f"{advice}."
        )
    return prefix


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _guest_scope(
    scope: Scope, root_path: str, prefix: str, is_full: bool
) -> dict[str, Any]:
    guest_scope = {**scope, "root_path": root_path + prefix}
    if not is_full:
        guest_scope["path"] = root_path + scope["path"]
        if scope.get("raw_path") is not None:
            # Latin-1 would be wrong for a root path beyond ASCII; URLs carry UTF-8.
            guest_scope["raw_path"] = root_path.encode() + scope["raw_path"]
    return guest_scope


def _single_callable(application: Callable[..., Any]) -> App:
    """Make ASGI 3 of ASGI 2: ``application(scope)(receive, send)``."""

    async def single_callable(scope: Scope, receive: Receive, send: Send) -> None:
        await application(scope)(receive, send)

    return functools.update_wrapper(single_callable, application)


def _adapt(application: Any) -> App:
    """Bring any of the three kinds to ASGI 3, told by how it may be called."""
    if isinstance(application, WSGIGuest):
        return application
    if getattr(application, "_asgi_single_callable", False):
        return cast("App", application)
    if getattr(application, "_asgi_double_callable", False):
        return _single_callable(application)
    if not callable(application):
        least, is_async = 0, False
    else:
        least = _least_arguments(application)
        is_async = inspect.iscoroutinefunction(application) or (
            inspect.iscoroutinefunction(type(application).__call__)
        )
    if is_async or least == 3:
        return cast("App", application)
    if least == 2:
        return WSGIGuest(application)
    if least == 1:
        return _single_callable(application)
    raise ImproperlyConfigured(
        f"Mounted application {application!r} is of no known kind, expected the "
        "parameters (scope, receive, send) of ASGI 3, (scope) of ASGI 2 or "
        "(environ, start_response) of WSGI: wrap it in such a function, or in "
        "django_asgi_bridge.mounts.wsgi()."
    )


def _least_arguments(application: Callable[..., Any]) -> int:
    """The least number of positional arguments that a call needs; 0 if unknown."""
    try:
        signature = inspect.signature(application)
    except (TypeError, ValueError):
        return 0
    for count in range(4):
        try:
            signature.bind(*(None,) * count)
        except TypeError:
            continue
        return count
    return 0
