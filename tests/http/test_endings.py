"""Ends of requests that were easy to lose: each must still be an end, once."""

import asyncio

import pytest
from asgiref.sync import sync_to_async
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import request_finished
from django.http import HttpResponse, StreamingHttpResponse
from django.test import override_settings
from django.utils.decorators import async_only_middleware

from django_asgi_bridge.http import streams_body
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.threads import get_pool
from tests.http.exchanges import Base, Gate, Ledger, Wire, site
from tests.http.support import fresh_pool

pytestmark = pytest.mark.asyncio


@async_only_middleware
def swallows_cancellation(get_response):
    """Answer where it should have been cancelled."""

    async def middleware(request):
        try:
            return await get_response(request)
        except asyncio.CancelledError:
            return HttpResponse("swallowed")

    return middleware


async def test_request_is_finished_when_it_recovers_in_the_background():
    """A detached request that swallows its cancellation still gives all back."""
    begun, gate, ledger = Gate(), Gate(), Ledger()

    def view(request):
        begun.open()
        gate.wait()
        return ledger.keep(HttpResponse("late"))

    with (
        site(
            view,
            bridge={"DETACH_AFTER": 0.01},
            middleware=[f"{__name__}.swallows_cancellation"],
        ) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire = Wire()
        wire.start(handler)
        await begun.opened()
        wire.leave()
        await wire.ended()
        gate.open()
        left = await base.left()

    assert left == {}
    assert (ledger.started, ledger.finished) == (1, 1)
    assert wire.sent == []


async def test_stream_ends_when_cancelled_while_a_slow_client_is_sent_to():
    """One cancellation is enough, though an item is still being sent."""
    blocked, gate = asyncio.Event(), Gate()

    def items():
        yield b"first"
        gate.wait()
        yield b"second"

    class Slow(Wire):
        async def send(self, message):
            await super().send(message)
            if message.get("body"):
                blocked.set()
                await asyncio.Event().wait()

    with site(lambda request: StreamingHttpResponse(items())) as handler:
        base = Base()
        wire = Slow()
        task = wire.start(handler)
        await blocked.wait()
        task.cancel()
        gate.open()
        error = await wire.ended()
        left = await base.left()

    assert isinstance(error, asyncio.CancelledError)
    assert left == {}


async def test_view_outlives_the_body_timer_when_the_body_came_late():
    """BODY_TIMEOUT ends with the body, not with the request."""

    class Handler(ASGIHandler):
        async def read_body(self, receive):
            await asyncio.sleep(0)
            return await super().read_body(receive)

    async def view(request):
        return HttpResponse(repr(request._bridge_exchange.body_timer))

    with site(view, handler_class=Handler) as handler:
        wire = await Wire().serve(handler)

    assert wire.body == b"None"


async def test_body_timer_stops_when_a_view_streams_its_body():
    """An unread body has its own time-outs; the first one is off."""

    @streams_body
    async def view(request):
        return HttpResponse(repr(request._bridge_exchange.body_timer))

    with site(view) as handler:
        wire = await Wire(method="POST", body=b"x").serve(handler)

    assert wire.body == b"None"


async def test_client_gets_503_when_the_error_page_finds_no_worker(monkeypatch):
    """PoolBusy never leaves the application."""
    begun, gate = Gate(), Gate()

    def blocks(request):
        begun.open()
        gate.wait()
        return HttpResponse("done")

    async def bad_header(request):
        response = HttpResponse()
        response.headers._store["bad name"] = ("bad name", "x")
        return response

    bridge = {"THREADS": 1, "MAX_THREADS": 1, "MAX_QUEUE": 0}
    with site(bad_header, blocks, bridge=bridge) as handler, fresh_pool(monkeypatch):
        busy = Wire("/blocks")
        busy.start(handler)
        await begun.opened()
        wire = await Wire().serve(handler)
        gate.open()
        await busy.ended()

    assert wire.status == 503


class BrokenCache(LocMemCache):
    """A cache that cannot be closed."""

    def close(self, **kwargs):
        """Fail."""
        raise ValueError("this cache does not close")


async def test_answer_stands_when_a_cache_cannot_be_closed(caplog):
    """Errors at the end are logged and stop nothing."""

    async def view(request):
        caches["default"].get("anything")
        return HttpResponse("answered")

    broken = {"default": {"BACKEND": f"{__name__}.BrokenCache"}}
    with override_settings(CACHES=broken), site(view) as handler:
        base = Base()
        wire = await Wire().serve(handler)
        left = await base.left()

    assert wire.body == b"answered"
    assert left == {}
    assert "closing a response failed" in caplog.text


@pytest.mark.parametrize("event", ["http.response.start", "http.response.body"])
async def test_server_gets_its_error_not_back_when_the_client_has_left(event):
    """ASGI 2.4: its send() raises OSError then, which is no error of the site."""

    class Gone(Wire):
        async def send(self, message):
            if message["type"] == event:
                raise OSError("gone")
            await super().send(message)

    async def view(request):
        return HttpResponse("x")

    with site(view) as handler:
        base = Base()
        wire = Gone()
        wire.start(handler)
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert left == {}


async def test_late_call_leaves_nothing_leased_when_none_came_before():
    """A task that outlives its request may call; its worker is free again."""
    answered, late = asyncio.Event(), []

    async def calls():
        await answered.wait()
        await sync_to_async(late.append)("called")

    async def view(request):
        late.append(asyncio.create_task(calls()))
        return HttpResponse("x")

    with site(view) as handler:
        await Wire().serve(handler)
        answered.set()
        await late[0]

    assert late[1:] == ["called"]
    assert get_pool().stats().leased == 0


async def test_async_receivers_run_when_cancelled_during_the_sync_ones():
    """request_finished reaches everybody, cancelled or not."""
    begun, gate, heard = Gate(), Gate(), []

    def slow(**named):
        heard.append("sync")
        begun.open()
        gate.wait()

    async def last(**named):
        heard.append("async")

    request_finished.connect(slow)
    request_finished.connect(last)
    try:
        with site(lambda request: HttpResponse("x")) as handler:
            wire = Wire()
            task = wire.start(handler)
            await begun.opened()
            task.cancel()
            gate.open()
            await wire.ended()
    finally:
        request_finished.disconnect(slow)
        request_finished.disconnect(last)

    assert heard == ["sync", "async"]
