"""More than a connection can take: sent == delivered + dropped, to the message."""

import asyncio

import pytest

from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
from django_asgi_bridge.layers import channel_layers
from django_asgi_bridge.sockets import Bounds
from django_asgi_bridge.sockets.turns import Turn
from tests.consumer.test_loop import Foreign
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

TOTALS = pytest.mark.parametrize("total", [150, 10_000])


class Sleeper(AsyncWebsocketConsumer):
    """Sleeps in one handler until the gate opens, then notes what is left."""

    groups = ["room"]
    last: "Sleeper"

    def __init__(self):
        super().__init__()
        self.is_asleep = False
        self.gate = asyncio.Event()
        self.seen = []
        self.told = []
        self.codes = []
        Sleeper.last = self

    def overflow_key(self, message):
        number = message.get("number", message.get("text"))
        return int(number) % 10 if number not in (None, "sleep") else number

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "sleep":
            self.is_asleep = True
            await self.gate.wait()
        else:
            self.seen.append(int(text_data))

    async def chat_message(self, event):
        self.seen.append(event["number"])

    async def on_overflow(self, dropped):
        self.told.append(dropped)

    async def disconnect(self, code):
        self.codes.append(code)


async def asleep(**bounds):
    """Return a socket whose consumer sleeps, and that consumer."""
    own = type("Own", (Sleeper,), {"bounds": Bounds(**bounds)})
    wire = await Wire(own.as_asgi()).open()
    wire.say("sleep")
    await wire.until(lambda: Sleeper.last.is_asleep)
    return wire, Sleeper.last


async def ended(wire, consumer, policy):
    """Let the connection end as the policy says."""
    if policy == "close":
        await wire.end()
        assert wire.sent[-1]["code"] == 1013
        assert consumer.codes == [1013]
    else:
        await wire.leave()
        assert consumer.codes == [1001]


def of(kind, dropped):
    """Return how many of one kind were dropped; no other kind may be."""
    counted = getattr(dropped, kind)
    assert dropped.client_frames + dropped.layer_events + dropped.outgoing == counted
    return counted


@TOTALS
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("close", slice(0, 32)),
        ("drop_newest", slice(0, 32)),
        ("drop_oldest", slice(-32, None)),
        ("latest_by_key", slice(-10, None)),
    ],
)
async def test_client_frames_are_dropped_by_policy(policy, kept, total, layer):
    wire, consumer = await asleep(client_overflow=policy)

    wire.say(*map(str, range(total)))
    await wire.until(lambda: wire._events.empty())
    consumer.gate.set()
    expected = list(range(total))[kept]
    await wire.until(lambda: consumer.seen == expected)
    await ended(wire, consumer, policy)

    assert consumer.seen == expected
    assert of("client_frames", consumer.dropped) == total - len(expected)
    assert sum(of("client_frames", each) for each in consumer.told) == (
        total - len(expected)
    )


@TOTALS
async def test_client_frames_wait_when_the_policy_is_to_block(total, layer):
    wire, consumer = await asleep()

    wire.say(*map(str, range(total)))
    # 32 wait in the inbox, one in the reader's hand; the rest is the server's.
    await wire.until(lambda: wire._events.qsize() == total - 33)
    consumer.gate.set()
    await wire.until(lambda: len(consumer.seen) == total)
    await ended(wire, consumer, "block")

    assert consumer.seen == list(range(total))
    assert of("client_frames", consumer.dropped) == 0
    assert consumer.told == []


@TOTALS
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("close", slice(0, 100)),
        ("drop_newest", slice(0, 100)),
        ("drop_oldest", slice(-100, None)),
        ("latest_by_key", slice(-10, None)),
    ],
)
async def test_layer_events_are_dropped_by_policy(policy, kept, total, layer):
    wire, consumer = await asleep(layer_overflow=policy)

    for number in range(total):
        await layer.group_send("room", {"type": "chat.message", "number": number})
    consumer.gate.set()
    expected = list(range(total))[kept]
    await wire.until(lambda: consumer.seen == expected)
    await ended(wire, consumer, policy)

    assert consumer.seen == expected
    assert of("layer_events", consumer.dropped) == total - len(expected)
    assert sum(of("layer_events", each) for each in consumer.told) == (
        total - len(expected)
    )
    counted = layer.stats()
    assert counted.sent == total == counted.delivered + counted.dropped


@TOTALS
@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("close", slice(0, 0)),
        ("drop_newest", slice(1, 65)),
        ("drop_oldest", slice(-64, None)),
        ("latest_by_key", slice(-1, None)),
    ],
)
async def test_outgoing_frames_are_dropped_by_policy(policy, kept, total, layer):
    """The first one is on its way when the client stops reading."""
    wire, consumer = await asleep(outgoing_overflow=policy)
    wire.gate.clear()

    await layer.group_broadcast("room", text_data="0")
    await wire.until(lambda: consumer.connection.inbox.socket.turn is Turn.SENDING)
    for number in range(1, total):
        await layer.group_broadcast("room", text_data=str(number))
    wire.gate.set()
    consumer.gate.set()
    expected = ["0", *map(str, range(total)[kept])]
    await wire.until(lambda: wire.texts() == expected)
    await ended(wire, consumer, policy)

    assert wire.texts() == expected
    assert of("outgoing", consumer.dropped) == total - len(expected)
    assert sum(of("outgoing", each) for each in consumer.told) == total - len(expected)
    counted = layer.stats()
    assert counted.sent == total == counted.delivered + counted.dropped


