"""The early look at a URL: which view does it seem to lead to?

It only chooses how a request is served: on which walk of the plan, with which
body and which policy. A look that fails, or that middleware overrules, is put
right by the real one.
"""

from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest
from django.urls import ResolverMatch, get_resolver
from django.utils.translation import get_language

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.http.djangos import iscoroutinefunction
from django_asgi_bridge.http.marks import disconnect_policy, does_stream_body

__all__ = ("Look", "look_at")


@dataclass(frozen=True, slots=True)
class Look:
    """What the early look at a URL found.

    Attributes:
        path_info: the path that was looked up.
        urlconf: the URLconf that it was looked up in.
        language: the active language, which translated patterns depend on.
        match: what it resolves to, ``None`` when it does not.
        is_async: the view is a coroutine function.
        streams_body: the view was marked with ``@streams_body``.
        policy: what becomes of the view when its client leaves.
    """

    path_info: str
    urlconf: Any
    language: str | None
    match: ResolverMatch | None
    is_async: bool
    streams_body: bool
    policy: str

    def leads(self, path_info: str, urlconf: Any) -> bool:
        """Tell whether this was a look at that path in that URLconf."""
        return bool(self.path_info == path_info and self.urlconf == urlconf)

    def holds_for(self, request: HttpRequest) -> bool:
        """Tell whether the real look would find the same."""
        return bool(
            self.match is not None
            and not hasattr(request, "urlconf")
            and self.leads(request.path_info, settings.ROOT_URLCONF)
            and (self.language is None or self.language == get_language())
        )


def look_at(path_info: str, urlconf: Any, default_policy: str) -> Look:
    """Find out which view ``path_info`` seems to lead to.

    Args:
        urlconf: the URLconf to look in; ``None`` for ``ROOT_URLCONF``.
        default_policy: for views that were not marked by ``@on_disconnect``.
    """
    urlconf = urlconf or settings.ROOT_URLCONF
    language = get_language() if settings.USE_I18N else None
    try:
        match = get_resolver(urlconf).resolve(path_info)
    except Exception:
        # Not found, or an error that the real look will meet in its place.
        return Look(path_info, urlconf, language, None, False, False, default_policy)
    view = match.func
    return Look(
        path_info,
        urlconf,
        language,
        match,
        iscoroutinefunction(view),
        does_stream_body(view),
        disconnect_policy(view, default_policy),
    )
