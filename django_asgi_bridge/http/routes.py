"""Which view a path leads to: what is known of one URLconf.

Django tries its patterns one after the other for each request. Where the answer can
depend on nothing but the path, that of a route without arguments is remembered.
Paths with arguments are not: there are too many of them. Patterns that come or go
while the site runs are noticed; whoever puts one in the place of another calls
``clear_url_caches()``, as for ``reverse()``.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from django.urls import ResolverMatch, URLPattern, URLResolver, converters
from django.urls.resolvers import LocalePrefixPattern, RegexPattern, RoutePattern

from django_asgi_bridge.http.hooks import unless_patched

__all__ = ("Routes", "copy_of", "routes_of")

MAX_REMEMBERED = 1024
"""Routes of a URLconf that are remembered; larger sites have others to look up."""

# Monitoring tools watch this method to name what they see.
_DJANGOS = unless_patched(URLResolver.resolve, "django.urls.resolvers")


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


def copy_of(match: Any) -> ResolverMatch:
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
        and vars(copy_of(match)).keys() == vars(match).keys()
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
