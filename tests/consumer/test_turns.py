"""One task that reads and handles by turns, and the second one where both wait."""

import asyncio
import contextvars
import sys
import threading
import weakref

import pytest

from django_asgi_bridge.consumer.handling import TURN
from django_asgi_bridge.generic.websocket import WebsocketConsumer
from django_asgi_bridge.sockets import Bounds
from tests.consumer.consumers import Echo
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

EVENT = {"type": "chat.message", "text": "event"}


class Waiting(Echo):
    """Waits in the handler of the layer's events until the gate opens."""

    async def connect(self):
        self.gate = asyncio.Event()
        self.seen = []
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        self.seen.append(text_data)

    async def chat_message(self, event):
        self.seen.append(f"{event['text']} begins")
        await self.gate.wait()
        self.seen.append(f"{event['text']} ends")


async def turns(count=5):
    for _ in range(count):
        await asyncio.sleep(0)


async def waiting(layer, consumer=Waiting):
    """Return a connection whose handler of a layer's event waits."""
    wire = await Wire(consumer.as_asgi()).open()
    await turns()
    await layer.group_send("room", EVENT)
    await wire.until(lambda: Echo.last.seen)
    return wire


async def test_idle_consumer_has_no_task_but_the_servers(layer):
    before = asyncio.all_tasks()
    wire = await Wire(Echo.as_asgi()).open()
    wire.say("a")
    await wire.until(wire.texts)
    await turns()

    assert asyncio.all_tasks() - before == {wire.task}
    await wire.leave()


async def test_events_of_an_idle_consumer_share_one_task(layer):
    """No task is made for an event, whether its handler waits or not."""
    before = asyncio.all_tasks()
    wire = await waiting(layer)
    Echo.last.gate.set()
    await turns()
    both = asyncio.all_tasks() - before
    assert len(both) == 2

    for number in range(3):
        await layer.group_send("room", {**EVENT, "text": str(number)})
        await turns()

    assert asyncio.all_tasks() - before == both
    assert Echo.last.seen[-1] == "2 ends"
    await wire.leave()


async def test_task_for_events_ends_when_the_client_speaks(layer):
    before = asyncio.all_tasks()
    wire = await waiting(layer)
    Echo.last.gate.set()
    await turns()

    wire.say("a")
    await wire.until(lambda: "a" in Echo.last.seen)
    await turns()

    assert asyncio.all_tasks() - before == {wire.task}
    assert Echo.last.seen == ["event begins", "event ends", "a"]
    await wire.leave()


@pytest.mark.parametrize("way", ["client", "server", "handler", "send"])
async def test_task_for_events_ends_with_the_connection(layer, way, caplog):
    class Failing(Echo):
        async def chat_message(self, event):
            if event["text"] == "fail":
                raise RuntimeError("boom")

    before = asyncio.all_tasks()
    wire = await Wire(Failing.as_asgi()).open()
    await turns()
    await layer.group_send("room", EVENT)
    await turns()
    assert len(asyncio.all_tasks() - before) == 2

    if way == "client":
        await wire.leave()
    elif way == "server":
        wire.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wire.end()
    elif way == "handler":
        await layer.group_send("room", {**EVENT, "text": "fail"})
        with pytest.raises(RuntimeError, match="boom"):
            await wire.end()
    else:
        Failing.last.connection.inbox.stop(4000, "")
        await wire.end()
    await turns()

    assert asyncio.all_tasks() - before == set()
    assert len(Failing.last.codes) == 1


async def test_reader_ends_when_handlers_no_longer_wait(layer):
    class Once(Echo):
        async def connect(self):
            await asyncio.sleep(0)
            await self.accept()

    before = asyncio.all_tasks()
    wire = await Wire(Once.as_asgi()).open()
    await turns()
    assert len(asyncio.all_tasks() - before) == 2

    for number in range(3):
        wire.say(str(number))
        await wire.until(lambda: len(wire.texts()) == number + 1)  # noqa: B023
    await turns()

    assert asyncio.all_tasks() - before == {wire.task}
    await wire.leave()


