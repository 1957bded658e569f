"""The loop of a consumer: what is handled, in which order, and how it ends."""

import asyncio
import logging
import sys
import threading

import pytest

from django_asgi_bridge.consumer import AsyncConsumer, SyncConsumer
from django_asgi_bridge.exceptions import SocketStateError, StopConsumer
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.sockets import Bounds
from django_asgi_bridge.threads import get_pool, run_sync
from tests.consumer.consumers import Echo
from tests.consumer.wire import WATCHDOG, Wire

pytestmark = pytest.mark.asyncio


async def test_consumer_handles_messages_in_order(layer):
    wire = await Wire(Echo.as_asgi()).open()

    wire.say("a", "b", "c")
    await wire.until(lambda: len(wire.sent) == 4)
    await wire.leave()

    assert wire.sent[0]["type"] == "websocket.accept"
    assert wire.texts() == ["a", "b", "c"]
    assert Echo.last.codes == [1001]


async def test_consumer_gets_code_1005_when_the_server_names_none(layer):
    wire = await Wire(Echo.as_asgi()).open()

    await wire.leave(code=None)

    assert Echo.last.codes == [1005]


async def test_instance_is_an_application_and_app_names_its_class(layer):
    wire = await Wire(Echo()).open()
    await wire.leave()
    app = Echo.as_asgi(answer=42)

    assert app.consumer_class is Echo
    assert app.consumer_initkwargs == {"answer": 42}
    assert (app.__name__, app.__doc__) == ("Echo", Echo.__doc__)


async def test_app_makes_a_consumer_for_each_scope(layer):
    app = Echo.as_asgi()
    first, second = await Wire(app).open(), await Wire(app).open()
    one, two = layer.groups["room"]

    assert one != two
    await first.leave()
    await second.leave()


async def test_event_of_the_layer_reaches_its_handler(layer):
    wire = await Wire(Echo.as_asgi()).open()

    await layer.group_send("room", {"type": "chat.message", "text": "hello"})
    await wire.until(lambda: wire.texts() == ["hello"])
    await wire.leave()


async def test_consumer_without_a_layer_has_none():
    class Plain(AsyncWebsocketConsumer):
        channel_layer_alias = "nobody"

        async def connect(self):
            assert self.channel_layer is None
            await self.accept()

    wire = await Wire(Plain.as_asgi()).open()
    await wire.leave()


# A client that leaves while a handler runs.


class Slow(Echo):
    async def receive(self, text_data=None, bytes_data=None):
        self.entered = text_data
        await self.gate.wait()
        await self.send(text_data=text_data)

    async def connect(self):
        self.gate = asyncio.Event()
        self.entered = None
        await self.accept()


async def test_disconnect_is_seen_behind_a_running_handler(layer):
    wire = await Wire(Slow.as_asgi()).open()
    wire.say("a", "b")
    await wire.until(lambda: Echo.last.entered == "a")
    consumer = Echo.last
    assert not consumer.is_disconnected

    wire.push("disconnect", code=1001)
    await wire.until(lambda: consumer.is_disconnected)
    assert consumer.codes == []
    consumer.gate.set()
    await wire.end()

    # Earlier frames are handled first; what they send reaches nobody.
    assert consumer.entered == "b"
    assert consumer.codes == [1001]
    assert wire.texts() == []


async def test_policy_cancel_ends_the_handler_and_drops_what_waits(layer):
    class Impatient(Slow):
        on_disconnect = "cancel"
        disconnect_grace = 0.0
        was_cancelled = False

        async def receive(self, text_data=None, bytes_data=None):
            try:
                await super().receive(text_data, bytes_data)
            except asyncio.CancelledError:
                Impatient.was_cancelled = True
                raise

    wire = await Wire(Impatient.as_asgi()).open()
    wire.say("a", "b", "c")
    await wire.until(lambda: Echo.last.entered == "a")

    await wire.leave()

    assert Impatient.was_cancelled
    assert Echo.last.entered == "a"
    assert Echo.last.codes == [1001]
    assert Echo.last.dropped.client_frames == 2


