"""How a consumer ends on paths that are rarely taken: nothing is left behind."""

import asyncio
import contextlib
import contextvars
import threading

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.consumer.worker import HandlerWorker
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.generic.websocket import (
    WebsocketConsumer,
)
from django_asgi_bridge.layers import channel_layers
from django_asgi_bridge.sockets import Bounds, Inbox
from django_asgi_bridge.threads import drive, lease_of_context
from tests.consumer.consumers import Echo
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio


class Failing(Echo):
    async def receive(self, text_data=None, bytes_data=None):
        raise RuntimeError("boom")


class Queue:
    """A layer without mailboxes, of somebody else."""

    extensions = ["groups"]

    def __init__(self):
        self.errors = asyncio.Queue()

    async def new_channel(self, prefix="specific."):
        return f"{prefix}foreign!1"

    async def receive(self, channel):
        raise await self.errors.get()

    async def group_add(self, group, channel):
        """Do nothing."""

    async def group_discard(self, group, channel):
        """Do nothing."""


# The server loses patience while the connection ends.


async def test_server_cancel_during_the_last_clean_up_leaves_no_membership(layer):
    """A server whose ``receive()`` is slow to end must not keep the channel alive."""
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    class Stopping(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            # While it waits, its client is listened to.
            await asyncio.sleep(0)
            raise StopConsumer

    async def application(scope, receive, send):
        async def slow_receive():
            try:
                return await receive()
            except asyncio.CancelledError:
                is_ending.set()
                await may_end.wait()
                raise

        await Stopping()(scope, slow_receive, send)

    wire = await Wire(application).open()
    wire.say("stop")
    await wire.until(is_ending.is_set)

    wire.task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert layer.groups == {}
    before = layer.stats().dropped
    await layer.send(Echo.last.channel_name, {"type": "chat.message"})
    assert layer.stats().dropped == before + 1


async def test_server_cancel_during_the_close_of_a_failed_one_disconnects_once(layer):
    """A client that does not read the close does not cost ``disconnect()``."""
    wire = await Wire(Failing.as_asgi()).open()
    wire.gate.clear()
    is_closing = asyncio.Event()
    wire.on_send = lambda event: is_closing.set()
    wire.say("x")
    await wire.until(is_closing.is_set)

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert Echo.last.codes == [1011]


async def test_receive_that_the_server_cancels_itself_ends_the_consumer(layer):
    async def application(scope, receive, send):
        async def receive_once():
            message = await receive()
            if message["type"] == "websocket.receive":
                raise asyncio.CancelledError
            return message

        await Echo()(scope, receive_once, send)

    wire = await Wire(application).open()
    wire.say("x")

    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert Echo.last.codes == [1006]


async def test_sync_handler_that_outlasts_its_client_is_left(layer, settings):
    """Nobody cancels a thread; the server sees a normal end, and the client's code."""
    settings.ASGI_BRIDGE = {"DETACH_AFTER": 0.0}
    codes = []
    is_running, may_end = threading.Event(), threading.Event()

    class Stuck(WebsocketConsumer):
        groups = ["room"]
        on_disconnect = "cancel"
        disconnect_grace = 0.0

        def receive(self, text_data=None, bytes_data=None):
            is_running.set()
            may_end.wait()

        def disconnect(self, code):
            codes.append(code)

    wire = await Wire(Stuck.as_asgi()).open()
    wire.say("x")
    await wire.until(is_running.is_set)
    try:
        await wire.leave(code=1001)
    finally:
        may_end.set()

    assert codes == [1001]
    assert layer.groups == {}


async def test_worker_of_a_connection_that_is_over_enters_no_context():
    """What a handler left is thrown away in the context of whoever runs then."""
    elsewhere = contextvars.Context()

    async def handling():
        worker = HandlerWorker(is_sync=False)
        await worker.call(lambda message: None, {})
        assert worker.lease.worker is not None
        worker.close()
        elsewhere.run(worker.release)

    await drive(contextvars.copy_context(), handling())

    assert elsewhere.run(lease_of_context) is None


async def test_server_cancel_counts_after_a_handler_swallowed_an_earlier_one(layer):
    """The policy ``cancel`` takes its own cancellations for itself, no others."""
    is_running, is_ending = asyncio.Event(), asyncio.Event()

    class Stubborn(Echo):
        concurrency = 2
        on_disconnect = "cancel"
        disconnect_grace = 0.0

        async def receive(self, text_data=None, bytes_data=None):
            is_running.set()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        async def disconnect(self, code):
            is_ending.set()
            await asyncio.Event().wait()

    wire = await Wire(Stubborn.as_asgi()).open()
    wire.say("x")
    await wire.until(is_running.is_set)
    wire.push("disconnect", code=1001)
    await wire.until(is_ending.is_set)

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()


async def test_client_that_leaves_during_the_clean_up_does_not_cut_it_off(layer):
    """The policy ``cancel`` is for handlers of messages."""
    is_ending, may_end = asyncio.Event(), asyncio.Event()

    class Careful(Failing):
        on_disconnect = "cancel"
        disconnect_grace = 0.0

        async def disconnect(self, code):
            is_ending.set()
            await may_end.wait()
            await super().disconnect(code)

    wire = await Wire(Careful.as_asgi()).open()
    wire.say("x")
    await wire.until(is_ending.is_set)
    wire.push("disconnect", code=1001)
    await wire.until(lambda: Echo.last.connection.inbox.end)
    # A timer of 0 s would have run by then.
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(RuntimeError, match="boom"):
        await wire.end()

    assert Echo.last.codes == [1011]


# A layer that fails.


async def test_layer_that_cannot_open_a_channel_is_the_error_that_is_raised(layer):
    class Away(Queue):
        async def open_mailbox(self, mailbox):
            raise ConnectionError("no broker")

        def close_mailbox(self, channel):
            raise AssertionError("there is no channel")

    channel_layers.set("default", Away())
    wire = Wire(Echo.as_asgi())
    wire.push("connect")

    with pytest.raises(ConnectionError, match="no broker"):
        await wire.end()


async def test_layer_that_fails_closes_with_1011(layer):
    """Its client is still there, and may connect again."""
    foreign = Queue()
    channel_layers.set("default", foreign)
    wire = await Wire(Echo.as_asgi()).open()

    foreign.errors.put_nowait(ConnectionError("no broker"))
    with pytest.raises(ConnectionError, match="no broker"):
        await wire.end()

    assert wire.sent[-1] == {"type": "websocket.close", "code": 1011}
    assert Echo.last.codes == [1011]


# A consumer's own mistakes.


@pytest.mark.parametrize("key", [None, []])
async def test_overflow_key_that_fails_ends_its_own_consumer_alone(key, layer):
    """Neither who sends to the group nor its other members see the error."""

    class Wrong(Echo):
        bounds = Bounds(layer_overflow="latest_by_key")

        def overflow_key(self, message):
            if message["type"] == "websocket.connect":
                return message["type"]
            return message["symbol"] if key is None else key

    wrong = await Wire(Wrong.as_asgi()).open()
    broken = Echo.last
    right = await Wire(Echo.as_asgi()).open()

    await layer.group_send("room", {"type": "chat.message", "text": "hi"})
    await right.until(right.texts)
    with pytest.raises((KeyError, TypeError)):
        await wrong.end()
    await right.leave()

    assert wrong.sent[-1] == {"type": "websocket.close", "code": 1011}
    assert broken.codes == [1011]
    assert broken.dropped.layer_events == 1


async def test_overflow_key_that_fails_for_a_frame_closes_with_1011(layer):
    class Wrong(Echo):
        bounds = Bounds(client_overflow="latest_by_key")

        def overflow_key(self, message):
            if message["type"] == "websocket.connect":
                return message["type"]
            raise LookupError("no key")

    wire = await Wire(Wrong.as_asgi()).open()
    wire.say("x")
    with pytest.raises(LookupError, match="no key"):
        await wire.end()

    assert wire.sent[-1] == {"type": "websocket.close", "code": 1011}


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("concurrency", 0, "at least 1"),
        ("on_disconnect", "cancell", "'finish' or 'cancel'"),
    ],
)
async def test_option_that_cannot_be_is_named(option, value, expected, layer):
    wrong = type("Wrong", (Echo,), {option: value})

    with pytest.raises(ImproperlyConfigured, match=f"Wrong.{option} is .* {expected}"):
        await Wire(wrong.as_asgi()).end()


