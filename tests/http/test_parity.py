"""Answers, log records and side effects equal those of Django's WSGI handler.

The corpus says for which requests, and what is meant to differ. The second half
takes rules out of the dispatch plan, one at a time: each time the corpus notices.
"""

import asyncio
import contextvars
import gzip
import logging
import random
import secrets
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import fields
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.test import override_settings
from django.utils import timezone
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.http import answers, hooks, layers, look, plan, ways
from django_asgi_bridge.http import views as view_step
from django_asgi_bridge.http.handler import ASGIHandler
from tests.http import views
from tests.http.corpus import CASES, Case, Observed, expected_of
from tests.http.middlewares import TRACE
from tests.http.support import Request, by_asgi, by_wsgi, site


@pytest.fixture(scope="module", autouse=True)
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give the corpus its apps, tables and rows."""
    with site(django_db_blocker):
        yield


@pytest.mark.parametrize("case", [pytest.param(each, id=each.id) for each in CASES])
def test_handler_answers_as_wsgi(case: Case):
    """Everything that a client or a log shows is what WSGI shows."""
    shown = expected(case)

    seen = observe(case, ASGIHandler, _by_asgi)

    if seen != shown:
        pytest.fail("\n".join(_differences(seen, shown)), pytrace=False)


def test_corpus_is_large_and_mixed():
    """It has what the promise names, and each id once."""
    assert len({case.id for case in CASES}) == len(CASES) >= 200


def _differences(seen: tuple[Observed, ...], shown: tuple[Observed, ...]) -> list[str]:
    return [
        f"{each.name} is {getattr(ours, each.name)!r}, "
        f"under WSGI {getattr(theirs, each.name)!r}"
        for ours, theirs in zip(seen, shown, strict=True)
        for each in fields(Observed)
        if getattr(ours, each.name) != getattr(theirs, each.name)
    ]


# What is looked at.


def _by_asgi(handler: Any, request: Request) -> Any:
    # Django's warning for an iterator that it reads into memory.
    warnings.filterwarnings("error", "StreamingHttpResponse must consume")
    return asyncio.run(by_asgi(handler, request))


def observe(
    case: Case, handler_class: Callable[[], Any], exchange: Callable[..., Any]
) -> tuple[Observed, ...]:
    """Send a case to a new handler and note what shows."""
    changed = {
        "MIDDLEWARE": list(case.middleware),
        "ROOT_URLCONF": case.urlconf,
        **dict(case.settings),
    }
    with override_settings(**changed):
        _start_anew()
        with warnings.catch_warnings(), _same_world():
            warnings.simplefilter("ignore")
            handler = handler_class()
            return tuple(
                contextvars.Context().run(_observe, handler, case.request, exchange)
                for _ in range(case.repeats)
            )


def _observe(handler: Any, request: Request, exchange: Callable[..., Any]) -> Observed:
    TRACE.clear()
    mail.outbox.clear()
    with _records() as records:
        answer = exchange(handler, request)
    while views.UNAWAITED:
        views.UNAWAITED.pop().close()
    body = answer.body
    if ("Content-Encoding", "gzip") in answer.headers and body:
        # Compressed bytes depend on how a file was cut into blocks.
        body = gzip.decompress(body)
    return Observed(
        answer.status,
        answer.headers,
        body,
        tuple(records),
        tuple(TRACE),
        tuple(str(each.subject) for each in mail.outbox),
    )


_expected: dict[str, tuple[Observed, ...]] = {}


def expected(case: Case) -> tuple[Observed, ...]:
    """Return what WSGI shows, but for the differences that are meant."""
    if case.id not in _expected:
        seen = observe(case, WSGIHandler, by_wsgi)
        _expected[case.id] = tuple(expected_of(case, each) for each in seen)
    return _expected[case.id]


def _start_anew() -> None:
    """Let both handlers meet the same database, caches and mail box."""
    from django.contrib.sessions.backends.db import SessionStore
    from django.contrib.sessions.models import Session
    from django.contrib.sites.models import Site

    cache.clear()
    mail.outbox = []
    Site.objects.clear_cache()
    Session.objects.all().delete()
    Session.objects.create(
        session_key="s" * 32,
        session_data=SessionStore().encode({"visits": 3}),
        expire_date=timezone.now() + timedelta(days=1),
    )


@contextmanager
def _same_world() -> Iterator[None]:
    """Let both handlers draw the same random numbers, at the same time."""
    source = random.Random(7)
    with ExitStack() as stack:
        for owner, name, replacement in (
            (secrets, "choice", source.choice),
            (secrets, "randbelow", source.randrange),
            (secrets, "token_urlsafe", lambda size: f"{source.getrandbits(64):x}"),
            (time, "time", lambda: _NOW),
        ):
            stack.enter_context(mock.patch.object(owner, name, replacement))
        yield


_NOW = time.time()


@contextmanager
def _records() -> Iterator[list[tuple[Any, ...]]]:
    """Collect the log records of everybody."""
    records: list[tuple[Any, ...]] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.name == "asyncio":
                # In debug mode the loop tells of slow steps, on a busy machine.
                return
            records.append(
                (
                    record.name,
                    record.levelname,
                    record.getMessage(),
                    getattr(record, "status_code", None),
                    record.exc_info and record.exc_info[0],
                )
            )

    collector = Collector()
    root, djangos = logging.getLogger(), logging.getLogger("django")
    levels = root.level, djangos.level
    root.addHandler(collector)
    root.setLevel(logging.INFO)
    djangos.setLevel(logging.DEBUG)
    try:
        yield records
    finally:
        root.removeHandler(collector)
        root.setLevel(levels[0])
        djangos.setLevel(levels[1])


# What the corpus would notice.


def _everywhere(patch: pytest.MonkeyPatch, name: str, replacement: Any) -> None:
    """Replace a function in each module of the HTTP half that uses it by name."""
    modules = [
        module
        for path, module in sys.modules.items()
        if path.startswith("django_asgi_bridge.http.") and name in vars(module)
    ]
    assert modules, f"nothing is called {name} any more"
    for module in modules:
        patch.setattr(module, name, replacement)


def _no_hook_blocks(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "blocks_of", lambda hook: hooks.never)


def _subclasses_are_known(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(hooks, "_changes_class_of", lambda method: False)


def _call_of_a_subclass_is_ignored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        layers, "_is_plain_mixin", lambda each, _: isinstance(each, MiddlewareMixin)
    )


def _sync_only_stays_on_the_loop(patch: pytest.MonkeyPatch) -> None:
    original = layers.make_layer

    def make_layer(name: str, instance: Any, get_response: Any, is_async: bool) -> Any:
        layer = original(name, instance, get_response, is_async)
        if layer.kind == "sync":
            layer.kind = layers.Kind.ASYNC
        return layer

    patch.setattr(layers, "make_layer", make_layer)


def _sync_only_counts_as_hooks(patch: pytest.MonkeyPatch) -> None:
    original = layers.make_layer

    def make_layer(name: str, instance: Any, get_response: Any, is_async: bool) -> Any:
        layer = original(name, instance, get_response, is_async)
        if layer.kind == "sync":
            layer.kind = layers.Kind.HOOKS
        return layer

    patch.setattr(layers, "make_layer", make_layer)


def _async_only_counts_as_hooks(patch: pytest.MonkeyPatch) -> None:
    original = layers.make_layer

    def make_layer(name: str, instance: Any, get_response: Any, is_async: bool) -> Any:
        layer = original(name, instance, get_response, is_async)
        if layer.kind is layers.Kind.ASYNC:
            layer.kind = layers.Kind.HOOKS
        return layer

    patch.setattr(layers, "make_layer", make_layer)


def _order_of_layers_is_reversed(patch: pytest.MonkeyPatch) -> None:
    original = plan.Plan.set_layers
    patch.setattr(
        plan.Plan, "set_layers", lambda self, each: original(self, each[::-1])
    )


def _way_in(change: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    """Change what comes of request hooks that were called in a trip.

    Hooks that are known to answer or to break inline are Django's own, and few.
    """

    def remove(patch: pytest.MonkeyPatch) -> None:
        original = plan.Plan._request_hooks

        def request_hooks(self: Any, request: Any, first: int, last: int) -> Any:
            i, response, is_over = original(self, request, first, last)
            return change(i, response, is_over, last)

        patch.setattr(plan.Plan, "_request_hooks", request_hooks)

    return remove


def _unwinding_starts(offset: int) -> Callable[[pytest.MonkeyPatch], None]:
    def remove(patch: pytest.MonkeyPatch) -> None:
        original = ways.Way.outward_from

        def outward_from(self: Any, top: int) -> Any:
            # The event loop's walk goes on from what this returns, and would not end.
            is_on_loop = asyncio._get_running_loop() is not None
            return original(self, top if is_on_loop else top + offset)

        patch.setattr(ways.Way, "outward_from", outward_from)
        _way_in(
            lambda i, response, is_over, _: (i + offset * is_over, response, is_over)
        )(patch)

    return remove


def _errors_are_converted_outside_only(patch: pytest.MonkeyPatch) -> None:
    def convert(request: Any, error: Exception) -> Any:
        raise error

    _everywhere(patch, "convert", convert)


_a_breaking_hook_sees_its_response = _way_in(
    lambda _, response, is_over, last: (last + 1, response, is_over)
)


_early_answers_do_not_end = _way_in(lambda i, response, *_: (i, response, False))


def _view_step_without(**changed: Any) -> Callable[[pytest.MonkeyPatch], None]:
    """Change lists of hooks after they were compiled."""

    def remove(patch: pytest.MonkeyPatch) -> None:
        original = view_step.ViewStep.__init__

        def init(self: Any, *args: Any) -> None:
            original(self, *args)
            for name, change in changed.items():
                assert hasattr(self, name)
                setattr(self, name, change(getattr(self, name)))

        patch.setattr(view_step.ViewStep, "__init__", init)

    return remove


def _nothing(hooks_of_a_kind: Any) -> Any:
    return ()


def _reversed(hooks_of_a_kind: Any) -> Any:
    return hooks_of_a_kind[::-1]


def _no_rendering(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        view_step.ViewStep, "_render", lambda self, request, response, call: response
    )


def _rendering_errors_pass_exception_hooks(patch: pytest.MonkeyPatch) -> None:
    def render(self: Any, request: Any, response: Any, call: Any) -> Any:
        for hook in self.template_hooks:
            response = hook(request, response)
        return response.render()

    patch.setattr(view_step.ViewStep, "_render", render)


def _any_answer_is_a_response(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ASGIHandler, "check_response", lambda self, *args, **kwargs: None)


def _look_holds(rule: Callable[[Any, Any], bool]) -> Callable[..., None]:
    def remove(patch: pytest.MonkeyPatch) -> None:
        patch.setattr(
            look.Look,
            "holds_for",
            lambda self, request: self.match is not None and rule(self, request),
        )

    return remove


def _urlconf_of_the_site_is_not_set(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "use_urlconf", lambda urlconf: None)


def _errors_are_not_logged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(answers, "log", lambda request, response: None)


def _bodies_where_none_may_be(patch: pytest.MonkeyPatch) -> None:
    _everywhere(patch, "has_body", lambda method, status: True)


def _never_asks(key: str) -> Callable[[pytest.MonkeyPatch], None]:
    def remove(patch: pytest.MonkeyPatch) -> None:
        assert key in hooks._KNOWN
        patch.setitem(hooks._KNOWN, key, hooks.never)

    return remove


RULES: dict[str, tuple[Callable[[pytest.MonkeyPatch], None], str]] = {
    "unknown hooks get a thread": (_no_hook_blocks, "Blocking"),
    "subclasses of Django's are unknown": (_subclasses_are_known, "Overrides"),
    "__call__ of a subclass counts": (_call_of_a_subclass_is_ignored, "OwnCall"),
    "sync-only runs on a thread": (_sync_only_stays_on_the_loop, "sync_only"),
    "sync-only is called": (_sync_only_counts_as_hooks, "sync_only"),
    "async-only is called": (_async_only_counts_as_hooks, "async_only"),
    "layers keep their order": (_order_of_layers_is_reversed, "default"),
    "unwinding starts where the request came to": (_unwinding_starts(1), "Answers"),
    "unwinding starts at the innermost": (_unwinding_starts(-1), "Answers"),
    "each layer converts errors": (_errors_are_converted_outside_only, "Response"),
    "an error passes its own response hook": (
        _a_breaking_hook_sees_its_response,
        "Request",
    ),
    "an early answer ends the way in": (_early_answers_do_not_end, "AnswersRequest"),
    "view hooks are called": (
        _view_step_without(view_hooks=_nothing),
        "View",
    ),
    "view hooks from outside in": (
        _view_step_without(view_hooks=_reversed),
        "EveryHookInside",
    ),
    "view hooks may block": (
        _view_step_without(
            view_hooks=lambda each: [hook._replace(blocks=hooks.never) for hook in each]
        ),
        "EveryHook",
    ),
    "exception hooks are called": (
        _view_step_without(exception_hooks=_nothing),
        "Exception",
    ),
    "exception hooks from inside out": (
        _view_step_without(exception_hooks=_reversed),
        "EveryHookInside",
    ),
    "template hooks are called": (
        _view_step_without(template_hooks=_nothing),
        "Template",
    ),
    "template hooks from inside out": (
        _view_step_without(template_hooks=_reversed),
        "EveryHookInside",
    ),
    "template responses are rendered": (_no_rendering, "template"),
    "exception hooks see rendering errors": (
        _rendering_errors_pass_exception_hooks,
        "template-broken",
    ),
    "answers are checked": (_any_answer_is_a_response, "none"),
    "the look holds for its URLconf": (
        _look_holds(lambda self, request: self.path_info == request.path_info),
        "ChangesUrlconf",
    ),
    "the look holds for its path": (
        _look_holds(lambda self, request: not hasattr(request, "urlconf")),
        "ChangesPath",
    ),
    "the look holds for its language": (
        _look_holds(
            lambda self, request: (
                self.path_info == request.path_info and not hasattr(request, "urlconf")
            )
        ),
        "i18n",
    ),
    "the look may be wrong": (_look_holds(lambda self, request: True), "Changes"),
    "the site's URLconf is set": (_urlconf_of_the_site_is_not_set, "where"),
    "errors are logged": (_errors_are_not_logged, "default"),
    "no body where none may be": (_bodies_where_none_may_be, "default"),
    **{
        f"asks before {key.removeprefix('django.')}": (_never_asks(key), hint)
        for key, hint in {
            "django.contrib.admindocs.middleware.XViewMiddleware.process_view": (
                "blocking"
            ),
            "django.contrib.auth.middleware.LoginRequiredMiddleware.process_view": (
                "blocking"
            ),
            "django.contrib.messages.middleware.MessageMiddleware.process_response": (
                "messages"
            ),
            "django.contrib.redirects.middleware.RedirectFallbackMiddleware"
            ".process_response": "blocking",
            "django.contrib.sessions.middleware.SessionMiddleware.process_response": (
                "session"
            ),
            "django.middleware.cache.FetchFromCacheMiddleware.process_request": (
                "blocking-cache"
            ),
            "django.middleware.cache.UpdateCacheMiddleware.process_response": (
                "blocking-cache"
            ),
            "django.middleware.csrf.CsrfViewMiddleware.process_request": "csrf-session",
            "django.middleware.csrf.CsrfViewMiddleware.process_view": "blocking-upload",
        }.items()
    },
}
"""Rules of the plan: how to take each out, and a word of the cases that notice."""


@pytest.mark.parametrize("rule", RULES)
def test_corpus_notices_when_a_rule_is_missing(rule, monkeypatch):
    """Each rule is needed: without it, an answer differs from WSGI's."""
    remove, word = RULES[rule]
    remove(monkeypatch)

    noticed = next((each for each in CASES if word in each.id and _differs(each)), None)

    assert noticed is not None


def _differs(case: Case) -> bool:
    shown = expected(case)
    try:
        return observe(case, ASGIHandler, _by_asgi) != shown
    except Exception:
        return True
