"""What one more part of a streamed response costs: Python calls, counted.

To measure anew: ``pytest tests/http/test_stream_budget.py -rP``, as ``test_budget``; the
budgets are half a call more, for what happens every few milliseconds.
The numbers count the resumptions of all coroutines that stand around an iterator that
waits, and none of them where it does not.
"""

import asyncio
import contextvars
import sys
from collections.abc import AsyncIterator, Iterator
from typing import Any

import django
import pytest
from django.http import HttpRequest, StreamingHttpResponse
from django.test import override_settings
from django.urls import path

from django_asgi_bridge.http.eventstream import EventStreamResponse
from django_asgi_bridge.http.handler import ASGIHandler
from tests.calls import Counter
from tests.http.support import fresh_pool, site
from tests.http.test_budget import serve

pytestmark = pytest.mark.filterwarnings("ignore:.*MAILERS")

IS_MEASURED_ON = sys.version_info[:2] == (3, 13) and django.VERSION[:2] == (6, 1)

FEW, MANY = 10, 110


def rows(count: int) -> Iterator[str]:
    """Give rows that are made at once."""
    for _ in range(count):
        yield "a row of text"


async def arows(count: int) -> AsyncIterator[str]:
    """Give rows without waiting."""
    for row in rows(count):
        yield row


async def ticks(count: int) -> AsyncIterator[str]:
    """Wait for each item."""
    for row in rows(count):
        await asyncio.sleep(0)
        yield row


def sync_rows(request: HttpRequest, count: int) -> StreamingHttpResponse:
    return StreamingHttpResponse(rows(count))


async def async_rows(request: HttpRequest, count: int) -> StreamingHttpResponse:
    return StreamingHttpResponse(arows(count))


async def async_ticks(request: HttpRequest, count: int) -> StreamingHttpResponse:
    return StreamingHttpResponse(ticks(count))


async def events(request: HttpRequest, count: int) -> EventStreamResponse:
    return EventStreamResponse(ticks(count))


urlpatterns = [
    path(f"{view.__name__}/<int:count>/", view)
    for view in (sync_rows, async_rows, async_ticks, events)
]

BUDGETS = {"sync_rows": 1.5, "async_rows": 3.5, "async_ticks": 13.5, "events": 6.5}
"""Calls of this package's, Django's and asgiref's functions for one part."""


@pytest.fixture(scope="module", autouse=True)
def world(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """Give Django its apps and tables."""
    with site(django_db_blocker):
        yield


@pytest.mark.parametrize("name", BUDGETS)
def test_part_of_a_stream_stays_in_its_budget_of_calls(name, monkeypatch):
    """A part makes no more Python calls than it was measured to need."""
    least: dict[int, int] = {}

    async def requests(app: Any, counter: Counter) -> None:
        for count in (FEW, MANY):
            taken = []
            for _ in range(10):
                before = counter.all
                assert await serve(app, f"/{name}/{count}/") == 200
                taken.append(counter.all - before)
            least[count] = min(taken)

    with (
        override_settings(MIDDLEWARE=[], ROOT_URLCONF=__name__),
        fresh_pool(monkeypatch),
        Counter() as counter,
    ):
        contextvars.Context().run(asyncio.run, requests(ASGIHandler(), counter))

    each = (least[MANY] - least[FEW]) / (MANY - FEW)
    print(f"{name}: {each}")
    if IS_MEASURED_ON:
        assert each <= BUDGETS[name]
