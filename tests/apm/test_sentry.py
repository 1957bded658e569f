"""sentry-sdk's Django integration sees on this handler what it sees on Django's."""

from functools import cache
from typing import Any

import pytest

from tests.apm.processes import recorded

pytest.importorskip("sentry_sdk")

URLS = (
    "/sync/1/",
    "/async/1/",
    "/fail/sync/",
    "/fail/async/",
    "/user/sync/",
    "/user/async/",
    "/missing/",
    "/nowhere/",
    "/stream/",
)
HOOKS = {
    "SecurityMiddleware": ("process_request", "process_response"),
    "SessionMiddleware": ("process_request", "process_response"),
    "CommonMiddleware": ("process_request", "process_response"),
    "CsrfViewMiddleware": ("process_request", "process_view", "process_response"),
    "AuthenticationMiddleware": ("process_request",),
    "MessageMiddleware": ("process_request", "process_response"),
    "XFrameOptionsMiddleware": ("process_response",),
}


@cache
def under_sentry(door: str, **order: Any) -> dict[str, Any]:
    answers = recorded("sentry_child", door=door, urls=URLS, **order)
    return dict(zip(URLS, answers, strict=True))


def spans(answer: Any, op: str) -> list[str]:
    transaction = next(e for e in answer["events"] if e["kind"] == "transaction")
    return [name for kind, name in transaction["spans"] if kind == op]


def without_middleware(events: list[Any]) -> list[Any]:
    """Leave out the spans that differ by design: theirs has one for ``__acall__``."""
    return [
        {
            **event,
            "spans": [
                span
                for span in event.get("spans", ())
                if span[0] != "middleware.django"
            ],
        }
        for event in events
    ]


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("sdk", ["before", "after"])
def test_sentry_records_the_same_as_on_djangos_handler(sdk, url):
    """Names, statuses, users, exceptions, view and receiver spans are the same."""
    ours = under_sentry("bridge", sdk=sdk)[url]
    theirs = under_sentry("django", sdk="before")[url]

    assert ours["status"] == theirs["status"]
    assert without_middleware(ours["events"]) == without_middleware(theirs["events"])


@pytest.mark.parametrize(("url", "trips"), [("/sync/1/", 1), ("/async/1/", 0)])
@pytest.mark.parametrize("middleware_spans", [True, False])
@pytest.mark.parametrize("sdk", ["before", "after"])
def test_sentry_costs_no_trip(sdk, middleware_spans, url, trips):
    """A sync view takes one trip, an async view none, as without Sentry."""
    answers = under_sentry("bridge", sdk=sdk, middleware_spans=middleware_spans)

    assert answers[url]["trips"] == trips


@pytest.mark.parametrize("url", ["/sync/1/", "/async/1/"])
def test_each_hook_has_its_span(url):
    """Inline or on a worker, every hook of every middleware is recorded once."""
    found = spans(under_sentry("bridge", sdk="before")[url], "middleware.django")

    wanted = [f"{name}.{hook}" for name, hooks in HOOKS.items() for hook in hooks]
    assert sorted(".".join(each.split(".")[-2:]) for each in found) == sorted(wanted)


@pytest.mark.parametrize("url", ["/fail/sync/", "/fail/async/"])
def test_exception_is_captured_once(url):
    """One event for the error beside the transaction, with Django's mechanism."""
    events = under_sentry("bridge", sdk="before")[url]["events"]

    errors = [event for event in events if event["kind"] == "event"]
    assert [error["exception"] for error in errors] == [["Failed"]]
    assert errors[0]["mechanism"] == "django"


@pytest.mark.parametrize("url", ["/user/sync/", "/user/async/"])
def test_user_is_known(url):
    """The request's user is on the error."""
    events = under_sentry("bridge", sdk="before")[url]["events"]

    assert {event["user"] for event in events} == {"ada"}


@pytest.mark.parametrize("url", URLS)
def test_every_span_is_finished(url):
    """Nothing stays open when the transaction is sent."""
    events = under_sentry("bridge", sdk="before")[url]["events"]

    assert [span for e in events for span in e.get("unfinished", ())] == []


@pytest.mark.parametrize("url", ["/sync/1/", "/async/1/"])
def test_projects_receivers_have_their_spans(url):
    """A project's receivers of both signals are recorded, as on Django's handler."""
    ours = spans(under_sentry("bridge", has_receiver=True)[url], "event.django")
    theirs = spans(under_sentry("django", has_receiver=True)[url], "event.django")

    assert ours == theirs
    assert len([each for each in ours if each.endswith("receive_started")]) == 2


def test_transaction_may_be_named_after_the_view():
    """The integration's other naming style works too."""
    answer = under_sentry("bridge", style="function_name")["/async/1/"]

    assert answer["events"][0]["transaction"] == "tests.apm.site.async_view"
