"""The tables of cases: what is to be measured is there, and can be answered."""

from fnmatch import fnmatch

import pytest
from django.urls import resolve

from testproject.bench.cases import CASES, SERIES, find
from testproject.bench.loads.client import ClientLoad
from testproject.bench.loads.wrk import Wrk
from testproject.bench.peers import (
    BARE,
    BOLT,
    CHANNELS,
    DJANGO,
    GTHREAD,
    OURS,
    OURS_GRANIAN,
    STARLETTE,
)

KINDS = ("async", "sync")
DATABASES = ("sqlite", "postgres")
SHAPES = ("query", "queries", "page")
EXPECTED = {
    *(
        f"{each}.{kind}"
        for each in ("hello", "json", "wait", "big", "csv")
        for kind in KINDS
    ),
    *(f"hello.{kind}.default" for kind in KINDS),
    *(
        f"{shape}.{kind}.{database}{suffix}"
        for shape in SHAPES
        for kind in KINDS
        for database in DATABASES
        for suffix in ("", ".default", ".signed-in")
    ),
    *(
        f"user.{kind}.{database}.{suffix}"
        for kind in KINDS
        for database in DATABASES
        for suffix in ("default", "signed-in")
    ),
    *("file", "upload", "events", "start"),
    *(f"echo.{each}" for each in ("async", "sync", "json", "group", "group.redis")),
    *(
        f"fan-out.{way}.{sockets}.{layer}"
        for way in ("handler", "broadcast")
        for sockets in (500, 2000)
        for layer in ("memory", "redis", "redis-2")
    ),
    *("connect", "connect.signed-in", "idle", "idle.signed-in", "ten-thousand"),
}


def test_cases_are_all_that_are_to_be_measured():
    assert {name for name in CASES if not name.startswith("growth.")} == EXPECTED


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("growth.connections", 1, 512),
        ("growth.middlewares.async", 0, 20),
        ("growth.middlewares.sync", 0, 20),
        ("growth.routes", 10, 5000),
        ("growth.members", 10, 5000),
        ("growth.groups", 10, 10_000),
    ],
)
def test_series_go_from_little_to_much(name, first, last):
    amounts = list(SERIES[name].cases)

    assert (amounts[0], amounts[-1]) == (first, last)
    assert amounts == sorted(amounts)


@pytest.mark.parametrize(
    ("pattern", "peers"),
    [
        ("hello.async", {OURS, OURS_GRANIAN, DJANGO, BARE, STARLETTE, BOLT}),
        ("hello.sync", {OURS, OURS_GRANIAN, DJANGO, GTHREAD, STARLETTE, BOLT}),
        ("query.sync.*", {OURS, OURS_GRANIAN, DJANGO, GTHREAD, BOLT}),
        ("fan-out.handler.500.memory", {CHANNELS, BARE}),
        ("fan-out.*.redis-2", {CHANNELS}),
    ],
)
def test_cases_have_the_peers(pattern, peers):
    matching = [case for name, case in CASES.items() if fnmatch(name, pattern)]

    assert matching
    for case in matching:
        taking_part = [each.peer for each in case.contenders]
        assert all(peer in taking_part for peer in peers), case.name


def test_labels_tell_the_contenders_of_a_case_apart():
    for case in CASES.values():
        labels = [each.label for each in case.contenders]
        assert len(set(labels)) == len(labels), case.name


def test_cases_start_with_this_package():
    """Ratios are to the first."""
    for case in CASES.values():
        assert case.contenders[0].label.startswith("django_asgi_bridge"), case.name


def http_paths(*targets):
    """Give the paths that are asked of sites with some targets."""
    for case in CASES.values():
        for each in case.contenders:
            load = each.load or case.load
            if each.peer.target not in targets:
                continue
            if isinstance(load, Wrk):
                yield load.path
            elif isinstance(load, ClientLoad) and load.client != "sockets":
                yield load.job["path"]


@pytest.mark.parametrize(
    ("targets", "urlconf"),
    [(("django_asgi", "django_wsgi"), "urls"), (("ours",), "urls_ours")],
)
def test_paths_are_routes_of_the_django_sites(targets, urlconf):
    """``resolve()`` raises where there is none."""
    paths = {*http_paths(*targets)}

    resolved = {
        path: resolve(path, f"testproject.bench.site.{urlconf}") for path in paths
    }

    assert resolved


def test_paths_are_routes_of_starlette():
    pytest.importorskip("starlette")
    from starlette.routing import Match

    from testproject.bench.site.with_starlette import application

    for path in {*http_paths("with_starlette")}:
        scope = {"type": "http", "path": path, "method": "GET", "headers": []}
        matches = [route.matches(scope)[0] for route in application.routes]
        assert any(each is not Match.NONE for each in matches), path


def test_paths_are_served_by_the_bare_function():
    from testproject.bench.site import bare

    for path in {*http_paths("bare")}:
        assert path in bare._HTTP


@pytest.mark.parametrize(
    ("word", "count"),
    [("hello.sync", 1), ("fan-out.handler", 6), ("fan-out.*.2000.memory", 2)],
)
def test_find_takes_names_beginnings_and_patterns(word, count):
    assert len(find(word)) == count


def test_find_refuses_a_name_that_nobody_has():
    with pytest.raises(LookupError, match="hullo"):
        find("hullo")
