"""The early look at a URL: which view does it seem to lead to?

It only chooses how a request is served: on which walk of the plan, with which
body and which policy. A look that fails, or that middleware overrules, is put
right by the real one.
"""

from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver
from django.utils.translation import get_language

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.http.marks import Marks, marks_of
from django_asgi_bridge.http.routes import copy_of, routes_of

__all__ = ("Look", "look_at")


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
        return copy_of(match) if match is not None and self._is_shared else match


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


_NO_MARKS = Marks()
