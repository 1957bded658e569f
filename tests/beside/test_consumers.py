"""Consumers: rows C1 to C5, C9, C17 and C20 of what Channels does wrong."""

import asyncio
import contextlib
import json
import threading
from typing import Any

import pytest
from asgiref.sync import SyncToAsync

from tests.beside.sides import on_both
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

TURNS = 50
"""Turns of the loop in which a consumer that waits for nothing else goes on."""


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


@on_both("C1: each message makes a trip to a thread", AssertionError)
async def test_message_of_an_async_consumer_makes_no_trip(side, layer, monkeypatch):
    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Echo(base):
        async def receive(self, text_data=None, bytes_data=None):
            await self.send(text_data=text_data)

    wire = await Wire(Echo.as_asgi()).open()
    trips = []
    call = SyncToAsync.__call__

    def noting(self, *args, **kwargs):
        trips.append(self)
        return call(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", noting)
    wire.say(*map(str, range(10)))
    await wire.until(lambda: len(wire.texts()) == 10)
    made = len(trips)
    await wire.leave()

    assert made == 0


@on_both(
    "C2: all sync consumers share one thread",
    (threading.BrokenBarrierError, AssertionError),
)
async def test_sync_consumers_run_beside_each_other(side, layer):
    meeting = threading.Barrier(2)

    base: Any = side("generic.websocket").WebsocketConsumer

    class Waiting(base):
        def receive(self, text_data=None, bytes_data=None):
            meeting.wait(side.patience)
            self.send(text_data="met")

    wires = [await Wire(Waiting.as_asgi()).open() for _ in range(2)]
    for wire in wires:
        wire.say("go")
    for wire in wires:
        await wire.until(wire.texts)
        await wire.leave()


@on_both("C3: while a handler runs nobody looks for the client", AssertionError)
async def test_client_that_leaves_during_a_handler_is_sent_nothing(side, layer):
    entered, gate = asyncio.Event(), asyncio.Event()

    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Slow(base):
        async def receive(self, text_data=None, bytes_data=None):
            entered.set()
            await gate.wait()
            await self.send(text_data="too late")

    wire = await Wire(Slow.as_asgi()).open()
    wire.say("go")
    await entered.wait()
    wire.push("disconnect", code=1001)
    await turns()
    gate.set()
    await wire.end()

    assert wire.texts() == []


@on_both("C3: handlers run one after the other, always", AssertionError)
async def test_handlers_run_beside_each_other_where_the_class_says_so(side, layer):
    running, gate = set(), asyncio.Event()

    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Parallel(base):
        concurrency = 2

        async def receive(self, text_data=None, bytes_data=None):
            running.add(text_data)
            await gate.wait()

    wire = await Wire(Parallel.as_asgi()).open()
    wire.say("1", "2")
    await turns()
    seen = set(running)
    gate.set()
    await wire.leave()

    assert seen == {"1", "2"}


@on_both("C4: a cancelled consumer stays in its groups", AssertionError)
@pytest.mark.parametrize("kind", ["AsyncWebsocketConsumer", "WebsocketConsumer"])
async def test_groups_are_left_when_the_server_cancels(side, layer, kind):
    member = type("Member", (getattr(side("generic.websocket"), kind),), {})
    member.groups = ["room"]
    wire = await Wire(member.as_asgi()).open()
    assert list(layer.groups) == ["room"]

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert layer.groups == {}


@on_both("C4: a consumer that raised stays in its groups", AssertionError)
async def test_groups_are_left_when_a_handler_raises(side, layer):
    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Failing(base):
        groups = ["room"]

        async def receive(self, text_data=None, bytes_data=None):
            raise RuntimeError("boom")

    wire = await Wire(Failing.as_asgi()).open()
    wire.say("x")
    with pytest.raises(RuntimeError, match="boom"):
        await wire.end()

    assert layer.groups == {}


@on_both("C5: an HTTP consumer goes on sending to nobody", AssertionError)
async def test_nothing_is_sent_after_the_http_client_has_left(side):
    sent, events = [], asyncio.Queue()

    base: Any = side("generic.http").AsyncHttpConsumer

    class Consumer(base):
        async def handle(self, body):
            await self.send_headers()
            await turns()
            for _ in range(3):
                await self.send_body(b"late", more_body=True)

    async def send(event):
        sent.append(event["type"])
        events.put_nowait({"type": "http.disconnect"})

    events.put_nowait({"type": "http.request"})
    await Consumer.as_asgi()({"type": "http"}, events.get, send)

    assert sent == ["http.response.start"]


# What servers send, and are sent.


@on_both("C9: it takes the code for granted", KeyError)
@pytest.mark.parametrize("kind", ["AsyncWebsocketConsumer", "WebsocketConsumer"])
async def test_disconnect_may_come_without_a_code(side, layer, kind):
    consumer = getattr(side("generic.websocket"), kind)
    wire = await Wire(consumer.as_asgi()).open()

    await wire.leave(code=None)


@on_both("C9: it takes the bytes for granted", KeyError)
@pytest.mark.parametrize("kind", ["AsyncWebsocketConsumer", "WebsocketConsumer"])
async def test_frame_may_come_without_content(side, layer, kind):
    consumer = getattr(side("generic.websocket"), kind)
    wire = await Wire(consumer.as_asgi()).open()

    wire.push("receive")
    await wire.leave()


@on_both("C9: a frame that is no JSON is the consumer's end", json.JSONDecodeError)
@pytest.mark.parametrize(
    "kind", ["AsyncJsonWebsocketConsumer", "JsonWebsocketConsumer"]
)
async def test_frame_that_is_no_json_closes_with_1007(side, layer, kind):
    consumer = getattr(side("generic.websocket"), kind)
    wire = await Wire(consumer.as_asgi()).open()

    wire.say("{nonsense")
    await wire.until(lambda: len(wire.sent) == 2)
    await wire.leave()

    assert wire.sent[-1]["type"] == "websocket.close"
    assert wire.sent[-1]["code"] == 1007


@on_both("C17: it sends whatever it is told to", AssertionError)
async def test_second_accept_and_what_follows_a_close_are_not_sent(side, layer):
    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Eager(base):
        async def receive(self, text_data=None, bytes_data=None):
            await self.accept()
            await self.close(4000)
            await self.send(text_data="late")

    wire = await Wire(Eager.as_asgi()).open()
    wire.say("x")
    await wire.until(lambda: len(wire.sent) > 1)
    await wire.leave()

    assert [event["type"] for event in wire.sent] == [
        "websocket.accept",
        "websocket.close",
    ]


@on_both("C17: frames may leave before the accept", AssertionError)
async def test_frame_before_the_accept_is_an_error_of_the_consumer(side, layer):
    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Hasty(base):
        async def connect(self):
            await self.send(text_data="early")
            await self.accept()

    wire = Wire(Hasty.as_asgi())
    wire.push("connect")
    wire.push("disconnect", code=1001)
    with contextlib.suppress(Exception):
        await wire.end()

    assert wire.texts() == []


@on_both("C17: OSError, which says that the client is gone, is raised on", OSError)
async def test_server_that_finds_no_client_is_the_end_and_no_error(side, layer):
    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Echo(base):
        async def receive(self, text_data=None, bytes_data=None):
            await self.send(text_data=text_data)

    def fail(event):
        raise OSError("gone")

    wire = await Wire(Echo.as_asgi()).open()
    wire.on_send = fail
    wire.say("x")
    await wire.leave()


@on_both("C20: what a source raises when it is cancelled comes instead", OSError)
async def test_end_of_a_dispatch_is_not_hidden_by_a_source(side):
    stop = side("exceptions").StopConsumer

    async def first():
        return {"type": "message"}

    async def rude():
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("the source's own")

    async def dispatch(message):
        raise stop

    with pytest.raises(stop):
        await side("utils").await_many_dispatch([first, rude], dispatch)


@on_both("C20: it takes a message from the layer and drops it", AssertionError)
async def test_message_that_nobody_handles_is_counted_or_stays(side, layer):
    """Sent by the handler that stops the consumer: handled, counted or in the layer."""
    heard = []
    stop = side("exceptions").StopConsumer

    base: Any = side("generic.websocket").AsyncWebsocketConsumer

    class Stopping(base):
        groups = ["room"]

        async def receive(self, text_data=None, bytes_data=None):
            Stopping.last = self
            await self.channel_layer.group_send("room", {"type": "note"})
            await turns()
            raise stop

        async def note(self, event):
            heard.append(event)

    wire = await Wire(Stopping.as_asgi()).open()
    wire.say("x")
    await wire.end()

    counted = getattr(Stopping.last, "dropped", None)
    waiting = sum(queue.qsize() for queue in layer.channels.values())
    assert len(heard) + waiting + (counted.layer_events if counted else 0) == 1