async def test_handlers_that_wait_share_one_reader(layer):
    """No task is made for a message, whether its handler waits or not."""

    class Slow(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            await asyncio.sleep(0)
            await self.send(text_data=text_data)

    wire = await Wire(Slow.as_asgi()).open()
    wire.say("warm")
    await wire.until(wire.texts)
    before = asyncio.all_tasks()

    for number in range(10):
        wire.say(str(number))
        await wire.until(lambda: len(wire.texts()) == number + 2)  # noqa: B023

    assert asyncio.all_tasks() == before
    await wire.leave()


async def test_frames_wait_for_the_handler_of_an_event_and_keep_their_order(layer):
    wire = await waiting(layer)

    wire.say("a", "b")
    await turns()
    assert Echo.last.seen == ["event begins"]
    Echo.last.gate.set()
    await wire.until(lambda: "b" in Echo.last.seen)

    assert Echo.last.seen == ["event begins", "event ends", "a", "b"]
    await wire.leave()


async def test_frame_that_found_no_room_is_handled_though_nothing_follows(layer):
    """The last handler to wait leaves it to nobody else."""

    class Narrow(Waiting):
        bounds = Bounds(client_frames=1)

    wire = await waiting(layer, Narrow)
    wire.say("a", "b")
    await turns()
    Echo.last.gate.set()
    await wire.until(lambda: len(Echo.last.seen) == 4)

    assert Echo.last.seen == ["event begins", "event ends", "a", "b"]
    await wire.leave()


async def test_event_goes_before_the_next_frame_after_a_frame_that_waited(layer):
    """Frames and events take turns where both wait: a busy client delays no event."""

    class Pausing(Waiting):
        async def receive(self, text_data=None, bytes_data=None):
            await super().receive(text_data)
            await self.gate.wait()

        async def chat_message(self, event):
            self.seen.append(event["text"])

    wire = await Wire(Pausing.as_asgi()).open()
    seen = Echo.last.seen
    wire.say("frame", "next frame")
    await wire.until(lambda: seen)
    await turns()
    await layer.group_send("room", EVENT)
    Echo.last.gate.set()
    await wire.until(lambda: len(seen) == 3)

    assert seen == ["frame", "event", "next frame"]
    await wire.leave()


async def test_disconnect_is_seen_behind_the_handler_of_an_event(layer):
    wire = await waiting(layer)
    wire.say("a")

    wire.push("disconnect", code=1001)
    await wire.until(lambda: Echo.last.is_disconnected)
    assert Echo.last.codes == []
    Echo.last.gate.set()
    await wire.end()

    assert Echo.last.seen == ["event begins", "event ends", "a"]
    assert Echo.last.codes == [1001]


async def test_events_never_take_back_a_receive_that_is_under_way(layer):
    """It may have taken a message already, which would be lost."""
    calls, cancelled = [], []

    async def application(scope, receive, send):
        async def noting():
            calls.append("begun")
            try:
                return await receive()
            except asyncio.CancelledError:
                cancelled.append("cancelled")
                raise

        await Echo()(scope, noting, send)

    wire = await Wire(application).open()
    await turns()
    begun = len(calls)
    for number in range(5):
        await layer.group_send("room", {**EVENT, "text": f"event {number}"})
        await wire.until(lambda: len(wire.texts()) == number + 1)  # noqa: B023

    assert (len(calls), cancelled) == (begun, [])
    wire.say("frame")
    await wire.until(lambda: wire.texts()[-1] == "frame")
    await wire.leave()


async def test_handlers_share_one_context_whatever_task_they_run_in(layer):
    variable = contextvars.ContextVar("variable", default="nothing")
    got = []

    class Setting(Echo):
        async def connect(self):
            variable.set("connect")
            await self.accept()

        async def chat_message(self, event):
            got.append(variable.get())
            variable.set("event")

        async def receive(self, text_data=None, bytes_data=None):
            got.append(variable.get())

    wire = await Wire(Setting.as_asgi()).open()
    await turns()
    await layer.group_send("room", EVENT)
    await wire.until(lambda: got)
    wire.say("x")
    await wire.until(lambda: len(got) == 2)

    assert got == ["connect", "event"]
    await wire.leave()


# The end, while a handler of an event waits.


async def test_server_cancel_reaches_the_handler_of_an_event(layer):
    class Noting(Waiting):
        async def chat_message(self, event):
            try:
                await super().chat_message(event)
            except asyncio.CancelledError:
                self.seen.append("cancelled")
                raise

    wire = await waiting(layer, Noting)

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert Echo.last.seen == ["event begins", "cancelled"]
    assert Echo.last.codes == [1012]


async def test_server_cancel_before_the_handler_of_an_event_counts_it(layer):
    wire = await Wire(Echo.as_asgi()).open()
    await turns()

    await layer.group_send("room", EVENT)
    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    handled = len(wire.texts())
    assert handled + Echo.last.dropped.layer_events == 1
    assert Echo.last.codes == [1012]


async def test_policy_cancel_ends_the_handler_of_an_event(layer):
    class Impatient(Waiting):
        on_disconnect = "cancel"
        disconnect_grace = 0.0

    wire = await waiting(layer, Impatient)

    await wire.leave(1001)

    assert Echo.last.seen == ["event begins"]
    assert Echo.last.codes == [1001]


async def test_sync_handler_of_an_event_that_outlasts_its_client_is_left(
    layer, settings
):
    settings.ASGI_BRIDGE = {"DETACH_AFTER": 0.0}
    codes = []
    is_running, may_end = threading.Event(), threading.Event()

    class Stuck(WebsocketConsumer):
        groups = ["room"]
        on_disconnect = "cancel"
        disconnect_grace = 0.0

        def chat_message(self, event):
            is_running.set()
            may_end.wait()

        def disconnect(self, code):
            codes.append(code)

    wire = await Wire(Stuck.as_asgi()).open()
    await layer.group_send("room", EVENT)
    await wire.until(is_running.is_set)
    try:
        await wire.leave(code=1001)
    finally:
        may_end.set()

    assert codes == [1001]
    assert layer.groups == {}


async def test_outer_cancellation_counts_when_the_handler_of_an_event_fails(
    layer, caplog
):
    """The own task is fetched from its reading; that takes nobody's cancellation."""

    class Failing(Echo):
        async def chat_message(self, event):
            wire.task.cancel()
            raise RuntimeError("boom")

    wire = await Wire(Failing.as_asgi()).open()
    await turns()
    await layer.group_send("room", EVENT)

    with pytest.raises((asyncio.CancelledError, RuntimeError)):
        await wire.end()

    assert wire.task.cancelled() or wire.task.cancelling() == 1
    assert len(Echo.last.codes) == 1


async def test_handler_of_an_event_that_fails_leaves_no_cancellation(layer, caplog):
    class Failing(Echo):
        async def chat_message(self, event):
            raise RuntimeError("boom")

    wire = await Wire(Failing.as_asgi()).open()
    await turns()
    await layer.group_send("room", EVENT)

    with pytest.raises(RuntimeError, match="boom"):
        await wire.end()

    assert wire.task.cancelling() == 0
    assert Echo.last.codes == [1011]


async def test_messages_that_are_there_already_let_others_have_a_turn(layer):
    """A server's ``receive()`` need not wait, and would hold the loop for ever."""
    handled = []

    class Counting(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            handled.append(text_data)

    async def application(scope, receive, send):
        events = iter([{"type": "websocket.connect"}])

        async def endless():
            if event := next(events, None):
                return event
            if is_over:
                return {"type": "websocket.disconnect", "code": 1000}
            return {"type": "websocket.receive", "text": "x"}

        await Counting()(scope, endless, send)

    is_over = []
    wire = Wire(application)
    await turns(2)
    is_over.append(True)
    await wire.end()

    assert 0 < len(handled) <= 2 * TURN


class Kept(dict):
    """An event that can be referred to weakly."""


@pytest.mark.parametrize("waits", [False, True])
async def test_handled_message_is_not_kept_while_the_connection_is_idle(waits, layer):
    """There are many idle connections, and a message may be large."""

    class Consumer(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            if waits:
                await asyncio.sleep(0)
            await self.send(text_data)

    wire = await Wire(Consumer.as_asgi()).open()
    message = Kept(type="websocket.receive", text="a")
    kept = weakref.ref(message)
    wire._events.put_nowait(message)
    del message
    await wire.until(wire.texts)
    await turns()

    assert kept() is None
    await wire.leave()


class Failing(Echo):
    """Fails at an event, or at a frame."""

    async def connect(self):
        self.seen = []
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        self.seen.append(text_data)
        raise ValueError(text_data)

    async def chat_message(self, event):
        self.seen.append(event["text"])
        if event["text"] == "fails":
            raise ValueError(event["text"])

    async def disconnect(self, code):
        self.seen.append("disconnect")


async def test_event_right_after_one_that_failed_is_not_handled_behind_the_end(layer):
    before = asyncio.all_tasks()
    wire = await Wire(Failing.as_asgi()).open()
    await turns()
    await layer.group_send("room", {**EVENT, "text": "fails"})
    # Its task has failed; the connection's own has not seen that yet.
    await asyncio.sleep(0)
    await layer.group_send("room", {**EVENT, "text": "late"})

    with pytest.raises(ValueError, match="fails"):
        await wire.end()

    await turns()
    assert Echo.last.seen == ["fails", "disconnect"]
    assert asyncio.all_tasks() - before <= {wire.task}


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
async def test_task_aside_ends_with_its_connection_on_a_loop_with_eager_tasks(layer):
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        before = asyncio.all_tasks()
        wire = await Wire(Failing.as_asgi()).open()
        for number in range(3):
            await layer.group_send("room", {**EVENT, "text": number})
            await turns()
        wire.say("fails")
        with pytest.raises(ValueError, match="fails"):
            await wire.end()
        await turns()

        assert Echo.last.seen == [0, 1, 2, "fails", "disconnect"]
        assert asyncio.all_tasks() - before <= {wire.task}
    finally:
        loop.set_task_factory(None)