# Every path ends the same way.


class Faulty(Echo):
    fails_in = ""

    async def connect(self):
        await self._work("connect")
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        await self._work("receive")

    async def chat_message(self, event):
        await self._work("group handler")

    async def disconnect(self, code):
        await super().disconnect(code)
        await self._work("disconnect")

    async def _work(self, where):
        await self.channel_layer.group_add("other", self.channel_name)
        if where == self.fails_in:
            raise RuntimeError(where)


async def test_exception_closes_with_1011_and_is_logged_with_its_place(layer, caplog):
    class Failing(Faulty):
        fails_in = "receive"

    user = type("User", (), {"pk": 7})()
    wire = await Wire(
        Failing.as_asgi(), path="/chat/1/", url_route={"kwargs": {"pk": 1}}, user=user
    ).open()
    wire.say("x")

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError):
        await wire.end()

    assert wire.sent[-1] == {"type": "websocket.close", "code": 1011}
    assert Echo.last.codes == [1011]
    (record,) = caplog.records
    text = record.getMessage()
    for part in ("Failing", "'/chat/1/'", "'pk': 1", "#7", "websocket.receive"):
        assert part in text


async def test_server_cancel_does_not_wait_longer_than_the_grace_time(layer, caplog):
    class Stubborn(Echo):
        disconnect_grace = 0.0

        async def disconnect(self, code):
            await super().disconnect(code)
            await asyncio.Event().wait()

    wire = await Wire(Stubborn.as_asgi()).open()

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    assert Echo.last.codes == [1012]
    assert "was cut off" in caplog.text


@pytest.mark.parametrize("error", [OSError("gone"), ConnectionResetError()])
async def test_send_that_fails_counts_as_disconnect(error, layer):
    wire = await Wire(Echo.as_asgi()).open()

    def fail(event):
        raise error

    wire.on_send = fail
    wire.say("a")
    await wire.end()

    assert layer.groups == {}
    assert Echo.last.codes == [1006]


async def test_receive_that_raises_disconnects_once_and_is_raised(layer, caplog):
    wire = Wire(Echo.as_asgi())
    wire.push("connect")
    wire._events.put_nowait({"no": "type"})

    with pytest.raises(KeyError):
        await wire.end()

    assert layer.groups == {}
    assert Echo.last.codes == [1006]


async def test_refused_handshake_leaves_no_membership(layer):
    class Refusing(Echo):
        async def connect(self):
            await self.close()

    wire = await Wire(Refusing.as_asgi()).open()
    await wire.leave(1006)

    assert wire.sent == [{"type": "websocket.close"}]
    assert Echo.last.codes == [1006]


async def test_stop_consumer_ends_without_an_error(layer):
    class Stopping(AsyncConsumer):
        async def websocket_connect(self, message):
            await self.channel_layer.group_add("room", self.channel_name)
            raise StopConsumer

    wire = Wire(Stopping.as_asgi())
    wire.push("connect")
    await wire.end()

    assert layer.groups == {}


async def test_message_without_a_handler_is_an_error(layer, caplog):
    wire = Wire(AsyncConsumer.as_asgi())
    wire.push("connect")

    with pytest.raises(ValueError, match=r"No handler for message type websocket\.c"):
        await wire.end()


async def test_sends_are_checked_against_the_state(layer, caplog):
    class Early(AsyncWebsocketConsumer):
        async def connect(self):
            await self.send(text_data="too early")

    wire = Wire(Early.as_asgi())
    wire.push("connect")

    with pytest.raises(SocketStateError, match="CONNECTING"):
        await wire.end()

    assert wire.sent == []