async def test_strict_events_reach_no_attribute_that_is_no_method(layer, caplog):
    class Roomy(Echo):
        strict_events = True
        room = "lobby"

    wire = await Wire(Roomy.as_asgi()).open()
    await layer.group_send("room", {"type": "room"})
    await layer.group_send("room", {"type": "chat.message", "text": "hi"})
    await wire.until(wire.texts)
    await wire.leave()

    assert "room is no method" in caplog.text


# Two kinds of messages, several handlers.


async def test_frames_and_events_take_turns_also_with_several_handlers():
    """A client that sends without end does not keep the layer's events waiting."""
    inbox = Inbox(Bounds())
    for number in range(4):
        inbox.offer_client({"type": "frame", "number": number})
        inbox.put_event({"type": "event", "number": number}, 10)

    got = [inbox.take_first(lambda message: True) for _ in range(8)]

    assert [message["type"] for message in got] == ["frame", "event"] * 4
    assert [message["number"] for message in got] == [0, 0, 1, 1, 2, 2, 3, 3]


# The server cancels what ends already.


class Members(Queue):
    """Keeps memberships; to leave a group takes as long as a test lets it."""

    def __init__(self):
        super().__init__()
        self.members = set()
        self.asked, self.left = [], []
        self.is_leaving, self.may_leave = asyncio.Event(), asyncio.Event()

    async def group_add(self, group, channel):
        self.members.add(group)

    async def group_discard(self, group, channel):
        self.asked.append(group)
        self.is_leaving.set()
        await self.may_leave.wait()
        self.members.remove(group)
        self.left.append(group)


