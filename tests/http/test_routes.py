"""What is remembered of a URLconf, and what is asked of Django each time."""

from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import (
    ResolverMatch,
    URLResolver,
    converters,
    get_resolver,
    include,
    path,
    re_path,
    register_converter,
)
from django.urls.resolvers import RegexPattern
from django.utils.translation import gettext_lazy

from django_asgi_bridge.http import look
from django_asgi_bridge.http.look import Routes, look_at, routes_of


def view(request: Any, **kwargs: Any) -> HttpResponse:
    """Answer."""
    return HttpResponse()


class Moody(converters.StringConverter):
    """A converter that may change its mind, as one that asks a database does."""


@pytest.fixture
def moody() -> Iterator[None]:
    """Register a converter of a site."""
    register_converter(Moody, "moody")
    yield
    converters.REGISTERED_CONVERTERS.pop("moody")
    converters.get_converters.cache_clear()


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is asked of Django's patterns."""
    found: list[str] = []
    original = RegexPattern.match

    def match(self: Any, path: str) -> Any:
        found.append(path)
        return original(self, path)

    monkeypatch.setattr(RegexPattern, "match", match)
    return found


class Site:
    """A URLconf with these patterns."""

    def __init__(self, *patterns: Any) -> None:
        self.urlconf: Any = ModuleType("urls_of_a_test")
        self.urlconf.urlpatterns = list(patterns)

    def resolve(self, path: str) -> ResolverMatch | None:
        """Look where a path leads, as a request does."""
        return look_at(path, self.urlconf, "cancel").take_match()

    @property
    def routes(self) -> Routes:
        """What is known of it."""
        return routes_of(get_resolver(self.urlconf))


def test_routes_remember_where_a_path_leads(asked):
    """Django is asked once for a route without arguments, in includes too."""
    known = Site(
        path("<int:number>/", view),
        path("notes/", include(([path("all/", view, name="all")], "notes"))),
    )

    first = known.resolve("/notes/all/")
    again = known.resolve("/notes/all/")

    assert asked == ["/notes/all/"]
    assert again is not first
    assert {**vars(again), "tried": 0} == {**vars(first), "tried": 0}
    assert again.view_name == "notes:all"


def test_routes_hand_out_matches_that_share_nothing_that_changes():
    """What a middleware does to a match is not seen by the next request."""
    known = Site(path("a/", view))
    for _ in range(3):
        match = known.resolve("/a/")
        assert match.kwargs == match.captured_kwargs == match.extra_kwargs == {}
        assert match.namespaces == match.app_names == []
        match.kwargs["seen"] = match.captured_kwargs["seen"] = True
        match.extra_kwargs["seen"] = True
        match.namespaces.append("seen")
        match.app_names.append("seen")


def test_routes_ask_again_when_a_path_has_arguments(asked):
    """There is no end of such paths."""
    known = Site(
        path("<slug:name>/", view), re_path(r"^(\d+)$", view), path("x", view, {"a": 1})
    )
    for each in ("/a/", "/1", "/x") * 2:
        known.resolve(each)

    assert [each for each in asked if each.startswith("/")] == ["/a/", "/1", "/x"] * 2


def test_routes_ask_again_when_a_converter_is_the_sites_own(moody, asked):
    """It may answer otherwise the next time, and another route would get the path."""
    known = Site(path("<moody:name>/", view), path("a/b/", view))
    for _ in range(2):
        known.resolve("/a/b/")

    assert asked == ["/a/b/"] * 2


def test_routes_ask_again_when_they_depend_on_the_language(asked):
    """A path that is translated leads elsewhere in another language."""
    route: Any = gettext_lazy("a/")
    known = Site(path(route, view))
    for _ in range(2):
        known.resolve("/a/")

    assert known.routes.depends_on_language
    assert asked == ["/a/"] * 2


def test_routes_ask_again_when_a_tool_watches_djangos_resolver(monkeypatch):
    """A tool that names requests by what they resolve to sees each of them."""
    known = Site(path("a/", view))
    known.resolve("/a/")
    seen = []
    original = URLResolver.resolve

    def resolve(self: Any, path: Any) -> Any:
        seen.append(path)
        return original(self, path)

    monkeypatch.setattr(URLResolver, "resolve", resolve)
    known.resolve("/a/")
    known.resolve("/a/")

    assert seen == ["/a/"] * 2


def test_a_remembered_look_is_one_for_all_requests():
    """Nothing is found out anew, except under another policy for views."""
    known = Site(path("a/", view), path("<int:number>/", view))

    first = look_at("/a/", known.urlconf, "cancel")

    assert look_at("/a/", known.urlconf, "cancel") is first
    assert look_at("/a/", known.urlconf, "finish").policy == "finish"
    assert look_at("/a/", known.urlconf, "cancel").policy == "cancel"
    with_arguments = look_at("/1/", known.urlconf, "cancel")
    assert with_arguments.take_match() is with_arguments.match


def test_routes_remember_no_match_that_they_cannot_copy():
    """A later Django may know more of it, or a tool may have put a note on it."""
    known = Site(path("a/", view))
    match: Any = known.routes.resolver.resolve("/a/")
    assert known.routes.remember("/a/", match, "found")

    match.noted = True

    assert not known.routes.remember("/b/", match, "found")
    assert (known.routes.recall("/a/"), known.routes.recall("/b/")) == ("found", None)


def test_routes_notice_a_pattern_that_is_added():
    """A pattern that is put in front gets the path from then on."""

    def other(request: Any) -> HttpResponse:
        return HttpResponse()

    inner = [path("b/", view)]
    known = Site(path("a/", include(inner)))
    assert known.resolve("/a/b/").func is view

    inner.insert(0, path("b/", other))

    assert known.resolve("/a/b/").func is other


def test_routes_remember_no_more_than_they_may(monkeypatch, asked):
    """A path that leads nowhere is not remembered, and a large site has its bound."""
    monkeypatch.setattr(look, "MAX_REMEMBERED", 2)
    known = Site(re_path("", view))
    for each in "abcde":
        known.resolve(f"/{each}")
        assert len(known.routes._remembered or ()) <= 2

    nothing = Site()
    for _ in range(2):
        assert nothing.resolve("/a/") is None
    assert not nothing.routes._remembered
