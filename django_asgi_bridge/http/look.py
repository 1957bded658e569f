"""The early look at a URL: which view does it seem to lead to?

It only chooses how a request is served: on which walk of the plan, with which
body and which policy. A look that fails, or that middleware overrules, is put
right by the real one.

Django tries its patterns one after the other for each request. Where the answer can
depend on nothing but the path, that of a route without arguments is remembered.
Paths with arguments are not: there are too many of them. Patterns that come or go
while the site runs are noticed; whoever puts one in the place of another calls
``clear_url_caches()``, as for ``reverse()``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.urls import (
    ResolverMatch,
    URLPattern,
    URLResolver,
    converters,
    get_resolver,
)
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern
from django.utils.translation import get_language

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.http.hooks import unless_patched
from django_asgi_bridge.http.marks import Marks, marks_of

__all__ = ("Look", "Routes", "load_routes", "look_at", "routes_of")

MAX_REMEMBERED = 1024
"""Routes of a URLconf that are remembered; larger sites have others to look up."""

# Monitoring tools watch this method to name what they see.
_DJANGOS = unless_patched(URLResolver.resolve, "django.urls.resolvers")


class Look:
    """What the early look at a URL found.

    It is shared by all requests for a path that is remembered.

    Attributes:
        path_info: the path that was looked up.
        urlconf: the URLconf that it was looked up in.
        language: the active language where the URLconf has patterns that depend
            on it, else ``None``.
        match: what it resolves to, ``None`` when it does not; not to be changed.
        marks: what is known of the view.
        policy: what becomes of the view when its client leaves.
    """

    __slots__ = (
        "_default_policy",
        "_is_shared",
        "language",
        "marks",
        "match",
        "path_info",
        "policy",
        "urlconf",
    )

    def __init__(
        self,
        path_info: str,
        urlconf: Any,
        language: str | None,
        match: ResolverMatch | None,
        default_policy: str,
    ) -> None:
        self.path_info = path_info
        self.urlconf = urlconf
        self.language = language
        self.match = match
        self.marks = _NO_MARKS if match is None else marks_of(match.func)
        self.policy = self.marks.policy or default_policy
        self._default_policy = default_policy
        self._is_shared = False

    def leads(self, path_info: str, urlconf: Any) -> bool:
        """Tell whether this was a look at that path in that URLconf."""
        return bool(self.path_info == path_info and self.urlconf == urlconf)

    def holds_for(self, request: HttpRequest) -> bool:
        """Tell whether the real look would find the same."""
        return bool(
            self.match is not None
            and not hasattr(request, "urlconf")
            and self.path_info == request.path_info
            and self.urlconf == read_setting("ROOT_URLCONF")
            and (self.language is None or self.language == get_language())
        )

    def take_match(self) -> ResolverMatch | None:
        """Return the match as a request's own, to do with as it likes."""
        match = self.match
        return _copy_of(match) if match is not None and self._is_shared else match


def look_at(path_info: str, urlconf: Any, default_policy: str) -> Look:
    """Find out which view ``path_info`` seems to lead to.

    Args:
        urlconf: the URLconf to look in; ``None`` for ``ROOT_URLCONF``.
        default_policy: for views that were not marked by ``@on_disconnect``.
    """
    urlconf = urlconf or read_setting("ROOT_URLCONF")
    language = None
    try:
        routes = routes_of(get_resolver(urlconf))
        known: Look | None = routes.recall(path_info)
        if known is not None and known._default_policy == default_policy:
            return known
        language = get_language() if routes.depends_on_language else None
        match = routes.resolver.resolve(path_info)
    except Exception:
        # Not found, or an error that the real look will meet in its place.
        return Look(path_info, urlconf, language, None, default_policy)
    look = Look(path_info, urlconf, language, match, default_policy)
    look._is_shared = routes.remember(path_info, match, look)
    return look


def load_routes(urlconf: str) -> None:
    """Import a URLconf and what it includes, before the first look.

    One that cannot be imported is left to the requests: each tells.
    """
    try:
        routes_of(get_resolver(urlconf))
    except Exception:
        return


