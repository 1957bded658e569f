"""What ``asgi_explain`` says about a request is what the request does."""

import asyncio
import io
import itertools
import json
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core import signals
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command
from django.http import HttpResponse
from django.urls import path
from django.utils.decorators import sync_and_async_middleware
from django.utils.deprecation import MiddlewareMixin
from django.views import View
from django.views.decorators.csrf import csrf_exempt

from django_asgi_bridge.http import hooks
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.management.commands._explanation import REASONS, explain
from django_asgi_bridge.threads import jobs

HERE = __name__
DEFAULT = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]


def sync_view(request: Any) -> HttpResponse:
    return HttpResponse("sync")


async def async_view(request: Any) -> HttpResponse:
    return HttpResponse("async")


class ClassView(View):
    async def get(self, request: Any) -> HttpResponse:
        return HttpResponse("class")


urlpatterns = [
    path("sync/", csrf_exempt(sync_view)),
    path("async/", async_view),
    path("class/", ClassView.as_view()),
]


class UnknownHooks(MiddlewareMixin):
    def process_request(self, request: Any) -> None:
        return None

    def process_response(self, request: Any, response: Any) -> Any:
        return response


class UnknownRequestHook(MiddlewareMixin):
    def process_request(self, request: Any) -> None:
        return None


class UnknownViewHook(MiddlewareMixin):
    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        return None


def sync_only(get_response: Any) -> Any:
    def middleware(request: Any) -> Any:
        return get_response(request)

    return middleware


@sync_and_async_middleware
def either(get_response: Any) -> Any:
    if iscoroutinefunction(get_response):

        async def middleware(request: Any) -> Any:
            return await get_response(request)

        return middleware

    def sync_middleware(request: Any) -> Any:
        return get_response(request)

    return sync_middleware


class AsyncOnly:
    async_capable = True
    sync_capable = False

    def __init__(self, get_response: Any) -> None:
        self.get_response = get_response
        markcoroutinefunction(self)

    async def __call__(self, request: Any) -> Any:
        return await self.get_response(request)


OWN = [
    f"{HERE}.{name}"
    for name in (
        "UnknownHooks",
        "UnknownRequestHook",
        "UnknownViewHook",
        "sync_only",
        "either",
        "AsyncOnly",
    )
]
STACKS = [
    [],
    DEFAULT,
    *([each] for each in OWN),
    *([DEFAULT[0], each, *DEFAULT[1:]] for each in OWN),
    *([*DEFAULT, each] for each in OWN),
    *(list(pair) for pair in itertools.permutations(OWN, 2)),
    [OWN[0], DEFAULT[0], OWN[1], OWN[3], OWN[4], OWN[0]],
    [OWN[5], OWN[3], DEFAULT[0], OWN[5], OWN[0], OWN[3]],
]


@pytest.fixture(autouse=True)
def site(settings):
    settings.ROOT_URLCONF = HERE
    settings.MIDDLEWARE = DEFAULT


@pytest.fixture
def trips(monkeypatch):
    """Give a list of the calls that workers were given, ends of waits excepted."""
    taken: list[Any] = []
    for kind in (jobs.TripJob, jobs.FutureJob):
        monkeypatch.setattr(kind, "execute", _noting(kind.execute, taken))
    return taken


def _noting(execute: Any, taken: list[Any]) -> Any:
    def noted(job: Any) -> None:
        taken.append(job)
        execute(job)

    return noted


def serve(handler: ASGIHandler, method: str, url: str) -> int:
    """Take one request through the handler and return its status."""
    received = [{"type": "http.request", "body": b"", "more_body": False}]
    sent: list[Any] = []

    async def receive() -> Any:
        if received:
            return received.pop()
        return await asyncio.Future()

    async def send(event: Any) -> None:
        sent.append(event)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "path": url,
        "query_string": b"",
        "headers": [(b"host", b"testserver")],
    }
    asyncio.run(handler(scope, receive, send))
    return int(sent[0]["status"])


def explained(*args: str) -> Any:
    output = io.StringIO()
    call_command("asgi_explain", *args, "--json", stdout=output)
    return json.loads(output.getvalue())


@pytest.mark.parametrize("url", ["/sync/", "/async/", "/class/", "/nowhere/"])
@pytest.mark.parametrize(
    "stack", STACKS, ids=lambda stack: "-".join(each.split(".")[-1] for each in stack)
)
def test_minimum_is_what_a_request_takes(settings, trips, stack, url):
    """The number of trips that is printed is the number that is made."""
    settings.MIDDLEWARE = stack
    handler = ASGIHandler()
    status = serve(handler, "GET", url)
    measured = len(trips)

    explanation = explain(handler, "GET", url)

    assert explanation.trips == measured
    assert status == (404 if url == "/nowhere/" else 200)


