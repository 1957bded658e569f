"""A cheap look at asgiref's ``Local`` values, beside the front door."""

import contextvars
import threading
from typing import Any

import pytest
from asgiref.local import Local

from django_asgi_bridge.threads.locals import LocalView, view_of
from tests.threads.support import run


class Other:
    """What a later asgiref might make of it: values, and nothing known inside."""


@pytest.fixture(params=[Local, Other], ids=["asgiref", "unknown"])
def local(request: pytest.FixtureRequest) -> Any:
    """Give a ``Local`` of each build."""
    return request.param()


def apart(function: Any) -> Any:
    """Call in a context of its own, as a request has."""
    return contextvars.Context().run(function)


def test_view_sees_what_is_set_through_the_front(local):
    """Django sets the values, and knows no view."""

    def look() -> None:
        view = LocalView(local)
        assert view.get("name", "nothing") == "nothing"
        local.name = 1
        local.other = 2
        assert (view.get("name"), view.get("other")) == (1, 2)
        assert view.get("third") is None
        del local.name
        assert view.get("name", "nothing") == "nothing"

    apart(look)


def test_front_sees_what_is_set_through_the_view(local):
    """``reverse()`` reads what the handler set, beside what others did."""

    def look() -> None:
        view = LocalView(local)
        view.set("name", 1)
        assert local.name == 1
        view.set("name", 2)
        view.set("other", 3)
        assert (local.name, local.other) == (2, 3)

    apart(look)


def test_view_keeps_contexts_apart():
    """What one request sets, the next does not see."""
    local = Local()
    view = LocalView(local)
    apart(lambda: view.set("name", 1))

    assert apart(lambda: view.get("name")) is None
    assert apart(view.is_empty)
    assert not hasattr(local, "name")


def test_view_sees_nothing_of_another_thread():
    """A context that came to another thread by itself carries no values there."""
    local = Local()
    view = LocalView(local)
    context = contextvars.Context()
    context.run(view.set, "name", 1)
    expected, seen = [], []

    def look() -> None:
        expected.append(getattr(local, "name", None))
        seen.append(view.get("name"))

    thread = threading.Thread(target=context.run, args=(look,))
    thread.start()
    thread.join()

    assert seen == expected


def test_empty_local_of_a_thread_is_seen_to_be_empty():
    """Connections are thread-critical: each thread has its own, or none."""
    local: Any = Local(thread_critical=True)
    view = view_of(local)
    emptiness = [view.is_empty()]
    local.default = object()
    emptiness.append(view.is_empty())

    def look() -> None:
        emptiness.append(view.is_empty())

    thread = threading.Thread(target=look)
    thread.start()
    thread.join()

    assert emptiness == [True, False, True]


def test_thread_critical_values_of_a_loop_are_never_taken_for_none():
    """On an event loop's thread they are kept elsewhere; then nothing is promised."""
    local: Any = Local(thread_critical=True)
    view = view_of(local)

    async def main() -> bool:
        local.default = object()
        return view.is_empty()

    assert not run(main())


def test_unknown_local_is_never_taken_for_empty():
    """A cache that is not closed would be worse than a call too many."""
    assert not LocalView(Other()).is_empty()
