"""What is remembered of a URLconf, and what is asked of Django each time."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpResponse
from django.urls import (
    Resolver404,
    URLResolver,
    converters,
    include,
    path,
    re_path,
    register_converter,
)
from django.urls.resolvers import RegexPattern
from django.utils.translation import gettext_lazy

from django_asgi_bridge.http import routes
from django_asgi_bridge.http.routes import Routes


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


def routes_to(*patterns: Any) -> Routes:
    """Return the routes of a URLconf with these patterns."""
    return Routes(URLResolver(RegexPattern(r"^/"), list(patterns)))


def test_routes_remember_where_a_path_leads(asked):
    """Django is asked once for a route without arguments, in includes too."""
    known = routes_to(
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
    known = routes_to(path("a/", view))
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
    known = routes_to(
        path("<slug:name>/", view), re_path(r"^(\d+)$", view), path("x", view, {"a": 1})
    )
    for each in ("/a/", "/1", "/x") * 2:
        known.resolve(each)

    assert [each for each in asked if each.startswith("/")] == ["/a/", "/1", "/x"] * 2


def test_routes_ask_again_when_a_converter_is_the_sites_own(moody, asked):
    """It may answer otherwise the next time, and another route would get the path."""
    known = routes_to(path("<moody:name>/", view), path("a/b/", view))
    for _ in range(2):
        known.resolve("/a/b/")

    assert asked == ["/a/b/"] * 2


def test_routes_ask_again_when_they_depend_on_the_language(asked):
    """A path that is translated leads elsewhere in another language."""
    route: Any = gettext_lazy("a/")
    known = routes_to(path(route, view))
    for _ in range(2):
        known.resolve("/a/")

    assert known.depends_on_language
    assert asked == ["/a/"] * 2


def test_routes_ask_again_when_a_tool_watches_djangos_resolver(monkeypatch):
    """A tool that names requests by what they resolve to sees each of them."""
    known = routes_to(path("a/", view))
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


def test_routes_notice_a_pattern_that_is_added():
    """A pattern that is put in front gets the path from then on."""

    def other(request: Any) -> HttpResponse:
        return HttpResponse()

    inner = [path("b/", view)]
    known = routes_to(path("a/", include(inner)))
    assert known.resolve("/a/b/").func is view

    inner.insert(0, path("b/", other))

    assert known.resolve("/a/b/").func is other


def test_routes_remember_no_more_than_they_may(monkeypatch, asked):
    """A path that leads nowhere is not remembered, and a large site has its bound."""
    monkeypatch.setattr(routes, "MAX_REMEMBERED", 2)
    known = routes_to(re_path("", view))
    for each in "abcde":
        known.resolve(f"/{each}")
        assert len(known._remembered or ()) <= 2

    nothing = routes_to()
    for _ in range(2):
        with pytest.raises(Resolver404):
            nothing.resolve("/a/")
    assert not nothing._remembered
