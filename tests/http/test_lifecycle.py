"""Every end of a request: signals once, responses closed, nothing left behind."""

import asyncio
import contextlib
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.cache import caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.signals import request_finished, request_started
from django.http import FileResponse, HttpResponse, StreamingHttpResponse
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.asgi import Application
from django_asgi_bridge.http import on_disconnect
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.http.lifecycle import is_clean
from django_asgi_bridge.http.receivers import finished_audience
from django_asgi_bridge.threads import get_pool
from django_asgi_bridge.threads.worker import PoolLease
from tests.http.exchanges import (
    Base,
    Gate,
    Ledger,
    Wire,
    lost_generators,
    settle,
    site,
)

pytestmark = pytest.mark.asyncio

KINDS = ("plain", "sync stream", "async stream", "file")
MODES = ("sync", "async")


class Stage:
    """What one cell of the table plays with."""

    def __init__(self, kind: str, mode: str, folder: Path) -> None:
        self.kind = kind
        self.ledger = Ledger()
        self.in_view = Gate()
        self.go_on = Gate()
        self.view_error: Exception | None = None
        self.item_error: tuple[int, Exception] | None = None
        self.holds_view = False
        self.file = folder / "large.bin"
        self.file.write_bytes(bytes(1_000_000))
        self.wire: Wire | None = None
        self.loop = asyncio.get_running_loop()
        self.view = self._sync_view if mode == "sync" else self._async_view

    def _sync_view(self, request):
        self.in_view.open()
        if self.holds_view:
            self.go_on.wait()
        return self._answer()

    async def _async_view(self, request):
        self.in_view.open()
        if self.holds_view:
            await self.go_on.opened()
        return self._answer()

    def _answer(self):
        if self.view_error is not None:
            raise self.view_error
        return self.ledger.keep(self._response())

    def _response(self):
        match self.kind:
            case "plain":
                return HttpResponse(b"x" * 300_000)
            case "sync stream":
                return StreamingHttpResponse(self._items())
            case "async stream":
                return StreamingHttpResponse(self._async_items())
        return FileResponse(self.file.open("rb"))

    def _items(self) -> Iterator[bytes]:
        for i in range(6):
            if self.item_error is not None and self.item_error[0] == i:
                raise self.item_error[1]
            yield b"%d" % i * 65536

    async def _async_items(self) -> AsyncIterator[bytes]:
        for i in range(6):
            if self.item_error is not None and self.item_error[0] == i:
                raise self.item_error[1]
            await asyncio.sleep(0)
            yield b"%d" % i * 65536


class Fault(NamedTuple):
    """A fault point: how it is made, and what may be counted then.

    ``raises`` is what the server sees; ``counts`` are request_started,
    request_finished and closed responses; None for "as often as a response was
    made".
    """

    name: str
    make: Callable[[Stage], Wire]
    during: Callable[[Stage], Any] | None
    raises: type[BaseException] | None
    counts: tuple[int, int, int | None]
    kinds: tuple[str, ...] = KINDS


def _raises_in_receive(stage: Stage) -> Wire:
    def on_receive(number):
        raise ValueError("receive")

    return Wire(method="POST", body=b"x", on_receive=on_receive)


def _blocks_in_receive(stage: Stage) -> Wire:
    async def nothing():
        await asyncio.Event().wait()
        yield b""

    return Wire(method="POST", body=nothing())


def _gone_at_once(stage: Stage) -> Wire:
    return Wire(method="POST", on_receive=lambda number: {"type": "http.disconnect"})


def _gone_in_body(stage: Stage) -> Wire:
    def on_receive(number):
        return None if number == 0 else {"type": "http.disconnect"}

    return Wire(method="POST", body=[b"a", b"b", b"c"], on_receive=on_receive)


def _holds_view(stage: Stage) -> Wire:
    stage.holds_view = True
    return Wire()


def _fails_in_view(stage: Stage) -> Wire:
    stage.view_error = ValueError("view")
    return Wire()


def _fails_at_item(number: int) -> Callable[[Stage], Wire]:
    def make(stage: Stage) -> Wire:
        stage.item_error = number, TypeError("item")
        return Wire()

    return make


