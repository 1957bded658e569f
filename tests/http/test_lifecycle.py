"""Every end of a request: signals once, responses closed, nothing left behind."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from django.core.signals import request_finished, request_started
from django.http import FileResponse, HttpResponse, StreamingHttpResponse

from django_asgi_bridge.http import on_disconnect
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.threads import get_pool
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
    while not stage.wire.asked:
        await asyncio.sleep(0)
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
    assert ledger.closed == expected_closes
    if is_watched:
        assert (ledger.started, ledger.finished) == (started, finished)
    assert left == {}
    assert lost == []