class Joined(Echo):
    groups = ["room", "hall"]


class SyncJoined(WebsocketConsumer):
    groups = ["room", "hall"]

    def __init__(self):
        super().__init__()
        self.codes = []
        Echo.last = self

    def disconnect(self, code):
        self.codes.append(code)


@pytest.mark.parametrize("consumer", [Joined, SyncJoined])
async def test_cancel_while_a_foreign_layer_is_told_leaves_each_group_once(
    consumer, layer
):
    """And ``disconnect()`` runs, with the client's code."""
    foreign = Members()
    channel_layers.set("default", foreign)
    wire = await Wire(consumer.as_asgi()).open()
    assert foreign.members == {"room", "hall"}
    wire.push("disconnect", code=1001)
    await foreign.is_leaving.wait()

    wire.task.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    foreign.may_leave.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert foreign.left == ["room", "hall"]
    assert Echo.last.codes == [1001]


@pytest.mark.parametrize("consumer", [Joined, SyncJoined])
async def test_instance_that_serves_again_leaves_its_groups_again(consumer, layer):
    foreign = Members()
    foreign.may_leave.set()
    channel_layers.set("default", foreign)
    instance = consumer()

    for _ in range(2):
        wire = await Wire(instance).open()
        await wire.leave()

    assert foreign.left == ["room", "hall"] * 2
    assert foreign.members == set()


async def test_cancel_before_the_handshake_leaves_no_group(layer):
    """None was joined."""
    foreign = Members()
    foreign.may_leave.set()
    channel_layers.set("default", foreign)
    is_waiting = asyncio.Event()

    async def application(scope, receive, send):
        async def receive_and_tell():
            is_waiting.set()
            return await receive()

        await Joined()(scope, receive_and_tell, send)

    wire = Wire(application)
    await is_waiting.wait()
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert not foreign.is_leaving.is_set()


async def test_cancel_during_disconnect_leaves_no_group_a_second_time(layer):
    """It was left before ``disconnect()``, which the cancellation reaches."""
    foreign = Members()
    foreign.may_leave.set()
    channel_layers.set("default", foreign)
    is_ending = asyncio.Event()

    class Waiting(Joined):
        async def disconnect(self, code):
            is_ending.set()
            await asyncio.Event().wait()

    wire = await Wire(Waiting.as_asgi()).open()
    wire.push("disconnect", code=1001)
    await is_ending.wait()
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert foreign.asked == foreign.left == ["room", "hall"]


async def test_foreign_layer_that_is_gone_does_not_keep_the_server_from_stopping(
    layer, caplog
):
    foreign = Members()
    channel_layers.set("default", foreign)
    own = type("Own", (Joined,), {"disconnect_grace": 0.0})
    wire = await Wire(own.as_asgi()).open()
    wire.push("disconnect", code=1001)
    await foreign.is_leaving.wait()

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert foreign.left == []
    assert "was cut off" in caplog.text
