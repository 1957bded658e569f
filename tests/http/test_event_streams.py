"""Event streams with an async source, served by the handler."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.http import StreamingHttpResponse

from django_asgi_bridge.http import beats, on_disconnect, sources
from django_asgi_bridge.http.eventstream import EventStreamResponse
from django_asgi_bridge.protocol.response import BadResponse
from tests.http.exchanges import Base, Gate, Wire, settle, site

pytestmark = pytest.mark.asyncio

BEAT = b": keep-alive\n\n"


class Silence:
    """Stands for `loop.call_later`: the test fires what was asked for last."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def __call__(self, seconds: float, callback: Any) -> "Silence":
        self.asked.append(callback)
        return self

    def cancel(self) -> None:
        """Do nothing: a callback that comes too late must do no harm either."""

    async def fire(self) -> None:
        await settle()
        self.asked[-1]()


class Log:
    """What a source sees: the tasks in which it runs, and how it ends."""

    def __init__(self) -> None:
        self.tasks: set[asyncio.Task[Any] | None] = set()
        self.end: type[BaseException] | None = None

    async def events(self, *gates: Gate) -> AsyncIterator[str]:
        """Give an event at once, and one when each gate is opened."""
        try:
            yield self.seen("first")
            for number, gate in enumerate(gates):
                await gate.opened()
                yield self.seen(f"event {number}")
        except BaseException as error:
            self.end = type(error)
            raise
        finally:
            self.seen("end")

    def seen(self, text: str) -> str:
        self.tasks.add(asyncio.current_task())
        return text


def serving(source: Any, **options: Any) -> Any:
    """Make a view that streams a source."""

    async def view(request):
        return EventStreamResponse(source, **options)

    return view


async def test_source_stays_in_one_task_and_beats_stand_between_its_events():
    silence, log, gate = Silence(), Log(), Gate()
    wire = Wire()
    with site(serving(log.events(gate), timer=silence, retry=5)) as handler:
        base = Base()
        wire.start(handler)
        await wire.until_sent(3)
        for number in (1, 2):
            await silence.fire()
            await wire.until_sent(3 + number)
        gate.open()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert wire.chunks == [
        b"retry: 5\n\n",
        b"data: first\n\n",
        BEAT,
        BEAT,
        b"data: event 0\n\n",
        b"",
    ]
    assert len(log.tasks) == 1
    assert wire.task not in log.tasks
    assert left == {}


@pytest.mark.parametrize("follows", ["event", "end"])
async def test_what_follows_waits_for_the_beat_that_is_being_sent(follows):
    """Two sends at once would be mixed up by some servers."""
    silence, gate = Silence(), Gate()

    async def events():
        yield "first"
        await gate.opened()
        if follows == "event":
            yield "second"

    go_on, begun, under_way, most = Gate(), Gate(), 0, 0

    class Slow(Wire):
        async def send(self, message):
            nonlocal under_way, most
            under_way += 1
            most = max(most, under_way)
            if message.get("body") == BEAT:
                begun.open()
                await go_on.opened()
            await super().send(message)
            under_way -= 1

    wire = Slow()
    with site(serving(events(), timer=silence)) as handler:
        wire.start(handler)
        await wire.until_sent(2)
        await silence.fire()
        await begun.opened()
        gate.open()
        await settle()
        go_on.open()
        assert await wire.ended() is None

    second = [b"data: second\n\n"] if follows == "event" else []
    assert wire.chunks == [b"data: first\n\n", BEAT, *second, b""]
    assert most == 1


async def test_no_beat_is_sent_while_an_event_is():
    """A timer that fires while the client is slow finds no silence."""
    silence, log, gate = Silence(), Log(), Gate()

    def on_send(number, message):
        if message.get("body"):
            for callback in list(silence.asked):
                callback()

    wire = Wire(on_send=on_send)
    gate.open()
    with site(serving(log.events(gate), timer=silence)) as handler:
        await wire.serve(handler)
        for callback in silence.asked:
            callback()
        await settle()

    assert wire.body == b"data: first\n\ndata: event 0\n\n"


@pytest.mark.parametrize("policy", ["cancel", "finish"])
@pytest.mark.parametrize("how", ["told", "raised"])
async def test_source_is_closed_in_its_task_when_a_beat_finds_the_client_gone(
    policy, how
):
    """A source that is silent for long learns of it by the heartbeat at the latest."""
    silence, log = Silence(), Log()
    view = on_disconnect(policy)(serving(log.events(Gate()), timer=silence))

    def on_send(number, message):
        if message.get("body") == BEAT:
            if how == "raised":
                raise OSError("the peer is gone")
            wire.leave()

    wire = Wire(on_send=on_send)
    with site(view) as handler:
        base = Base()
        wire.start(handler)
        await wire.until_sent(2)
        while not wire.task.done():
            await silence.fire()
        error = await wire.ended()
        left = await base.left()

    assert error is None
    assert log.end is asyncio.CancelledError
    assert len(log.tasks) == 1
    assert not wire.is_complete
    assert left == {}


@pytest.mark.parametrize("end", ["client leaves", "cancelled"])
async def test_source_is_closed_at_once_when_the_request_ends(end):
    log = Log()
    wire = Wire()
    with site(serving(log.events(Gate()), heartbeat=None)) as handler:
        base = Base()
        wire.start(handler)
        await wire.until_sent(2)
        if end == "cancelled":
            wire.task.cancel()
        else:
            wire.leave()
        await wire.ended()
        seen = log.end
        left = await base.left()

    assert seen is asyncio.CancelledError
    assert len(log.tasks) == 1
    assert left == {}