@pytest.mark.parametrize(("method", "url"), [("POST", "/sync/"), ("HEAD", "/class/")])
def test_minimum_is_what_a_request_takes_when_it_is_no_get(trips, method, url):
    """The method is part of the question."""
    handler = ASGIHandler()
    serve(handler, method, url)

    assert explain(handler, method, url).trips == len(trips)


def test_minimum_counts_receivers_of_others(trips):
    """Sync receivers of the request signals have their trips, and are named."""

    def receiver(**kwargs: Any) -> None:
        return None

    for signal in (signals.request_started, signals.request_finished):
        signal.connect(receiver)
    try:
        handler = ASGIHandler()
        serve(handler, "GET", "/async/")
        explanation = explain(handler, "GET", "/async/")
    finally:
        for signal in (signals.request_started, signals.request_finished):
            signal.disconnect(receiver)

    assert explanation.trips == len(trips) == 2
    first, last = explanation.steps[0], explanation.steps[-1]
    assert (first.hook, last.hook) == ("request_started", "request_finished")
    assert "receiver" in first.name


def test_steps_are_in_the_order_of_the_calls(settings):
    """Request hooks come first, then the view, then the response hooks."""
    settings.MIDDLEWARE = [DEFAULT[0], f"{HERE}.UnknownHooks", DEFAULT[6]]

    steps = explained("/async/")["steps"]

    assert [(step["name"].split(".")[-1], step["hook"]) for step in steps] == [
        ("SecurityMiddleware", "process_request"),
        ("UnknownHooks", "process_request"),
        ("async_view", "view"),
        ("XFrameOptionsMiddleware", "process_response"),
        ("UnknownHooks", "process_response"),
        ("SecurityMiddleware", "process_response"),
        ("request_finished", ""),
    ]


@pytest.mark.parametrize(
    ("middleware", "reason"),
    [
        ("sync_only", "holds its worker until the response"),
        ("either", "awaited as it is"),
        ("UnknownHooks", "unknown code"),
    ],
)
def test_step_says_why_it_runs_where_it_does(settings, middleware, reason):
    """Each middleware has its reason."""
    settings.MIDDLEWARE = [f"{HERE}.{middleware}"]

    step = explained("/async/")["steps"][0]

    assert reason in step["why"]


def test_step_says_that_a_middleware_is_sync_for_what_stands_inside(settings):
    """Django builds async-capable middleware sync outside of a sync-only one."""
    settings.MIDDLEWARE = [DEFAULT[0], f"{HERE}.sync_only"]

    step = explained("/async/")["steps"][0]

    assert "since one inside is sync-only" in step["why"]


def test_more_tells_what_depends_on_the_request():
    """A hook that blocks now and then is named with its condition."""
    more = " ".join(explained("/async/")["more"])

    assert "SessionMiddleware.process_response" in more
    assert "saves the session when it was modified" in more


def test_more_leaves_out_what_a_setting_has_turned_off():
    """Without CSRF_USE_SESSIONS nothing is said about it."""
    assert "CSRF_USE_SESSIONS" not in " ".join(explained("/async/")["more"])


def test_text_names_view_trips_and_reasons():
    """The text has what the JSON has."""
    output = io.StringIO()

    call_command("asgi_explain", "/async/", stdout=output)

    text = output.getvalue()
    assert f"view   {HERE}.async_view (async)" in text
    assert "trips  0" in text
    assert "SecurityMiddleware.process_request\n      event loop: only computes" in text


def test_url_may_be_whole():
    """Of a whole URL the path counts."""
    assert explained("https://example.com/sync/?page=2")["path"] == "/sync/"


def test_url_below_the_script_name_is_found(settings):
    """The prefix that the site is mounted below is taken off."""
    settings.FORCE_SCRIPT_NAME = "/site"

    assert explained("/site/sync/")["view"] == f"{HERE}.sync_view"


def test_url_that_does_not_resolve_shows_the_chain():
    """A 404 goes through all middleware in one trip."""
    explanation = explained("/nowhere/")

    assert explanation["view"] is None
    assert explanation["trips"] == 1
    assert len(explanation["steps"]) > len(DEFAULT)


def test_url_without_a_path_is_an_error():
    """The message says what a URL looks like."""
    with pytest.raises(CommandError, match="begins with a slash"):
        call_command("asgi_explain", "nowhere")


def test_middleware_that_cannot_be_loaded_is_djangos_own_error(settings):
    """Nothing of it is hidden."""
    settings.MIDDLEWARE = [f"{HERE}.nothing"]

    with pytest.raises((ImportError, ImproperlyConfigured), match="nothing"):
        call_command("asgi_explain", "/sync/")


def test_class_based_view_has_its_name():
    """The class is named, not what ``as_view()`` made of it."""
    assert explained("/class/")["view"] == f"{HERE}.ClassView"


@pytest.mark.parametrize("blocks", sorted({b.__name__ for b in hooks._KNOWN.values()}))
def test_every_question_of_the_hooks_has_a_text(blocks):
    """A new question in ``http.hooks`` gets its words here."""
    assert blocks in REASONS
