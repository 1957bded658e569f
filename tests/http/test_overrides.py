"""What others put in place of a step, or listen to, counts from the next request."""

import functools
import io

import pytest
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.core.handlers.base import BaseHandler
from django.http import FileResponse, HttpResponse
from django.http.response import ResponseHeaders

from django_asgi_bridge.asgi import Application
from django_asgi_bridge.http.handler import ASGIHandler
from tests.http.exchanges import Ledger, Wire, site

pytestmark = pytest.mark.asyncio

STEPS = ["handle", "run_get_response", "get_response_async", "send_response"]


async def view(request):
    return HttpResponse("x")


def counted(original, calls):
    """Return a method that notes its call before it does what ``original`` does."""

    @functools.wraps(original)
    async def step(self, *args):
        calls.append(original.__name__)
        return await original(self, *args)

    return step


@pytest.mark.parametrize("step", STEPS)
async def test_subclass_takes_its_own_step(step):
    """As with Django's handler, these methods may be overridden."""
    calls = []
    own = counted(getattr(ASGIHandler, step), calls)
    handler_class = type("Own", (ASGIHandler,), {step: own})

    with site(view, handler_class=handler_class) as handler:
        wire = await Wire().serve(handler)

    assert calls == [step]
    assert wire.body == b"x"


@pytest.mark.parametrize(
    ("owner", "step"),
    [
        *((ASGIHandler, step) for step in STEPS),
        (DjangoASGIHandler, "run_get_response"),
        (BaseHandler, "get_response_async"),
    ],
)
async def test_tool_is_called_that_came_after_the_first_request(
    owner, step, monkeypatch
):
    """A monitoring tool may replace a method at any time, of our class or Django's."""
    calls = []

    with site(view) as handler:
        await Wire().serve(handler)
        monkeypatch.setattr(owner, step, counted(getattr(owner, step), calls))
        wire = await Wire().serve(handler)

    assert calls == [step]
    assert wire.body == b"x"


async def test_tool_that_watches_atomic_views_sees_every_view(monkeypatch):
    """Sentry does; without a tool the method is called only where it has to do."""
    calls = []
    original = BaseHandler.make_view_atomic

    def make_view_atomic(self, view):
        calls.append(view)
        return original(self, view)

    with site(view) as handler:
        await Wire().serve(handler)
        monkeypatch.setattr(BaseHandler, "make_view_atomic", make_view_atomic)
        wire = await Wire().serve(handler)

    assert calls == [view]
    assert wire.body == b"x"


async def test_class_between_ours_and_djangos_is_asked_for_atomic_views():
    """A mixin there wraps views, with and without ``ATOMIC_REQUESTS``."""
    calls = []

    class Mixin(DjangoASGIHandler):
        def make_view_atomic(self, view):
            calls.append(view)
            return super().make_view_atomic(view)

    class Own(ASGIHandler, Mixin):
        pass

    with site(view, handler_class=Own) as handler:
        wire = await Wire().serve(handler)

    assert calls == [view]
    assert wire.body == b"x"


@pytest.mark.parametrize("name", ["handle", "get_response_async"])
async def test_method_replaced_on_the_handler_itself_is_called(monkeypatch, name):
    """``mock.patch.object(handler, ...)`` works, as with Django's handler."""
    calls = []

    with site(view) as handler:
        original = getattr(handler, name)

        async def replaced(*args):
            calls.append(name)
            return await original(*args)

        monkeypatch.setattr(handler, name, replaced)
        wire = await Wire().serve(handler)

    assert calls == [name]
    assert wire.body == b"x"


async def test_application_raises_for_a_malformed_scope_when_it_is_awaited():
    """Not when it is called: a server makes a task of what it returns."""
    wire = Wire(method=5)
    with site(view) as handler:
        serving = Application(handler, {})(wire.scope, wire.receive, wire.send)

        with pytest.raises(ValueError, match="method"):
            await serving


async def test_application_calls_a_handler_with_a_call_of_its_own():
    """What a project's handler does around a request is done."""
    calls = []
    own = counted(ASGIHandler.__call__, calls)
    handler_class = type("Own", (ASGIHandler,), {"__call__": own})

    with site(view, handler_class=handler_class) as handler:
        wire = await Wire().serve(Application(handler, {}))

    assert calls == ["__call__"]
    assert wire.body == b"x"


async def test_receiver_is_called_that_came_after_the_first_request():
    """Who listens is looked up anew where it changed, in both directions."""
    ledger = Ledger()

    with site(view) as handler:
        await Wire().serve(handler)
        with ledger.watching():
            await Wire().serve(handler)
        await Wire().serve(handler)

    assert (ledger.started, ledger.finished) == (1, 1)


async def test_response_is_marked_as_by_djangos_own_step():
    """``run_get_response`` is not called, but what it does is done."""
    responses = []

    async def file(request):
        responses.append(FileResponse(io.BytesIO(b"x")))
        return responses[0]

    with site(file) as handler:
        wire = await Wire().serve(handler)

    assert wire.body == b"x"
    assert responses[0]._handler_class is ASGIHandler
    assert responses[0].block_size == handler.chunk_size


class OwnItems(HttpResponse):
    """A response that writes its headers otherwise than it keeps them."""

    def items(self):
        """Add one."""
        return [*super().items(), ("X-Own", b"bytes")]


class OwnHeaders(ResponseHeaders):
    """Headers that write their values otherwise than they keep them."""

    def items(self):
        """Shout."""
        return [(name, value.upper()) for name, value in super().items()]


async def own_headers(request):
    response = HttpResponse("x")
    response.headers = OwnHeaders(response.headers)
    return response


async def own_items(request):
    return OwnItems("x")


@pytest.mark.parametrize(
    ("view", "header"),
    [
        (own_items, (b"X-Own", b"bytes")),
        (own_headers, (b"Content-Type", b"TEXT/HTML; CHARSET=UTF-8")),
    ],
)
async def test_responses_and_headers_of_ones_own_are_asked_for_their_items(
    view, header
):
    """Django's handlers send what ``response.items()`` gives."""
    with site(view) as handler:
        wires = [await Wire().serve(handler) for _ in range(2)]

    assert all(header in wire.sent[0]["headers"] for wire in wires)


async def test_headers_that_repeat_are_made_once():
    """A pair that passed the checks is the same object in the next response."""
    with site(view) as handler:
        first, second = [await Wire().serve(handler) for _ in range(2)]

    (header,) = first.sent[0]["headers"]
    assert second.sent[0]["headers"][0] is header
