"""The early look at a URL: which view does it seem to lead to?

It only chooses how a request is served: on which walk of the plan, with which
body and which policy. A look that fails, or that middleware overrules, is put
right by the real one.
"""

from typing import Any, NamedTuple

from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver
from django.utils.translation import get_language

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.http.marks import Marks, marks_of
from django_asgi_bridge.http.routes import routes_of

__all__ = ("Look", "look_at")


class Look(NamedTuple):
    """What the early look at a URL found.

    Attributes:
        path_info: the path that was looked up.
        urlconf: the URLconf that it was looked up in.
        language: the active language where the URLconf has patterns that depend
            on it, else ``None``.
        match: what it resolves to, ``None`` when it does not.
        marks: what is known of the view.
        policy: what becomes of the view when its client leaves.
    """

    path_info: str
    urlconf: Any
    language: str | None
    match: ResolverMatch | None
    marks: Marks
    policy: str

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
        language = get_language() if routes.depends_on_language else None
        match = routes.resolve(path_info)
    except Exception:
        # Not found, or an error that the real look will meet in its place.
        return Look(path_info, urlconf, language, None, _NO_MARKS, default_policy)
    marks = marks_of(match.func)
    policy = marks.policy or default_policy
    return Look(path_info, urlconf, language, match, marks, policy)


_NO_MARKS = Marks()
