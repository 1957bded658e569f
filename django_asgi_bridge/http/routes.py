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

from django_asgi_bridge.http.hooks import is_from

__all__ = ("Routes", "routes_of")

MAX_REMEMBERED = 1024
"""Routes of a URLconf that are remembered; larger sites have others to look up."""

_DJANGOS = "django.urls.resolvers"


class Routes:
    """The routes of one URLconf.

    Args:
        resolver: Django's own of that URLconf.

    Attributes:
        depends_on_language: some patterns differ from language to language.
    """

    __slots__ = ("_lengths", "_lists", "_remembered", "depends_on_language", "resolver")

    def __init__(self, resolver: URLResolver) -> None:
        self.resolver = resolver
        self._learn()

    def _learn(self) -> None:
        nodes = list(_walk(self.resolver))
        self.depends_on_language = any(_is_translated(each.pattern) for each in nodes)
        is_known = not self.depends_on_language and all(map(_is_plain, nodes))
        self._remembered: dict[str, ResolverMatch] | None = {} if is_known else None
        self._lists: list[Any] = [
            each.url_patterns for each in nodes if isinstance(each, URLResolver)
        ]
        self._lengths = [len(each) for each in self._lists]

    def resolve(self, path: str) -> ResolverMatch:
        """Return the match of a path; the caller's own, to do with as it likes.

        Raises:
            Resolver404: no route leads there.
        """
        # Somebody may have added patterns.
        if [len(each) for each in self._lists] != self._lengths:
            self._learn()
        # Monitoring tools watch Django's method to name what they see.
        remembered = self._remembered
        if remembered is None or not is_from(URLResolver.resolve, _DJANGOS):
            return self.resolver.resolve(path)
        match = remembered.get(path)
        if match is None:
            match = self.resolver.resolve(path)
            if match.args or match.kwargs or type(match) is not ResolverMatch:
                return match
            if len(remembered) >= MAX_REMEMBERED:
                remembered.clear()
            remembered[path] = match
        return _copy(match)


@lru_cache(maxsize=16)
def routes_of(resolver: URLResolver) -> Routes:
    """Return the routes of a resolver; ``clear_url_caches()`` makes new resolvers."""
    return Routes(resolver)


def _copy(match: ResolverMatch) -> ResolverMatch:
    copy = ResolverMatch.__new__(ResolverMatch)
    state = vars(copy)
    state.update(vars(match))
    state["kwargs"] = {}
    state["captured_kwargs"] = {}
    state["extra_kwargs"] = {}
    state["app_names"] = match.app_names.copy()
    state["namespaces"] = match.namespaces.copy()
    return copy


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