class Routes:
    """The routes of one URLconf.

    Args:
        resolver: Django's own of that URLconf.

    Attributes:
        depends_on_language: some patterns differ from language to language.
    """

    __slots__ = ("_remembered", "_sizes", "depends_on_language", "resolver")

    def __init__(self, resolver: URLResolver) -> None:
        self.resolver = resolver
        self._learn()

    def _learn(self) -> None:
        nodes = list(_walk(self.resolver))
        self.depends_on_language = any(_is_translated(each.pattern) for each in nodes)
        is_known = not self.depends_on_language and all(map(_is_plain, nodes))
        self._remembered: dict[str, Any] | None = {} if is_known else None
        self._sizes = [
            (each.url_patterns, len(each.url_patterns))
            for each in nodes
            if isinstance(each, URLResolver)
        ]

    def recall(self, path: str) -> Any:
        """Return what was remembered of a path, ``None`` where that does not hold."""
        for patterns, size in self._sizes:
            if len(patterns) != size:
                # Somebody added some, or took them away.
                self._learn()
                break
        if self._remembered is None or URLResolver.resolve is not _DJANGOS:
            return None
        return self._remembered.get(path)

    def remember(self, path: str, match: ResolverMatch, found: Any) -> bool:
        """Keep ``found`` for ``recall``, if nothing but the path decides on it.

        Args:
            match: where the path leads.

        Returns:
            Whether it was kept.
        """
        remembered = self._remembered
        if remembered is None or URLResolver.resolve is not _DJANGOS:
            return False
        if match.args or match.kwargs or not _can_copy(match):
            return False
        if len(remembered) >= MAX_REMEMBERED:
            remembered.clear()
        remembered[path] = found
        return True


@lru_cache(maxsize=16)
def routes_of(resolver: URLResolver) -> Routes:
    """Return the routes of a resolver; ``clear_url_caches()`` makes new resolvers."""
    return Routes(resolver)


def _copy_of(match: Any) -> ResolverMatch:
    """Return the match of a route without arguments, to do with as one likes."""
    copy: Any = ResolverMatch.__new__(ResolverMatch)
    # One by one: to update the dictionary of a new object takes three times as long.
    copy.func = match.func
    copy.args = match.args
    copy.kwargs = {}
    copy.url_name = match.url_name
    copy.route = match.route
    copy.tried = match.tried
    copy.captured_kwargs = {}
    copy.extra_kwargs = {}
    copy.app_names = match.app_names.copy()
    copy.app_name = match.app_name
    copy.namespaces = match.namespaces.copy()
    copy.namespace = match.namespace
    copy._func_path = match._func_path
    copy.view_name = match.view_name
    made: ResolverMatch = copy
    return made


def _can_copy(match: ResolverMatch) -> bool:
    """Tell whether it has no more attributes than are known here."""
    return (
        type(match) is ResolverMatch
        and vars(_copy_of(match)).keys() == vars(match).keys()
    )


def _walk(resolver: URLResolver) -> Iterator[URLResolver | URLPattern]:
    yield resolver
    for each in resolver.url_patterns:
        if isinstance(each, URLResolver):
            yield from _walk(each)
        else:
            yield each


def _is_translated(pattern: Any) -> bool:
    if isinstance(pattern, LocalePrefixPattern):
        return True
    # A lazy translation is no str yet.
    route = getattr(pattern, "_route", None) or getattr(pattern, "_regex", None)
    return route is not None and not isinstance(route, str)


def _is_plain(node: URLResolver | URLPattern) -> bool:
    """Tell whether only the path decides if ``node`` matches it."""
    pattern: Any = node.pattern
    return (
        type(node) in (URLResolver, URLPattern)
        and type(pattern) in (RoutePattern, RegexPattern)
        and all(type(each) in _CONVERTERS for each in pattern.converters.values())
    )


_CONVERTERS = frozenset(
    {
        converters.IntConverter,
        converters.PathConverter,
        converters.SlugConverter,
        converters.StringConverter,
        converters.UUIDConverter,
    }
)

_NO_MARKS = Marks()