async def test_beat_that_may_not_be_sent_breaks_the_stream_off():
    """Here because a length was announced that the beat would exceed."""
    silence, log = Silence(), Log()

    async def view(request):
        response = EventStreamResponse(log.events(Gate()), timer=silence)
        response["Content-Length"] = str(len(b"data: first\n\n"))
        return response

    wire = Wire()
    with site(view) as handler:
        wire.start(handler)
        await wire.until_sent(2)
        await silence.fire()
        error = await wire.ended()

    assert isinstance(error, BadResponse)
    assert log.end is asyncio.CancelledError
    assert wire.body == b"data: first\n\n"


async def test_source_is_closed_at_its_yield_when_the_client_left_before():
    """With the policy "finish" nothing cancels it."""
    log, gate = Log(), Gate()
    gate.open()
    wire = Wire(leaves_at=1)
    view = on_disconnect("finish")(serving(log.events(gate, gate, gate)))
    with site(view) as handler:
        await wire.serve(handler)

    assert log.end is GeneratorExit
    assert len(log.tasks) == 1
    assert not wire.is_complete


async def test_source_that_never_ran_is_closed_when_the_request_is_cancelled():
    """Also one that is no generator, of which Python would know that it never ran."""
    closed = []

    class Source:
        def __aiter__(self):
            return self

        async def __anext__(self):
            return "event"

        async def aclose(self):
            closed.append(True)

    def on_send(number, message):
        wire.task.cancel()

    wire = Wire(on_send=on_send)
    with site(serving(Source())) as handler:
        wire.start(handler)
        await wire.ended()

    assert closed
    assert wire.body == b""


async def test_stream_ends_when_a_time_out_of_the_source_spans_its_yields():
    """It is over while the client is slow: the source stands at its yield then."""
    scopes: list[asyncio.Timeout] = []

    async def events():
        async with asyncio.timeout(None) as scope:
            scopes.append(scope)
            yield "first"
            yield "second"

    def on_send(number, message):
        if message.get("body"):
            scopes[0].reschedule(0)

    wire = Wire(on_send=on_send)
    with site(serving(events())) as handler:
        await wire.serve(handler)

    assert wire.body == b"data: first\n\n"
    assert wire.is_complete


async def test_error_of_the_source_breaks_the_stream_off():
    async def events():
        yield "first"
        raise OSError("the source's own")

    wire = Wire()
    with site(serving(events())) as handler:
        wire.start(handler)
        error = await wire.ended()

    assert isinstance(error, OSError)
    assert wire.body == b"data: first\n\n"
    assert not wire.is_complete


async def test_one_timer_serves_many_events():
    """To set one for each event costs as much as the event."""
    loop = asyncio.get_running_loop()
    timers = []

    def call_later(delay: float, *call: Any, **named: Any) -> Any:
        if delay > 1000:
            timers.append(call)
        return type(loop).call_later(loop, delay, *call, **named)

    async def events():
        for _ in range(100):
            await asyncio.sleep(0)
            yield "event"

    wire = Wire()
    with (
        site(serving(events(), heartbeat=5000)) as handler,
        pytest.MonkeyPatch().context() as patch,
    ):
        patch.setattr(loop, "call_later", call_later)
        await wire.serve(handler)

    assert len(wire.chunks) == 101
    assert len(timers) == 1


class Clock:
    """Sets the time of the running loop, and calls what was to be called later."""

    is_disconnected = False

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        self.asked: list[tuple[float, Any]] = []
        loop = asyncio.get_running_loop()
        patch.setattr(beats, "monotonic", lambda: self.now)
        patch.setattr(sources, "monotonic", lambda: self.now)
        patch.setattr(loop, "call_later", self.call_later)

    def call_later(self, seconds: float, callback: Any) -> Any:
        self.asked.append((self.now + seconds, callback))
        return Silence()

    async def reach(self, moment: float) -> None:
        while self.asked and self.asked[0][0] <= moment:
            self.now, callback = self.asked.pop(0)
            callback()
            await settle()
        self.now = moment


async def test_beat_comes_after_the_whole_silence_when_events_came_before(monkeypatch):
    """The timer that an earlier event set does not shorten the silence of a later."""
    clock, gates, times = Clock(monkeypatch), [Gate() for _ in range(3)], []

    async def send(chunk):
        times.append((clock.now, chunk == BEAT))

    response = EventStreamResponse(Log().events(*gates), heartbeat=10.0)
    events = response.async_events
    assert events is not None
    task = asyncio.get_running_loop().create_task(events.send_all(send, clock))
    await settle()
    for moment, gate in zip((4.0, 8.0, 15.0), gates, strict=True):
        await clock.reach(moment)
        if gate is not gates[-1]:
            gate.open()
            await settle()
    await clock.reach(40.0)
    await events.aclose()
    await task
    await clock.reach(80.0)

    of_events = [(0.0, False), (4.0, False), (8.0, False)]
    assert times == [*of_events, (18.0, True), (28.0, True), (38.0, True)]


@pytest.mark.parametrize("response", [EventStreamResponse, StreamingHttpResponse])
async def test_source_that_never_waits_lets_the_watch_see_that_the_client_left(
    response,
):
    """Nor does the server ever wait here."""

    async def events():
        while True:
            yield "event"

    async def view(request):
        return response(events())

    class Quick(Wire):
        async def send(self, message):
            self.sent.append(message)
            if len(self.sent) == 5:
                self.leave()
            assert len(self.sent) < 1_000_000

    wire = Quick()
    with site(view) as handler:
        await wire.serve(handler)

    assert not wire.is_complete