def _send_fails_at(number: int) -> Callable[[Stage], Wire]:
    def make(stage: Stage) -> Wire:
        def on_send(count, message):
            if count == number:
                raise OSError("the peer is gone")

        return Wire(on_send=on_send)

    return make


def _leaves_at(number: int) -> Callable[[Stage], Wire]:
    def make(stage: Stage) -> Wire:
        def on_send(count, message):
            if count == number:
                stage.wire.leave()

        return Wire(on_send=on_send)

    return make


def _cancelled_at(number: int) -> Callable[[Stage], Wire]:
    def make(stage: Stage) -> Wire:
        def on_send(count, message):
            if count == number:
                stage.wire.task.cancel()

        return Wire(on_send=on_send)

    return make


async def _cancel_when_it_waits(stage: Stage) -> None:
    await stage.wire.until_asked()
    stage.wire.task.cancel()


async def _leave_in_view(stage: Stage) -> None:
    await stage.in_view.opened()
    stage.wire.leave()
    await settle()
    stage.go_on.open()


async def _cancel_in_view(stage: Stage) -> None:
    await stage.in_view.opened()
    stage.wire.task.cancel()
    await settle()
    stage.go_on.open()


async def _stray_in_view(stage: Stage) -> None:
    await stage.in_view.opened()
    stage.wire.push({"type": "http.unheard"})
    await settle()
    stage.go_on.open()


STREAMS = ("sync stream", "async stream")
FAULTS = (
    Fault("nothing", lambda stage: Wire(), None, None, (1, 1, None)),
    Fault("receive raises", _raises_in_receive, None, ValueError, (0, 0, 0)),
    Fault(
        "cancelled in receive",
        _blocks_in_receive,
        _cancel_when_it_waits,
        asyncio.CancelledError,
        (0, 0, 0),
    ),
    Fault("gone before the body", _gone_at_once, None, None, (0, 0, 0)),
    Fault("gone in mid-body", _gone_in_body, None, None, (0, 0, 0)),
    Fault("gone in mid-view", _holds_view, _leave_in_view, None, (1, 1, None)),
    Fault("gone at the start", _leaves_at(0), None, None, (1, 1, None)),
    Fault("gone in mid-answer", _leaves_at(2), None, None, (1, 1, None)),
    Fault("view raises", _fails_in_view, None, None, (1, 1, None)),
    Fault(
        "first item raises", _fails_at_item(0), None, TypeError, (1, 1, None), STREAMS
    ),
    Fault(
        "third item raises", _fails_at_item(2), None, TypeError, (1, 1, None), STREAMS
    ),
    Fault("send fails at start", _send_fails_at(0), None, None, (1, 1, None)),
    Fault("send fails at body 1", _send_fails_at(1), None, None, (1, 1, None)),
    Fault("send fails at body 3", _send_fails_at(3), None, None, (1, 1, None)),
    Fault(
        "cancelled in mid-view",
        _holds_view,
        _cancel_in_view,
        asyncio.CancelledError,
        (1, 1, None),
    ),
    Fault(
        "cancelled at the start",
        _cancelled_at(0),
        None,
        asyncio.CancelledError,
        (1, 1, None),
    ),
    Fault(
        "cancelled in mid-answer",
        _cancelled_at(2),
        None,
        asyncio.CancelledError,
        (1, 1, None),
    ),
    Fault(
        "stray event in mid-view",
        _holds_view,
        _stray_in_view,
        AssertionError,
        (1, 1, None),
    ),
)

CELLS = [
    pytest.param(fault, kind, mode, id=f"{fault.name}-{kind}-{mode} view")
    for fault in FAULTS
    for kind in fault.kinds
    for mode in MODES
]


@pytest.mark.parametrize("is_watched", [True, False], ids=["receivers", "own only"])
@pytest.mark.parametrize(("fault", "kind", "mode"), CELLS)
async def test_request_is_settled_once_when_something_fails(
    fault, kind, mode, is_watched, tmp_path, caplog
):
    """Whatever fails, signals and close() come once and nothing stays behind."""
    stage = Stage(kind, mode, tmp_path)
    ledger = stage.ledger
    watching = ledger.watching() if is_watched else contextlib.nullcontext()
    with site(stage.view) as handler, lost_generators() as lost, watching:
        base = Base(tmp_path)
        stage.wire = fault.make(stage)
        stage.wire.start(handler)
        if fault.during is not None:
            await fault.during(stage)
        error = await stage.wire.ended()
        left = await base.left()

    started, finished, closed = fault.counts
    expected_closes = ledger.made if closed is None else closed
    assert (type(error) if error else None) is fault.raises
    if stage.item_error is not None:
        # Unmasked, not an error about the error.
        assert error is stage.item_error[1]
    assert ledger.closed == expected_closes
    if is_watched:
        assert (ledger.started, ledger.finished) == (started, finished)
    assert left == {}
    assert lost == []


