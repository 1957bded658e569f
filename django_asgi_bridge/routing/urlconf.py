"""WebSocket routes from the URLconf: ``websocket_urlpatterns``.

They live beside ``urlpatterns`` and are resolved by Django's own resolver, in a
URLconf of their own that is put together from them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.urls import ResolverMatch, get_resolver
from django.urls import reverse as django_reverse
from django.urls.resolvers import URLPattern, URLResolver
from django.utils.http import urlencode

from django_asgi_bridge.conf import django_settings

__all__ = ("PATTERNS", "WebSocketURLconf", "current_urlconf", "reverse")

PATTERNS = "websocket_urlpatterns"


class WebSocketURLconf:
    """The WebSocket routes of a URLconf, as a URLconf that Django can resolve.

    Args:
        patterns: ``path()``, ``re_path()`` and ``include()`` entries; a module that
            is included gives its own ``websocket_urlpatterns``.

    Raises:
        ImproperlyConfigured: an entry is none of these.
    """

    def __init__(self, patterns: Iterable[Any]) -> None:
        self.source = patterns
        self.urlpatterns = [_converted(pattern) for pattern in patterns]

    def resolve(self, path_info: str) -> ResolverMatch:
        """Return the route of a path.

        Raises:
            Resolver404: there is none.
        """
        return get_resolver(self).resolve(path_info)  # type: ignore[arg-type] # any hashable


def _converted(pattern: Any) -> URLPattern | URLResolver:
    if isinstance(pattern, URLPattern):
        if getattr(pattern.callback, "_path_routing", False):
            raise ImproperlyConfigured(
                f"{pattern!r} in {PATTERNS} leads to a URLRouter: use include() there."
            )
        if isinstance(pattern.callback, type) and hasattr(pattern.callback, "as_asgi"):
            name = pattern.callback.__qualname__
            raise ImproperlyConfigured(
                f"{pattern!r} in {PATTERNS} leads to the class {name}: write "
                f"{name}.as_asgi() there, which makes a consumer for each connection."
            )
        return pattern
    if not isinstance(pattern, URLResolver):
        raise ImproperlyConfigured(
            f"{pattern!r} in {PATTERNS} is no route: expected path(), re_path() or "
            "include()."
        )
    included: Any = pattern.urlconf_name
    patterns = (
        getattr(included, PATTERNS, ())
        if isinstance(included, ModuleType)
        else included
    )
    return URLResolver(
        pattern.pattern,
        [_converted(each) for each in patterns],
        pattern.default_kwargs,
        pattern.app_name,
        pattern.namespace,
    )


_built: dict[str, WebSocketURLconf] = {}


def current_urlconf(name: Any = None) -> WebSocketURLconf:
    """Return the WebSocket routes of a URLconf; built when they first are asked for.

    Args:
        name: a module's dotted name, or a module; ``ROOT_URLCONF`` when left out.
    """
    name = name or django_settings.ROOT_URLCONF
    module = import_module(name) if isinstance(name, str) else name
    patterns: Sequence[Any] = getattr(module, PATTERNS, ())
    # One URLconf is in force at a time; tests change it.
    urlconf = _built.get("")
    if urlconf is None or urlconf.source is not patterns:
        urlconf = _built[""] = WebSocketURLconf(patterns)
    return urlconf


def reverse(
    viewname: str,
    args: Sequence[Any] | None = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    query: Mapping[str, Any] | None = None,
    current_app: str | None = None,
) -> str:
    """Return the path of a WebSocket route, by its name.

    Args:
        viewname: with its namespaces, such as ``"chat:room"``.
        query: for the query string.

    Raises:
        NoReverseMatch: no route of that name takes these arguments.
    """
    path = django_reverse(
        viewname,
        urlconf=current_urlconf(),  # type: ignore[arg-type] # any hashable
        args=args,
        kwargs=dict(kwargs) if kwargs else None,
        current_app=current_app,
    )
    if not query:
        return path
    return f"{path}?{_encoded(query)}"


def _encoded(query: Mapping[str, Any]) -> str:
    return urlencode(query, doseq=True)