async def test_second_accept_and_sends_after_close_are_left_out(layer):
    class Eager(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            await self.accept()
            await self.close(4000)
            await self.send(text_data="late")
            await self.close(4001)

    wire = await Wire(Eager.as_asgi()).open()
    wire.say("x")
    await wire.until(lambda: len(wire.sent) > 1)
    await wire.leave()

    assert [event["type"] for event in wire.sent] == [
        "websocket.accept",
        "websocket.close",
    ]
    assert wire.sent[-1]["code"] == 4000


# What a message costs.


async def test_message_makes_no_task_no_trip_and_reads_no_setting(layer, monkeypatch):
    """C1: nothing is done for a message but calling its handler."""
    from django.conf import LazySettings

    wire = await Wire(Echo.as_asgi()).open()
    wire.say("warm")
    await wire.until(lambda: wire.texts() == ["warm"])
    loop = asyncio.get_running_loop()
    tasks, reads = [], []

    def make(loop, coroutine, **options):
        tasks.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    read = LazySettings.__getattr__

    def noting(self, name):
        reads.append(name)
        return read(self, name)

    trips = get_pool().stats().trips_total
    monkeypatch.setattr(LazySettings, "__getattr__", noting)
    loop.set_task_factory(make)
    try:
        for number in range(100):
            wire.say(str(number))
            await wire.until(lambda: len(wire.texts()) == number + 2)  # noqa: B023
    finally:
        loop.set_task_factory(None)

    assert (tasks, reads) == ([], [])
    assert get_pool().stats().trips_total == trips
    await wire.leave()


async def test_database_code_of_a_handler_shares_a_worker_given_back_after_it(layer):
    threads = []

    class Querying(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            threads.append(await run_sync(threading.current_thread))
            threads.append(await run_sync(threading.current_thread))
            assert get_pool().stats().leased >= 1
            await self.send(text_data="done")

    wire = await Wire(Querying.as_asgi()).open()
    wire.say("x")
    await wire.until(lambda: wire.texts() == ["done"])
    await wire.until(lambda: get_pool().stats().leased == 0)

    assert threads[0] is threads[1]
    assert threads[0] is not threading.current_thread()
    await wire.leave()


# Sync consumers.


async def test_sync_consumers_run_beside_each_other(layer):
    """C2: eight handlers that wait for each other, and an echo beside them."""
    barrier = threading.Barrier(9)

    class Waiting(WebsocketConsumer):
        def receive(self, text_data=None, bytes_data=None):
            barrier.wait(20)
            self.send(text_data=threading.current_thread().name)

    waiting = [await Wire(Waiting.as_asgi()).open() for _ in range(8)]
    echo = await Wire(Echo.as_asgi()).open()
    for wire in waiting:
        wire.say("go")
    echo.say("hello")
    await echo.until(lambda: echo.texts() == ["hello"])
    await asyncio.to_thread(barrier.wait, 20)
    for wire in waiting:
        await wire.until(wire.texts)

    assert len({wire.texts()[0] for wire in waiting}) == 8
    await echo.until(lambda: get_pool().stats().leased == 0)
    for wire in (*waiting, echo):
        await wire.leave()


async def test_sync_consumer_makes_one_trip_per_message(layer):
    class SyncEcho(WebsocketConsumer):
        def receive(self, text_data=None, bytes_data=None):
            self.send(text_data=text_data)

    wire = await Wire(SyncEcho.as_asgi()).open()
    wire.say("warm")
    await wire.until(wire.texts)
    before = get_pool().stats()

    for number in range(50):
        wire.say(str(number))
    await wire.until(lambda: len(wire.texts()) == 51)

    after = get_pool().stats()
    assert wire.texts() == ["warm", *map(str, range(50))]
    assert after.trips_total - before.trips_total == 50
    assert after.started_total == before.started_total
    await wire.leave()


async def test_sync_consumer_with_its_own_dispatch_runs_it(layer):
    seen = []

    class Own(SyncConsumer):
        async def dispatch(self, message):
            seen.append(message["type"])
            await super().dispatch(message)

        def websocket_connect(self, message):
            self.send({"type": "websocket.accept"})

        def websocket_disconnect(self, message):
            raise StopConsumer

    wire = await Wire(Own.as_asgi()).open()
    await wire.leave()

    assert seen == ["websocket.connect", "websocket.disconnect"]


# Several handlers at once.


async def test_concurrency_runs_so_many_handlers_at_once(layer):
    running, most = set(), []
    gate = asyncio.Event()

    class Parallel(Echo):
        concurrency = 3

        async def receive(self, text_data=None, bytes_data=None):
            running.add(text_data)
            most.append(len(running))
            await gate.wait()
            running.discard(text_data)
            await self.send(text_data=text_data)

    wire = await Wire(Parallel.as_asgi()).open()
    wire.say(*map(str, range(9)))
    await wire.until(lambda: len(running) == 3)
    gate.set()
    await wire.until(lambda: len(wire.texts()) == 9)
    await wire.leave()

    assert max(most) == 3
    assert sorted(wire.texts()) == sorted(map(str, range(9)))
    assert Echo.last.codes == [1001]


async def test_concurrency_by_key_keeps_the_order_of_each_key(layer):
    done = []

    class Keyed(Echo):
        concurrency = 4

        def concurrency_key(self, message):
            return message.get("text", "?")[0]

        async def receive(self, text_data=None, bytes_data=None):
            # Later ones would overtake, were they let.
            for _ in range(10 - int(text_data[1:])):
                await asyncio.sleep(0)
            done.append(text_data)

    wire = await Wire(Keyed.as_asgi()).open()
    sent = [f"{key}{number}" for number in range(5) for key in "abc"]
    wire.say(*sent)
    await wire.until(lambda: len(done) == len(sent))
    await wire.leave()

    for key in "abc":
        assert [each for each in done if each[0] == key] == [
            f"{key}{number}" for number in range(5)
        ]


async def test_exception_in_one_of_several_handlers_ends_all(layer, caplog):
    class Parallel(Echo):
        concurrency = 2

        async def receive(self, text_data=None, bytes_data=None):
            if text_data == "bad":
                raise RuntimeError("bad")
            await asyncio.Event().wait()

    wire = await Wire(Parallel.as_asgi()).open()
    wire.say("waits", "bad")

    with pytest.raises(RuntimeError, match="bad"):
        await wire.end()

    assert Echo.last.codes == [1011]


# Full queues.


async def test_policy_close_ends_the_connection_with_1013(layer):
    class Closing(Slow):
        bounds = Bounds(layer_events=2, layer_overflow="close")

        async def chat_message(self, event):
            """Do nothing."""

    wire = await Wire(Closing.as_asgi()).open()
    wire.say("a")
    await wire.until(lambda: Echo.last.entered == "a")

    for _ in range(3):
        await layer.group_send("room", {"type": "chat.message"})
    await wire.until(lambda: wire.sent[-1]["type"] == "websocket.close")
    Echo.last.gate.set()
    await wire.end()

    assert wire.sent[-1]["code"] == 1013
    assert Echo.last.codes == [1013]


async def test_consumer_is_told_about_a_gap(layer):
    told = []

    class Watching(Echo):
        async def on_gap(self, groups):
            told.append(dict(groups))

    wire = await Wire(Watching.as_asgi()).open()
    inbox = Echo.last.connection.inbox
    inbox.note_gap({"room": 2})
    await wire.until(lambda: told)
    inbox.note_gap({"room": 1, "other": None})
    inbox.note_gap({"room": 2})
    await wire.until(lambda: len(told) == 2)

    assert told == [{"room": 2}, {"room": 3, "other": None}]
    await wire.leave()


# Events that may not reach a handler.


@pytest.mark.parametrize(
    "kind", ["websocket.disconnect", "http.request", "send", "close", "unknown.type"]
)
async def test_strict_events_reach_only_handlers_of_the_class(kind, layer, caplog):
    class Strict(Echo):
        strict_events = True

    wire = await Wire(Strict.as_asgi()).open()

    await layer.group_send("room", {"type": kind, "code": 1000})
    await layer.group_send("room", {"type": "chat.message", "text": "fine"})
    await wire.until(lambda: wire.texts() == ["fine"])

    assert Echo.last.codes == []
    assert repr(kind) in caplog.text
    await wire.leave()


async def test_type_of_this_package_never_comes_from_a_layer(layer, caplog):
    wire = await Wire(Echo.as_asgi()).open()

    await layer.group_send("room", {"type": "bridge.end"})
    wire.say("still here")
    await wire.until(wire.texts)

    assert "bridge.end" in caplog.text
    await wire.leave()


# A layer of somebody else's.


class Foreign:
    """A layer without mailboxes, such as channels_redis'."""

    extensions = ["groups"]

    def __init__(self):
        self.queue = asyncio.Queue()

    async def new_channel(self, prefix="specific."):
        return f"{prefix}foreign!1"

    async def receive(self, channel):
        return await self.queue.get()

    async def group_add(self, group, channel):
        """Do nothing."""

    async def group_discard(self, group, channel):
        """Do nothing."""


async def test_foreign_layer_is_asked_by_one_task(layer):
    from django_asgi_bridge.layers import channel_layers

    foreign = Foreign()
    channel_layers.set("default", foreign)
    wire = await Wire(Echo.as_asgi()).open()

    foreign.queue.put_nowait({"type": "chat.message", "text": "event"})
    foreign.queue.put_nowait(
        {"type": "bridge.broadcast", "group": "g", "text": "frame"}
    )
    await wire.until(lambda: len(wire.texts()) == 2)
    await wire.leave()

    assert sorted(wire.texts()) == ["event", "frame"]
    assert Echo.last.channel_name == "specific.foreign!1"


async def test_foreign_layer_that_fails_ends_the_consumer(layer, caplog):
    from django_asgi_bridge.layers import channel_layers

    class Broken(Foreign):
        async def receive(self, channel):
            raise ConnectionError("no broker")

    channel_layers.set("default", Broken())
    wire = Wire(Echo.as_asgi())
    wire.push("connect")

    with pytest.raises(ConnectionError, match="no broker"):
        await wire.end()


@pytest.mark.parametrize("error", [StopConsumer, ValueError])
async def test_frame_is_not_handled_after_a_handler_of_an_event_ended_it(error, layer):
    """Not even one that the server hands out in answer to the cancellation."""
    handled = []

    class Room(AsyncWebsocketConsumer):
        groups = ["room"]

        async def stop(self, event):
            raise error

        async def receive(self, text_data=None, bytes_data=None):
            handled.append(text_data)

    wire = Wire(Room.as_asgi())
    wait = wire._events.get

    async def swallowing():
        try:
            return await wait()
        except asyncio.CancelledError:
            return {"type": "websocket.receive", "text": "late"}

    wire._events.get = swallowing  # type: ignore[method-assign]
    await wire.open()
    await layer.group_send("room", {"type": "stop"})
    await asyncio.wait({wire.task}, timeout=WATCHDOG)

    assert wire.task.done()
    assert handled == []
    assert wire.task.exception() is None or error is ValueError


async def test_send_without_content_raises_when_it_is_awaited(layer):
    """As a coroutine function: not at the call, which ``gather()`` does not guard."""
    raised = []

    class Talk(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            calls = self.send(), self.dispatch({"type": "nothing"}), self.dispatch({})
            raised.extend(await asyncio.gather(*calls, return_exceptions=True))

    wire = await Wire(Talk.as_asgi()).open()
    wire.say("a")
    await wire.until(lambda: raised)
    await wire.leave()

    assert [type(error) for error in raised] == [ValueError] * 3


@pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")
async def test_first_event_is_handled_on_a_loop_with_eager_tasks(layer):
    """A task that begins at once finds the event that it was made for."""
    handled = []

    class Room(AsyncWebsocketConsumer):
        groups = ["room"]

        async def news(self, event):
            handled.append(event["number"])

    loop = asyncio.get_running_loop()
    wire = await Wire(Room.as_asgi()).open()
    await asyncio.sleep(0)
    loop.set_task_factory(asyncio.eager_task_factory)
    try:
        for number in range(3):
            await layer.group_send("room", {"type": "news", "number": number})
        await wire.until(lambda: len(handled) == 3)
    finally:
        loop.set_task_factory(None)
    await wire.leave()

    assert handled == [0, 1, 2]
