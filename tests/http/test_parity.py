"""Answers, log records and side effects equal those of Django's WSGI handler.

The corpus says for which requests, and what is meant to differ. The second half
takes rules out of the dispatch plan, one at a time: each time the corpus notices.
"""

import asyncio
import contextvars
import logging
import random
import secrets
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import django
import pytest
from django.core import mail
from django.core.cache import cache
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test import override_settings
from django.utils import timezone

from django_asgi_bridge.http.handler import ASGIHandler
from tests import settings as suite
from tests.http import views
from tests.http.corpus import CASES, Case, Observed, expected_of
from tests.http.middlewares import TRACE
from tests.http.support import Request, by_asgi, by_wsgi

MANAGER: Any = "m@example.com" if django.VERSION >= (6, 0) else ("M", "m@example.com")
SETTINGS: dict[str, Any] = {
    "INSTALLED_APPS": [
        *suite.INSTALLED_APPS,
        "django.contrib.sites",
        "django.contrib.flatpages",
        "django.contrib.redirects",
    ],
    "TEMPLATES": [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "OPTIONS": {
                "loaders": [
                    (
                        "django.template.loaders.locmem.Loader",
                        {"flatpages/default.html": "flat: {{ flatpage.content }}"},
                    )
                ],
            },
        }
    ],
    "ALLOWED_HOSTS": ["testserver"],
    "INTERNAL_IPS": ["127.0.0.1"],
    "LANGUAGES": [("en", "English"), ("de", "German"), ("fr", "French")],
    "LOGIN_URL": "/login/",
    "MANAGERS": [MANAGER],
    "SECURE_CSP": {"script-src": ["'self'", "<CSP_NONCE_SENTINEL>"]},
    "SITE_ID": 1,
}


@pytest.fixture(scope="module", autouse=True)
def site(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give the corpus its apps, tables and rows."""
    with django_db_blocker.unblock(), override_settings(**SETTINGS):
        from django.contrib.flatpages.models import FlatPage
        from django.contrib.redirects.models import Redirect
        from django.contrib.sessions.models import Session
        from django.contrib.sites.models import Site

        models = (Site, FlatPage, Redirect)
        with connection.schema_editor() as editor:
            for model in models:
                editor.create_model(model)
        try:
            home = Site.objects.create(pk=1, domain="testserver", name="test")
            page = FlatPage.objects.create(url="/flat/", title="Flat", content="page")
            page.sites.add(home)
            Redirect.objects.create(site=home, old_path="/old/", new_path="/hello/")
            Redirect.objects.create(site=home, old_path="/gone/", new_path="")
            yield
        finally:
            Session.objects.all().delete()
            with connection.schema_editor() as editor:
                for model in reversed(models):
                    editor.delete_model(model)


@pytest.mark.parametrize("case", [pytest.param(each, id=each.id) for each in CASES])
def test_handler_answers_as_wsgi(case: Case):
    """Everything that a client or a log shows is what WSGI shows."""
    shown = expected(case)

    seen = observe(case, ASGIHandler, _by_asgi)

    assert seen == shown


def test_corpus_is_large_and_mixed():
    """It has what the promise names, and each id once."""
    assert len({case.id for case in CASES}) == len(CASES) >= 200


# What is looked at.


def _by_asgi(handler: Any, request: Request) -> Any:
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
        with _same_world():
            handler = handler_class()
            return tuple(
                contextvars.Context().run(_observe, handler, case.request, exchange)
                for _ in range(case.repeats)
            )


def _observe(
    handler: Any, request: Request, exchange: Callable[..., Any]
) -> Observed:
    TRACE.clear()
    mail.outbox.clear()
    with _records() as records:
        answer = exchange(handler, request)
    while views.UNAWAITED:
        views.UNAWAITED.pop().close()
    return Observed(
        answer.status,
        answer.headers,
        answer.body,
        tuple(records),
        tuple(TRACE),
        tuple(each.subject for each in mail.outbox),
    )


_expected: dict[str, tuple[Observed, ...]] = {}


def expected(case: Case) -> tuple[Observed, ...]:
    """Return what WSGI shows, but for the differences that are meant."""
    if case.id not in _expected:
        with warnings.catch_warnings():
            # An async iterator under WSGI.
            warnings.simplefilter("ignore")
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
            records.append((
                record.name,
                record.levelname,
                record.getMessage(),
                getattr(record, "status_code", None),
                record.exc_info and record.exc_info[0],
            ))

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
