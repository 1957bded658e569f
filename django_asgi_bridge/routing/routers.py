"""Routers that are put together by hand, as in Channels."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Iterable, Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls.exceptions import Resolver404
from django.urls.resolvers import RegexPattern, RoutePattern, URLResolver

from django_asgi_bridge.conf import django_settings, get_config
from django_asgi_bridge.lifespan import Lifespan, app_hooks, find_hooks
from django_asgi_bridge.threads import hand_on, raising, run_apart, tail_call
from django_asgi_bridge.types import App, Receive, Scope, Send

__all__ = (
    "ChannelNameRouter",
    "ProtocolTypeRouter",
    "URLRouter",
    "get_default_application",
)


def get_default_application() -> Any:
    """Return the application that ``ASGI_APPLICATION`` names.

    Raises:
        ImproperlyConfigured: the setting, its module or the name in it is missing.
    """
    try:
        path, name = django_settings.ASGI_APPLICATION.rsplit(".", 1)
    except (ValueError, AttributeError):
        raise ImproperlyConfigured("Cannot find ASGI_APPLICATION setting.") from None
    try:
        module = importlib.import_module(path)
    except ImportError as error:
        raise ImproperlyConfigured(
            f"Cannot import ASGI_APPLICATION module {path!r}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise ImproperlyConfigured(
            f"Cannot find {name!r} in ASGI_APPLICATION module {path}"
        ) from None


class ProtocolTypeRouter:
    """Hands each scope to the application of its type.

    A ``lifespan`` scope without an application of its own runs the project's
    startup and shutdown hooks.

    Args:
        application_mapping: applications by scope type.
    """

    def __init__(self, application_mapping: Mapping[str, App]) -> None:
        self.application_mapping = application_mapping

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve one scope.

        Raises:
            ValueError: no application is for its type.
            KeyError: it has no type.
        """
        kind: Any = scope.get("type")
        application = self.application_mapping.get(kind)
        if application is None and kind == "lifespan":
            application = self._lifespan
        if application is None:
            return raising(
                ValueError(f"No application configured for scope type {kind!r}")
                if "type" in scope
                else KeyError("type")
            )
        return hand_on(application, scope, receive, send)

    @cached_property
    def _lifespan(self) -> App:
        """What answers for startup and shutdown: that of our own handler, if any."""
        http: Any = self.application_mapping.get("http")
        if getattr(http, "answers_lifespan", False):
            return http  # type: ignore[no-any-return] # an application
        lifespan = getattr(http, "lifespan", None)
        if isinstance(lifespan, Lifespan):
            return lifespan
        config = get_config()
        return Lifespan(
            [*app_hooks(), *find_hooks(config.lifespan)],
            timeout=config.lifespan_timeout,
            run_sync=run_apart,
        )


class URLRouter:
    """Hands each connection to the application whose route its path matches.

    Routers may be nested, bare or inside middleware that passes ``_path_routing``
    on.

    Args:
        routes: of Django's ``path()`` and ``re_path()``, with applications in the
            place of views. They are not changed.

    Raises:
        ImproperlyConfigured: one is an ``include()``.
    """

    # Routes to such an application match the beginning of a path.
    _path_routing = True

    def __init__(self, routes: Iterable[Any]) -> None:
        self.routes = routes if isinstance(routes, list) else list(routes)
        self._patterns = [(_pattern_of(route), route) for route in self.routes]

    @tail_call
    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[Any]:
        """Serve one connection.

        Raises:
            ValueError: no route matches, or the scope has no path.
            Resolver404: no route matches and this is an inner router: the outer one
                goes on with its next route.
        """
        try:
            found = self._find(scope)
        except Exception as error:
            return raising(error)
        if found is not None and hasattr(found[0], "consumer_class"):
            # It is no router, which might know no route.
            return found[0](found[1], receive, send)
        return self._try_each(scope, receive, send, found)

    async def _try_each(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        found: tuple[App, Scope, int] | None,
    ) -> Any:
        """Serve by the first application that does not say that it knows no route."""
        while found is not None:
            callback, inner, following = found
            # What is left here is kept as long as the connection lives.
            found = None
            try:
                return await callback(inner, receive, send)
            except Resolver404:
                found = self._find(scope, following)
        error = Resolver404 if "path_remaining" in scope else ValueError
        raise error(f"No route found for path {_path_of(scope)!r}.")

    def _find(self, scope: Scope, first: int = 0) -> tuple[App, Scope, int] | None:
        """Return the application of the first route that matches, and its scope.

        The number of the route after it is what goes on with the next ones.
        """
        path = _path_of(scope)
        for index in range(first, len(self._patterns)):
            pattern, route = self._patterns[index]
            match = pattern.match(path)
            if not match:
                continue
            remaining, args, kwargs = match
            outer = scope.get("url_route") or {}
            url_route = {
                "args": (*outer.get("args", ()), *args),
                "kwargs": {**outer.get("kwargs", {}), **kwargs, **route.default_args},
            }
            inner = {**scope, "path_remaining": remaining, "url_route": url_route}
            return route.callback, inner, index + 1
        return None


def _path_of(scope: Scope) -> str:
    """Return what of a path is left for a router."""
    is_inner = "path_remaining" in scope
    path: str | None = scope.get("path_remaining", scope.get("path"))
    if path is None:
        raise ValueError("No 'path' key in connection scope, cannot route URLs")
    if not is_inner:
        path = _below_root(path, scope.get("root_path") or "")
    return path.lstrip("/")


def _pattern_of(route: Any) -> Any:
    """Return the pattern that a route's path is matched with."""
    if not route.callback and isinstance(route, URLResolver):
        raise ImproperlyConfigured(
            f"{route}: include() is not supported in URLRouter. Use nested"
            " URLRouter instances instead."
        )
    pattern = route.pattern
    if getattr(route.callback, "_path_routing", False) is not True:
        return pattern
    for kind, attribute in ((RegexPattern, "_regex"), (RoutePattern, "_route")):
        if isinstance(pattern, kind):
            # As it was written: str() would translate a lazy one once for all.
            written = getattr(pattern, attribute)
            return type(pattern)(written, pattern.name, is_endpoint=False)
    raise ValueError(f"Unsupported pattern type: {type(pattern)}")


def _below_root(path: str, root_path: str) -> str:
    if root_path and not path.startswith(root_path):
        raise ValueError(f"No route found for path {path!r}.")
    return path[len(root_path) :]


class ChannelNameRouter:
    """Hands the scope of a worker's channel to the application for it.

    Args:
        application_mapping: applications by channel name.
    """

    def __init__(self, application_mapping: Mapping[str, App]) -> None:
        self.application_mapping = application_mapping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> Any:
        """Serve one channel.

        Raises:
            ValueError: the scope has no channel, or no application is for it.
        """
        if "channel" not in scope:
            raise ValueError(
                "ChannelNameRouter got a scope without a 'channel' key. "
                "Did you make sure it's only being used for 'channel' type messages?"
            )
        application = self.application_mapping.get(scope["channel"])
        if application is None:
            raise ValueError(
                f"No application configured for channel name {scope['channel']!r}"
            )
        return await application(scope, receive, send)