class Held:
    """What the middleware below waits for; a fresh one for each test."""

    def __init__(self) -> None:
        self.reached, self.go_on = Gate(), Gate()


held = Held()


class BlockingHook(MiddlewareMixin):
    """Unknown code that blocks when the response comes by."""

    def process_response(self, request, response):
        held.reached.open()
        held.go_on.wait()
        return response


def sync_only(get_response):
    """Make a middleware that blocks after the view."""

    def middleware(request):
        response = get_response(request)
        held.reached.open()
        held.go_on.wait()
        return response

    return middleware


def async_only(get_response):
    """Make a middleware that waits on the loop after the view."""

    async def middleware(request):
        response = await get_response(request)
        held.reached.open()
        await held.go_on.opened()
        return response

    return middleware


async_only.async_capable, async_only.sync_capable = True, False


@pytest.mark.parametrize("end", ["leaves", "cancelled", "cancelled twice"])
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("middleware", ["BlockingHook", "sync_only", "async_only"])
async def test_response_is_closed_when_the_request_ends_inside_middleware(
    middleware, mode, end, monkeypatch
):
    """A view's response that never got out of the middleware is closed, too."""
    monkeypatch.setitem(globals(), "held", Held())
    ledger = Ledger()

    def view(request):
        return ledger.keep(HttpResponse("x"))

    async def async_view(request):
        return view(request)

    wire = Wire()
    with (
        site(
            view if mode == "sync" else async_view,
            middleware=[f"{__name__}.{middleware}"],
        ) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire.start(handler)
        await held.reached.opened()
        if end == "leaves":
            wire.leave()
        else:
            wire.task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        if end == "cancelled twice":
            wire.task.cancel()
            await asyncio.sleep(0)
        held.go_on.open()
        await wire.ended()
        left = await base.left()

    assert ledger.counts == (1, 1, 1)
    assert wire.sent == []
    assert left == {}


@pytest.mark.parametrize("mode", MODES)
async def test_sync_view_behind_async_middleware_is_closed_when_it_outlives_its_client(
    mode, monkeypatch
):
    """The same, with the view itself running when the client leaves."""
    monkeypatch.setitem(globals(), "held", Held())
    held.go_on.open()
    ledger, in_view, go_on = Ledger(), Gate(), Gate()

    def view(request):
        in_view.open()
        go_on.wait()
        return ledger.keep(HttpResponse("x"))

    wire = Wire()
    middleware = "async_only" if mode == "async" else "sync_only"
    with (
        site(view, middleware=[f"{__name__}.{middleware}"]) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire.start(handler)
        await in_view.opened()
        wire.leave()
        await settle()
        go_on.open()
        await wire.ended()
        left = await base.left()

    assert ledger.counts == (1, 1, 1)
    assert left == {}


# Async generators.


@pytest.mark.parametrize(
    "middleware", [(), ("django.middleware.gzip.GZipMiddleware",)], ids=["bare", "gzip"]
)
@pytest.mark.parametrize("end", ["exhausted", "client leaves", "cancelled", "raises"])
async def test_async_generator_is_closed_by_its_own_task_when_it_ends(middleware, end):
    """An async generator ends in the task that ran it, not in the collector's."""
    tasks: list[Any] = []
    reached = asyncio.Event()

    async def items():
        tasks.append(asyncio.current_task())
        try:
            yield b"a" * 1000
            yield b"b" * 1000
            reached.set()
            if end == "raises":
                raise ValueError(end)
            if end != "exhausted":
                await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            tasks.append(asyncio.current_task())

    async def view(request):
        return StreamingHttpResponse(items())

    wire = Wire(headers=[("accept-encoding", "gzip")])
    with site(view, middleware=middleware) as handler, lost_generators() as lost:
        wire.start(handler)
        await reached.wait()
        if end == "client leaves":
            wire.leave()
        elif end == "cancelled":
            wire.task.cancel()
        await wire.ended()
        await settle()

    assert lost == []
    assert tasks == [wire.task, wire.task]


async def test_async_iterator_is_closed_when_it_is_not_a_generator():
    """aclose() of any async iterator is awaited."""

    class Items:
        is_closed = False

        def __aiter__(self):
            return self

        async def __anext__(self):
            return b"x"

        async def aclose(self):
            self.is_closed = True

    items = Items()

    async def view(request):
        return StreamingHttpResponse(items)

    wire = Wire(leaves_at=3)
    with site(view) as handler:
        await wire.serve(handler)

    assert items.is_closed


# A client that leaves.


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_stream_stops_within_one_step_when_client_leaves(kind):
    """What a stream makes after its client left is at most one step."""
    made = []

    def items():
        for i in range(10_000):
            made.append(i)
            yield bytes(65536)

    async def async_items():
        for item in items():
            yield item

    async def view(request):
        return StreamingHttpResponse(items() if kind == "sync" else async_items())

    left_at = []

    def on_send(number, message):
        if number == 4:
            left_at.append(len(made))
            wire.leave()

    wire = Wire(on_send=on_send)
    with site(view) as handler:
        await wire.serve(handler)

    assert len(made) <= left_at[0] + 2


async def test_coroutine_returns_and_worker_cleans_up_when_sync_view_outlives_client():
    """W26: after DETACH_AFTER the server gets its task; the worker ends the rest."""
    ledger, in_view, go_on = Ledger(), Gate(), Gate()
    threads = []

    def view(request):
        in_view.open()
        go_on.wait()
        threads.append(threading.get_ident())
        return ledger.keep(HttpResponse("late"))

    def note_thread(**named):
        threads.append(threading.get_ident())

    wire = Wire()
    with (
        site(view, bridge={"DETACH_AFTER": 0.02}) as handler,
        ledger.watching(),
    ):
        request_finished.connect(note_thread)
        try:
            base = Base()
            wire.start(handler)
            await in_view.opened()
            wire.leave()
            error = await wire.ended()
            before = ledger.counts
            go_on.open()
            left = await base.left()
        finally:
            request_finished.disconnect(note_thread)

    assert error is None
    assert before == (1, 0, 0)
    assert ledger.counts == (1, 1, 1)
    assert len(set(threads)) == 1
    assert threading.get_ident() not in threads
    assert left == {}
    assert wire.sent == []


async def test_async_view_is_cancelled_when_client_leaves():
    """The default policy: the view gets CancelledError where it waits."""
    seen, in_view = [], Gate()

    async def view(request):
        in_view.open()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append(request.is_disconnected())
            raise

    wire = Wire(method="POST", body=b"x")
    with site(view) as handler:
        wire.start(handler)
        await in_view.opened()
        wire.leave()
        error = await wire.ended()

    assert error is None
    assert seen == [True]
    assert wire.sent == []


@pytest.mark.parametrize("by", ["decorator", "setting"])
@pytest.mark.parametrize("policy", ["finish", "shield"])
async def test_async_view_runs_to_its_end_when_policy_says_so(policy, by):
    """finish and shield: both writes of a view happen, its response is dropped."""
    ledger, in_view, go_on = Ledger(), Gate(), Gate()
    written = []

    async def view(request):
        written.append("first")
        in_view.open()
        await go_on.opened()
        await asyncio.sleep(0)
        written.append(("second", request.is_disconnected()))
        return ledger.keep(HttpResponse("dropped"))

    if by == "decorator":
        view = on_disconnect(policy)(view)
    bridge = {"ON_DISCONNECT": policy} if by == "setting" else {}
    wire = Wire(method="POST")
    with site(view, bridge=bridge) as handler, ledger.watching():
        base = Base()
        wire.start(handler)
        await in_view.opened()
        wire.leave()
        await settle()
        go_on.open()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert written == ["first", ("second", True)]
    assert wire.sent == []
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_async_view_runs_to_its_end_when_shielded_from_the_server():
    """shield: a server that cancels gets its task back, the view goes on."""
    ledger, in_view, go_on, done = Ledger(), Gate(), Gate(), Gate()

    @on_disconnect("shield")
    async def view(request):
        in_view.open()
        await go_on.opened()
        done.open()
        return ledger.keep(HttpResponse("dropped"))

    wire = Wire(method="POST")
    with site(view) as handler, ledger.watching():
        base = Base()
        wire.start(handler)
        await in_view.opened()
        wire.task.cancel()
        error = await wire.ended()
        go_on.open()
        await done.opened()
        left = await base.left()

    assert isinstance(error, asyncio.CancelledError)
    assert ledger.counts == (1, 1, 1)
    assert left == {}


@pytest.mark.parametrize("policy", ["cancel", "finish", "shield"])
async def test_application_returns_a_coroutine(policy):
    """Servers and test tools make a task of what it returns."""

    @on_disconnect(policy)
    async def view(request):
        return HttpResponse("here")

    wire = Wire()
    with site(view) as handler:
        serving = Application(handler, {})(wire.scope, wire.receive, wire.send)
        await asyncio.create_task(serving)

    assert wire.body == b"here"


async def test_finish_view_is_cancelled_when_the_server_cancels():
    """finish holds against a client that leaves, not against the server."""
    seen, in_view = [], Gate()

    @on_disconnect("finish")
    async def view(request):
        in_view.open()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    wire = Wire()
    with site(view) as handler:
        wire.start(handler)
        await in_view.opened()
        wire.task.cancel()
        error = await wire.ended()

    assert isinstance(error, asyncio.CancelledError)
    assert seen == ["cancelled"]


async def test_request_ends_when_middleware_swallows_the_cancellation():
    """A middleware that answers instead of leaving: nothing is sent, all is closed."""
    ledger, in_view = Ledger(), Gate()

    async def view(request):
        in_view.open()
        await asyncio.Event().wait()

    wire = Wire()
    with (
        site(view, middleware=[f"{__name__}.swallowing"]) as handler,
        ledger.watching(),
    ):
        base = Base()
        wire.start(handler)
        await in_view.opened()
        wire.leave()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert wire.sent == []
    assert ledger.counts[:2] == (1, 1)
    assert left == {}


def swallowing(get_response):
    """Make a middleware that takes a cancellation for an answer."""

    async def middleware(request):
        try:
            return await get_response(request)
        except asyncio.CancelledError:
            return HttpResponse("swallowed")

    return middleware


swallowing.async_capable = True
swallowing.sync_capable = False


# What receive() may bring.


@pytest.mark.parametrize(
    "message",
    [None, {}, {"type": "http.unheard"}, {"type": None}, "http.request", 7],
    ids=repr,
)
async def test_error_names_the_event_when_server_sends_no_body_event(message):
    """What is no request event is the server's fault: one clear error, nothing left."""
    ledger = Ledger()

    def view(request):
        return HttpResponse()

    async def receive():
        return message

    wire = Wire(method="POST")
    with site(view) as handler, ledger.watching():
        base = Base()
        with pytest.raises(RuntimeError, match="the server sent"):
            await handler(wire.scope, receive, wire.send)
        left = await base.left()

    assert ledger.counts == (0, 0, 0)
    assert left == {}


@pytest.mark.parametrize("message", [None, {}, "http.request", 7], ids=repr)
async def test_error_is_clear_when_server_sends_a_wrong_event_after_the_body(message):
    """A watch for the client's leaving that gets nonsense says what it got."""
    ledger, in_view = Ledger(), Gate()

    async def view(request):
        in_view.open()
        await asyncio.Event().wait()

    wire = Wire()
    with site(view) as handler, ledger.watching():
        base = Base()
        wire.start(handler)
        await in_view.opened()
        wire.push(message)
        error = await wire.ended()
        left = await base.left()

    assert isinstance(error, AssertionError)
    assert str(error).startswith("Invalid ASGI message after request body: ")
    assert ledger.counts == (1, 1, 0)
    assert left == {}


async def test_view_goes_on_when_server_repeats_the_end_of_the_body():
    """W16: some proxies repeat an empty http.request."""
    in_view, go_on = Gate(), Gate()

    async def view(request):
        in_view.open()
        await go_on.opened()
        return HttpResponse("fine")

    wire = Wire(method="POST", body=b"x")
    with site(view) as handler:
        wire.start(handler)
        await in_view.opened()
        for _ in range(3):
            wire.push({"type": "http.request", "body": b"", "more_body": False})
            wire.push({"type": "http.request"})
        await settle()
        go_on.open()
        error = await wire.ended()

    assert error is None
    assert wire.body == b"fine"


async def test_request_is_answered_when_receive_swallows_its_cancellation():
    """A server's receive() that returns instead of being cancelled does no harm."""
    bodies = iter([{"type": "http.request", "body": b"", "more_body": False}])
    swallowed = []

    async def receive():
        for message in bodies:
            return message
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.append(True)
            return {"type": "http.disconnect"}

    ledger = Ledger()

    async def view(request):
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return ledger.keep(HttpResponse("fine"))

    wire = Wire()
    with site(view) as handler, ledger.watching():
        base = Base()
        await handler(wire.scope, receive, wire.send)
        left = await base.left()

    assert wire.body == b"fine"
    assert wire.is_complete
    assert swallowed == [True]
    assert ledger.counts == (1, 1, 1)
    assert left == {}


async def test_error_of_receive_ends_the_request_when_it_comes_after_the_body():
    """The watch's own error is what the server sees."""
    ledger, in_view = Ledger(), Gate()

    def on_receive(number):
        if number == 1:
            raise KeyError("broken server")

    async def view(request):
        in_view.open()
        await asyncio.Event().wait()

    wire = Wire(on_receive=on_receive)
    with site(view) as handler, ledger.watching():
        base = Base()
        wire.start(handler)
        error = await wire.ended()
        left = await base.left()

    assert isinstance(error, KeyError)
    assert ledger.counts == (1, 1, 0)
    assert left == {}


# request.after().


@pytest.mark.parametrize("mode", MODES)
async def test_after_runs_each_function_when_the_last_byte_is_sent(mode):
    """In order, after the last event and before request_finished."""
    ran: list[Any] = []

    def note(*args, **kwargs):
        ran.append((args, kwargs, wire.is_complete, threading.get_ident()))

    async def note_async(*args, **kwargs):
        await asyncio.sleep(0)
        note(*args, **kwargs)

    def plan(request):
        request.after(note, 1, a=2)
        request.after(note_async, 3)

    def view(request):
        plan(request)
        return HttpResponse("x")

    async def async_view(request):
        plan(request)
        return HttpResponse("x")

    wire = Wire()
    with site(view if mode == "sync" else async_view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert [each[:3] for each in ran] == [((1,), {"a": 2}, True), ((3,), {}, True)]
    assert ran[0][3] != threading.get_ident()
    assert ran[1][3] == threading.get_ident()
    assert left == {}


async def test_after_logs_the_error_and_goes_on_when_a_function_raises(caplog):
    """One function's error stops neither the next nor the request."""
    ran: list[Any] = []

    def fail():
        raise ValueError("on purpose")

    async def view(request):
        request.after(fail)
        request.after(ran.append, "next")
        return HttpResponse("x")

    wire = Wire()
    with site(view) as handler:
        await wire.serve(handler)

    assert ran == ["next"]
    assert "on purpose" in caplog.text
    assert wire.is_complete


@pytest.mark.parametrize("end", ["leaves", "cancelled", "view raises"])
async def test_after_runs_once_when_the_request_ends_early(end):
    """What was promised happens even when nobody gets the answer."""
    ran: list[str] = []
    in_view = Gate()

    async def view(request):
        request.after(ran.append, "after")
        in_view.open()
        if end == "view raises":
            raise ValueError(end)
        await asyncio.Event().wait()

    wire = Wire()
    with site(view) as handler:
        wire.start(handler)
        await in_view.opened()
        if end == "leaves":
            wire.leave()
        elif end == "cancelled":
            wire.task.cancel()
        await wire.ended()
        await settle()

    assert ran == ["after"]


# Signal receivers.


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("is_async", [False, True], ids=["receiver", "async receiver"])
async def test_other_receivers_run_when_one_of_request_finished_raises(
    mode, is_async, caplog
):
    """A receiver's error is logged; the rest of the clean-up goes on."""
    ledger = Ledger()

    def broken(**named):
        raise ValueError("broken receiver")

    async def broken_async(**named):
        raise ValueError("broken receiver")

    def view(request):
        return ledger.keep(HttpResponse("x"))

    async def async_view(request):
        return ledger.keep(HttpResponse("x"))

    receiver = broken_async if is_async else broken
    wire = Wire()
    request_finished.connect(receiver)
    try:
        with (
            site(view if mode == "sync" else async_view) as handler,
            ledger.watching(),
        ):
            base = Base()
            await wire.serve(handler)
            left = await base.left()
    finally:
        request_finished.disconnect(receiver)

    assert ledger.counts == (1, 1, 1)
    assert "broken receiver" in caplog.text
    assert wire.is_complete
    assert left == {}


async def test_request_is_finished_when_a_receiver_of_request_started_raises():
    """The error leaves as with Django; what had begun is ended."""
    ledger = Ledger()

    def broken(**named):
        raise ValueError("broken receiver")

    def view(request):
        return ledger.keep(HttpResponse("x"))

    wire = Wire()
    request_started.connect(broken)
    try:
        with site(view) as handler, ledger.watching():
            base = Base()
            wire.start(handler)
            error = await wire.ended()
            left = await base.left()
    finally:
        request_started.disconnect(broken)

    assert isinstance(error, ValueError) or wire.status == 500
    assert ledger.finished == 1
    assert left == {}


async def test_close_errors_are_logged_and_the_rest_is_closed(caplog):
    """One closer's error stops neither the others nor request_finished."""
    ledger = Ledger()

    def broken():
        raise ValueError("broken closer")

    async def view(request):
        response = HttpResponse("x")
        response._resource_closers.append(broken)
        return ledger.keep(response)

    wire = Wire()
    with site(view) as handler, ledger.watching():
        base = Base()
        await wire.serve(handler)
        left = await base.left()

    assert ledger.counts == (1, 1, 1)
    assert "broken closer" in caplog.text
    assert left == {}


# What the log says.


@pytest.mark.parametrize("mode", MODES)
async def test_nothing_is_logged_as_an_error_when_the_client_leaves(mode, caplog):
    """A client that leaves is no error of the site."""
    in_view, go_on = Gate(), Gate()

    def view(request):
        in_view.open()
        go_on.wait()
        return HttpResponse("x")

    async def async_view(request):
        in_view.open()
        await go_on.opened()
        return HttpResponse("x")

    caplog.set_level(logging.INFO)
    wire = Wire()
    with site(view if mode == "sync" else async_view) as handler:
        wire.start(handler)
        await in_view.opened()
        wire.leave()
        await settle()
        go_on.open()
        await wire.ended()
        await settle()

    assert [each for each in caplog.records if each.levelno > logging.INFO] == []


async def test_own_handler_class_is_the_sender_when_a_subclass_serves():
    """Receivers that filter by sender see the class that the project uses."""

    class Own(ASGIHandler):
        pass

    ledger = Ledger()

    async def view(request):
        return HttpResponse("x")

    with site(view, handler_class=Own) as handler, ledger.watching():
        await Wire().serve(handler)

    assert ledger.senders == [Own]


async def test_worker_is_free_again_when_requests_follow_each_other():
    """Requests in turn use one worker, which no lease holds afterwards."""

    def view(request):
        return HttpResponse(str(threading.get_ident()))

    with site(view) as handler:
        bodies = {(await Wire().serve(handler)).body for _ in range(20)}

    assert len(bodies) == 1
    assert get_pool().stats().leased == 0


class SocketCache(LocMemCache):
    """Closes what it has, as those of memcached do."""

    def close(self, **kwargs):
        """Be somebody's own."""


@pytest.mark.parametrize("kind", [LocMemCache, SocketCache])
@pytest.mark.parametrize("is_used", [False, True])
async def test_used_cache_that_closes_something_is_closed_on_a_worker(
    kind, is_used, settings
):
    """Also where the worker that used it has gone to another request."""
    settings.CACHES = {"default": {"BACKEND": f"{__name__}.{kind.__name__}"}}
    lease = PoolLease()
    lease.gave_way = True

    def ask():
        if is_used:
            caches["default"].get("anything")
        return is_clean(lease, finished_audience())

    found = contextvars.Context().run(ask)

    assert found is (kind is LocMemCache or not is_used)
