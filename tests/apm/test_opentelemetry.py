"""OpenTelemetry's Django and ASGI instrumentations on this handler."""

from functools import cache
from typing import Any

import pytest

from tests.apm.processes import recorded

pytest.importorskip("opentelemetry.instrumentation.django")
pytest.importorskip("opentelemetry.instrumentation.asgi")

URLS = (
    "/sync/1/",
    "/async/1/",
    "/fail/sync/",
    "/fail/async/",
    "/missing/",
    "/nowhere/",
    "/stream/",
)

both = pytest.mark.parametrize("is_wrapped", [True, False], ids=["asgi", "django"])


@cache
def under_otel(door: str, **order: Any) -> dict[str, Any]:
    answers = recorded("otel_child", door=door, urls=URLS, **order)
    return dict(zip(URLS, answers, strict=True))


def but_receives(spans: list[Any]) -> list[Any]:
    """Leave out the ``receive`` spans: a body that nobody wants is not read here."""
    return [span for span in spans if not span["name"].endswith("http receive")]


@both
@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("sdk", ["before", "after"])
def test_opentelemetry_records_the_same_as_on_djangos_handler(sdk, url, is_wrapped):
    """Names, parents, routes, statuses and exceptions of the spans are the same."""
    ours = under_otel("bridge", sdk=sdk, is_wrapped=is_wrapped)[url]
    theirs = under_otel("django", sdk="before", is_wrapped=is_wrapped)[url]

    assert ours["status"] == theirs["status"]
    assert but_receives(ours["spans"]) == but_receives(theirs["spans"])


@both
@pytest.mark.parametrize("url", URLS)
def test_opentelemetry_has_nothing_to_complain_about(url, is_wrapped):
    """No context fails to detach, no span is left open or current."""
    answer = under_otel("bridge", is_wrapped=is_wrapped)[url]

    assert answer["complaints"] == []
    assert all(span["is_ended"] for span in answer["spans"])
    assert not answer["is_span_left"]


@pytest.mark.parametrize("url", ["/sync/1/", "/async/1/", "/fail/async/", "/missing/"])
def test_sync_only_middleware_costs_one_trip(url):
    """OpenTelemetry's middleware takes the whole request to one worker, once."""
    assert under_otel("bridge")[url]["trips"] == 1


@pytest.mark.parametrize("url", URLS)
def test_worker_is_given_back(url):
    """The worker that the middleware held is free after the response."""
    assert under_otel("bridge")[url]["leased"] == 0


def test_view_span_is_a_child_of_the_servers():
    """The context that the ASGI wrapper sets reaches the middleware's thread."""
    spans = under_otel("bridge", is_wrapped=True)["/async/1/"]["spans"]

    inner = next(span for span in spans if span["route"])
    server = next(span for span in spans if span["kind"] == "SERVER")
    assert inner["parent"] == server["name"]