@TOTALS
async def test_own_frames_wait_for_a_client_that_reads_slowly(total, layer):
    """Whoever sends for itself is slowed down; nothing is dropped."""
    sent = []

    class Talker(Sleeper):
        async def receive(self, text_data=None, bytes_data=None):
            for number in range(total):
                await self.send(text_data=str(number))
                sent.append(number)

    wire = await Wire(Talker.as_asgi()).open()
    wire.gate.clear()
    is_called = asyncio.Event()
    wire.on_send = lambda event: is_called.set()
    wire.say("go")
    await is_called.wait()
    assert sent == []

    wire.gate.set()
    await wire.until(lambda: len(wire.texts()) == total)
    await wire.leave()

    assert wire.texts() == list(map(str, range(total)))
    assert of("outgoing", Sleeper.last.dropped) == 0


# What comes when the end is known.


@pytest.mark.parametrize("at_once", [1, 2])
async def test_consumer_that_sends_to_itself_ends_when_its_client_leaves(
    at_once, layer
):
    """And it does not hold the event loop meanwhile."""

    class Ticking(Sleeper):
        concurrency = at_once
        ticks = 0

        async def tick(self, event):
            Ticking.ticks += 1
            assert Ticking.ticks < 10_000, "nothing else on the loop gets a turn"
            await self.channel_layer.send(self.channel_name, {"type": "tick"})

    wire = await Wire(Ticking.as_asgi()).open()
    await layer.group_send("room", {"type": "tick"})
    await wire.until(lambda: Ticking.ticks > 10)

    await wire.leave()

    assert Sleeper.last.codes == [1001]


async def test_event_that_comes_after_the_client_left_is_dropped_and_counted(layer):
    """Those that came before are handled; the sender sees no error."""
    wire, consumer = await asleep()
    await layer.group_send("room", {"type": "chat.message", "number": 1})
    wire.push("disconnect", code=1001)
    await wire.until(lambda: consumer.is_disconnected)

    await layer.group_send("room", {"type": "chat.message", "number": 2})
    for _ in range(200):
        await layer.send(consumer.channel_name, {"type": "chat.message", "number": 3})
    consumer.gate.set()
    await wire.end()

    assert consumer.seen == [1]
    assert of("layer_events", consumer.dropped) == 201
    assert consumer.told == []


async def test_frame_that_comes_after_the_connection_was_given_up_is_dropped(layer):
    wire, consumer = await asleep(layer_events=1, layer_overflow="close")
    wire.say("1")
    await wire.until(lambda: wire._events.empty())
    for number in (2, 3):
        await layer.group_send("room", {"type": "chat.message", "number": number})
    assert consumer.is_disconnected

    wire.say("4")
    await wire.until(lambda: wire._events.empty())
    consumer.gate.set()
    await wire.end()

    assert sorted(consumer.seen) == [1, 2]
    assert (consumer.dropped.client_frames, consumer.dropped.layer_events) == (1, 1)


async def test_message_that_waits_when_a_consumer_stops_is_counted(layer):
    """C20: Channels loses what it had received and not dispatched."""
    from django_asgi_bridge.exceptions import StopConsumer

    class Stopping(Sleeper):
        async def receive(self, text_data=None, bytes_data=None):
            await super().receive(text_data, bytes_data)
            raise StopConsumer

    wire = await Wire(Stopping.as_asgi()).open()
    wire.say("sleep")
    await wire.until(lambda: Sleeper.last.is_asleep)
    wire.say("1", "2")
    await layer.group_send("room", {"type": "chat.message", "number": 3})
    await wire.until(lambda: wire._events.empty())

    Sleeper.last.gate.set()
    await wire.end()

    dropped = Sleeper.last.dropped
    assert Sleeper.last.seen == []
    assert (dropped.client_frames, dropped.layer_events) == (2, 1)


async def test_foreign_layer_keeps_what_comes_after_the_end(layer):
    foreign = Foreign()
    channel_layers.set("default", foreign)
    wire, consumer = await asleep()
    wire.push("disconnect", code=1001)
    await wire.until(lambda: consumer.is_disconnected)

    for number in range(5):
        foreign.queue.put_nowait({"type": "chat.message", "number": number})
    await asyncio.sleep(0)
    consumer.gate.set()
    await wire.end()

    # One was asked for already.
    assert consumer.dropped.layer_events == 1
    assert foreign.queue.qsize() == 4
