"""Time-outs of async middleware around code that takes longer, in a thread too.

Where Django's own handler answers while the view still runs, the same scenario runs
on it too: what the middleware sees and what is answered must be the same.
"""

import asyncio
import contextvars

import pytest
from asgiref.sync import sync_to_async
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.utils.decorators import async_only_middleware, sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.http.handler import ASGIHandler
from tests.http.exchanges import Base, Gate, Ledger, Wire, site

pytestmark = pytest.mark.asyncio

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")


class Clock:
    """Ends the time-out of the request under way when a view says so."""

    def __init__(self):
        self.gate = Gate()
        self.ended = Gate()
        self.answer_closed = Gate()
        self.seen = []
        self.limit = None
        self.loop = None

    def run_out(self):
        """Be a view that is too slow: the time is over before it ends."""
        self.loop.call_soon_threadsafe(self.limit.reschedule, 0)
        self.gate.wait()
        self.ended.open()


clock = Clock()


@pytest.fixture(autouse=True)
def _fresh_clock():
    """Set the clock back, and let a view go on that a failed test left waiting."""
    clock.__init__()  # type: ignore[misc]
    yield
    clock.gate.open()


@async_only_middleware
def limited(get_response):
    """Answer 503 when the rest takes too long."""

    async def middleware(request):
        clock.loop = asyncio.get_running_loop()
        token = variable.set("outside")
        try:
            async with asyncio.timeout(None) as clock.limit:
                return await get_response(request)
        except TimeoutError:
            clock.seen.append(asyncio.current_task().cancelling())
            response = HttpResponse("too slow", status=503)
            response._resource_closers.append(clock.answer_closed.open)
            return response
        finally:
            # A token of this context: in another one it would be refused.
            variable.reset(token)

    return middleware


@async_only_middleware
def limited_without_token(get_response):
    """The same, without a context variable."""

    async def middleware(request):
        clock.loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as clock.limit:
                return await get_response(request)
        except TimeoutError:
            return HttpResponse("too slow", status=503)

    return middleware


@async_only_middleware
def streams_instead(get_response):
    """Answer with an async stream when the rest takes too long."""

    async def middleware(request):
        response = await get_response(request)
        if response.status_code != 503:
            return response

        async def items():
            yield b"too "
            yield b"slow"

        return StreamingHttpResponse(items(), status=504)

    return middleware


@sync_only_middleware
def holds(get_response):
    """Hold a worker around the rest."""

    def middleware(request):
        return get_response(request)

    return middleware


LIMITED = f"{__name__}.limited"
HOLDS = f"{__name__}.holds"
STREAMS = f"{__name__}.streams_instead"


def view_of(kind, ledger):
    """A view that is too slow in one of the places where code may wait."""

    def sync_view(request):
        clock.run_out()
        return ledger.keep(HttpResponse("late"))

    async def async_view(request):
        await sync_to_async(clock.run_out)()
        return ledger.keep(HttpResponse("late"))

    async def waiting_view(request):
        clock.limit.reschedule(0)
        await asyncio.Event().wait()

    return {"sync": sync_view, "async": async_view, "waiting": waiting_view}[kind]


@pytest.mark.parametrize(
    ("handler_class", "kind", "inside"),
    [
        (ASGIHandler, "sync", []),
        (ASGIHandler, "async", []),
        (ASGIHandler, "waiting", []),
        (ASGIHandler, "sync", [HOLDS]),
        (ASGIHandler, "waiting", [HOLDS]),
        (DjangoASGIHandler, "sync", []),
        (DjangoASGIHandler, "async", []),
        (DjangoASGIHandler, "waiting", []),
    ],
)
async def test_middleware_answers_when_its_time_out_ends_first(
    handler_class, kind, inside
):
    """The client has its 503 while the view still runs."""
    ledger = Ledger()
    view = view_of(kind, ledger)

    with (
        site(view, middleware=[LIMITED, *inside], handler_class=handler_class) as app,
        ledger.watching(),
    ):
        wire = Wire()
        wire.start(app)
        await wire.until_sent(2)
        was_running = not clock.ended.is_open
        clock.gate.open()
        error = await wire.ended()

    assert error is None
    assert was_running
    assert (wire.status, wire.body) == (503, b"too slow")
    assert clock.seen == [0]
    assert (ledger.started, ledger.finished) == (1, 1)


@pytest.mark.parametrize("patience", [0, 60])
async def test_all_is_cleaned_up_when_a_view_ends_after_its_answer(patience):
    """Both responses are closed, the worker given back, the signal sent once."""
    ledger = Ledger()
    after: list[str] = []

    def view(request):
        clock.run_out()
        request.after(after.append, "late")
        return ledger.keep(HttpResponse("late"))

    with (
        site(view, middleware=[LIMITED], bridge={"DETACH_AFTER": patience}) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire = Wire()
        wire.start(handler)
        await wire.until_sent(2)
        before = ledger.counts
        clock.gate.open()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert (wire.status, wire.body) == (503, b"too slow")
    assert before == (1, 0, 0)
    assert ledger.counts == (1, 1, 1)
    assert clock.answer_closed.is_open
    assert after == ["late"]
    assert left == {}


async def test_server_has_its_task_back_when_the_view_outlives_detach_after():
    """The answer is out, and the rest goes on in the background."""
    ledger = Ledger()
    view = view_of("sync", ledger)

    with (
        site(view, middleware=[LIMITED], bridge={"DETACH_AFTER": 0.01}) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire = Wire()
        wire.start(handler)
        error = await wire.ended()
        was_running = not clock.ended.is_open
        clock.gate.open()
        left = await base.left()

    assert error is None
    assert was_running
    assert wire.status == 503
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_stream_in_place_of_a_slow_view_is_sent_while_it_runs():
    """Nothing of the answer waits for the thread."""
    ledger = Ledger()
    view = view_of("sync", ledger)

    with (
        site(view, middleware=[STREAMS, LIMITED]) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire = Wire()
        wire.start(handler)
        await wire.until_sent(4)
        was_running = not clock.ended.is_open
        clock.gate.open()
        await wire.ended()
        left = await base.left()

    assert was_running
    assert (wire.status, wire.body) == (504, b"too slow")
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_time_out_outside_a_sync_middleware_waits_for_its_thread():
    """A sync-only middleware outside holds the thread that the view is on."""
    ledger = Ledger()
    view = view_of("sync", ledger)

    with site(view, middleware=[HOLDS, LIMITED]) as handler, ledger.watching():
        base = Base()
        wire = Wire()
        wire.start(handler)
        while not clock.seen:  # noqa: ASYNC110 - the middleware tells no event
            await asyncio.sleep(0)
        clock.gate.open()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert (wire.status, wire.body) == (503, b"too slow")
    assert ledger.counts == (1, 1, 1)
    assert left == {}


class SlowHook(MiddlewareMixin):
    """A middleware whose hook takes too long."""

    def process_request(self, request):
        clock.run_out()


@pytest.mark.parametrize("patience", [0, 60])
async def test_time_out_around_a_slow_hook_ends_in_its_answer(patience):
    """A hook around an async view is waited for, DETACH_AFTER at most."""
    ledger = Ledger()
    hook = f"{__name__}.SlowHook"

    async def view(request):
        return ledger.keep(HttpResponse("late"))

    with (
        site(
            view,
            middleware=[f"{__name__}.limited_without_token", hook],
            bridge={"DETACH_AFTER": patience},
        ) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire = Wire()
        wire.start(handler)
        if patience:
            clock.gate.open()
        error = await wire.ended()
        clock.gate.open()
        left = await base.left()

    assert error is None
    assert (wire.status, wire.body) == (503, b"too slow")
    assert (ledger.started, ledger.finished) == (1, 1)
    assert left == {}
