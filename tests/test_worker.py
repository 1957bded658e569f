"""Consumers for channels that no client is behind."""

import asyncio
import os
import signal
import threading

import pytest
from django.core.management import CommandError, call_command

from django_asgi_bridge.consumer import AsyncConsumer, SyncConsumer
from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers
from django_asgi_bridge.management.commands import runworker
from django_asgi_bridge.routing import ChannelNameRouter
from django_asgi_bridge.worker import Worker

WATCHDOG = 20.0


@pytest.fixture
def layer():
    own = InMemoryChannelLayer()
    channel_layers.set("default", own)
    yield own
    channel_layers.backends.pop("default", None)


async def until(condition):
    async with asyncio.timeout(WATCHDOG):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0)


class SyncNoting(SyncConsumer):
    """Notes the numbers that it gets, on a worker thread."""

    def job_done(self, message):
        Noting.seen.append((self.scope["channel"], message["number"]))


class Noting(AsyncConsumer):
    """Notes the numbers that it gets."""

    seen: list = []

    async def job_done(self, message):
        self.seen.append((self.scope["channel"], message["number"]))

    async def job_bad(self, message):
        raise RuntimeError("bad job")

    async def job_sends(self, message):
        await self.send({"type": "websocket.send", "text": "to nobody"})


@pytest.fixture(autouse=True)
def _forget():
    Noting.seen = []


async def working(layer, *channels, consumer=Noting):
    worker = Worker(
        ChannelNameRouter({channel: consumer.as_asgi() for channel in channels}),
        list(channels),
        layer,
    )
    return worker, asyncio.create_task(worker.arun())


@pytest.mark.asyncio
async def test_worker_hands_each_channels_messages_to_its_consumer(layer):
    worker, task = await working(layer, "a", "b")
    for number in range(3):
        await layer.send("a", {"type": "job.done", "number": number})
        await layer.send("b", {"type": "job.done", "number": number})
    await until(lambda: len(Noting.seen) == 6)

    assert [each for each in Noting.seen if each[0] == "a"] == [
        ("a", number) for number in range(3)
    ]
    worker.stop()
    await task
    assert worker.application_instances == {}


@pytest.mark.asyncio
async def test_failing_consumer_is_logged_and_made_anew(layer, caplog):
    """C19: it stops nobody else."""
    worker, task = await working(layer, "a", "b")
    await layer.send("a", {"type": "job.bad"})
    await until(lambda: "bad job" in caplog.text)
    await layer.send("a", {"type": "job.done", "number": 1})
    await layer.send("b", {"type": "job.done", "number": 2})
    await until(lambda: len(Noting.seen) == 2)
    worker.stop()
    await task


@pytest.mark.asyncio
async def test_sending_to_the_client_is_a_clear_error(layer, caplog):
    worker, task = await working(layer, "a")
    await layer.send("a", {"type": "job.sends"})

    await until(lambda: "no client behind a channel" in caplog.text)
    worker.stop()
    await task


@pytest.mark.parametrize("consumer", [Noting, SyncNoting])
@pytest.mark.asyncio
async def test_broadcast_to_a_group_of_workers_is_left_out(layer, caplog, consumer):
    """There is no client; the consumer goes on."""
    worker, task = await working(layer, "a", consumer=consumer)
    await layer.group_add("all", "a")
    await layer.group_broadcast("all", text_data="frame")
    await layer.group_send("all", {"type": "job.done", "number": 1})
    await until(lambda: Noting.seen)
    worker.stop()
    await task

    assert Noting.seen == [("a", 1)]
    assert not caplog.text


@pytest.mark.asyncio
async def test_stop_lets_running_handlers_end(layer):
    entered, gate = asyncio.Event(), asyncio.Event()

    class Slow(AsyncConsumer):
        async def job_done(self, message):
            entered.set()
            await gate.wait()
            Noting.seen.append(message["number"])

    worker, task = await working(layer, "a", consumer=Slow)
    await layer.send("a", {"type": "job.done", "number": 1})
    await entered.wait()

    worker.stop()
    await asyncio.sleep(0)
    assert not task.done()
    gate.set()
    await task

    assert Noting.seen == [1]


@pytest.mark.asyncio
async def test_stop_cancels_handlers_after_the_grace_time(layer, caplog):
    entered = asyncio.Event()

    class Stuck(AsyncConsumer):
        async def job_done(self, message):
            entered.set()
            await asyncio.Event().wait()

    worker, task = await working(layer, "a", consumer=Stuck)
    worker.grace = 0.0
    await layer.send("a", {"type": "job.done", "number": 1})
    await entered.wait()

    worker.stop()
    await task

    assert "1 handlers did not end" in caplog.text


@pytest.mark.asyncio
async def test_messages_a_stopped_worker_has_not_begun_stay_in_the_layer(layer):
    entered, gate = asyncio.Event(), asyncio.Event()

    class Slow(AsyncConsumer):
        async def job_done(self, message):
            entered.set()
            await gate.wait()

    worker, task = await working(layer, "a", consumer=Slow)
    for number in range(100):
        await layer.send("a", {"type": "job.done", "number": number})
    await entered.wait()
    before = layer.stats().delivered
    worker.stop()
    gate.set()
    await task

    # Handed out are what ran and what waited for it, not the rest.
    assert before < 100
    assert len(layer.channels["a"]) == 100 - layer.stats().delivered


@pytest.mark.asyncio
async def test_sync_consumers_run_on_worker_threads(layer):
    threads = []

    class Sync(SyncConsumer):
        def job_done(self, message):
            threads.append(threading.current_thread())

    worker, task = await working(layer, "a", consumer=Sync)
    await layer.send("a", {"type": "job.done"})
    await until(lambda: threads)
    worker.stop()
    await task

    assert threads[0] is not threading.current_thread()


@pytest.mark.asyncio
async def test_message_without_a_type_is_an_error(layer):
    """It ends the worker, though other channels can be received from (C19)."""
    _, task = await working(layer, "a", "b")
    await layer.send("a", {"number": 1})

    with pytest.raises(ValueError, match=r"^Worker received message with no type\.$"):
        await task


@pytest.mark.asyncio
async def test_layer_that_fails_ends_the_worker_with_its_error(layer, monkeypatch):
    async def fail(channel):
        raise ConnectionError("no broker")

    monkeypatch.setattr(layer, "receive", fail)
    _, task = await working(layer, "a", "b")

    with pytest.raises(ConnectionError, match="no broker"):
        await task


@pytest.mark.asyncio
async def test_consumer_of_a_channel_may_handle_several_messages_at_once(layer):
    """C19: one after the other is all that Channels can do."""
    running, done, gate = set(), [], asyncio.Event()

    class Parallel(AsyncConsumer):
        concurrency = 3

        async def job_done(self, message):
            running.add(message["number"])
            await gate.wait()
            running.discard(message["number"])
            done.append(message["number"])

    worker, task = await working(layer, "a", consumer=Parallel)
    # The first message runs alone.
    gate.set()
    await layer.send("a", {"type": "job.done", "number": 0})
    await until(lambda: done)
    gate.clear()
    for number in range(1, 6):
        await layer.send("a", {"type": "job.done", "number": number})
    await until(lambda: len(running) == 3)
    assert layer.stats().waiting >= 1
    gate.set()
    await until(lambda: len(done) == 6)
    worker.stop()
    await task


@pytest.mark.asyncio
async def test_application_is_made_once_for_each_channel(layer):
    scopes = []

    class Counted(Noting):
        async def __call__(self, scope, receive, send):
            scopes.append(scope)
            await super().__call__(scope, receive, send)

    worker, task = await working(layer, "a", "b", consumer=Counted)
    for number in range(3):
        await layer.send("a", {"type": "job.done", "number": number})
        await layer.send("b", {"type": "job.done", "number": number})
    await until(lambda: len(Noting.seen) == 6)
    worker.stop()
    await task

    assert sorted(scopes, key=lambda scope: scope["channel"]) == [
        {"type": "channel", "channel": "a"},
        {"type": "channel", "channel": "b"},
    ]


@pytest.mark.asyncio
async def test_layer_is_needed():
    with pytest.raises(ValueError, match="Channel layer is not valid"):
        Worker(None, [], None)


@pytest.mark.asyncio
async def test_least_recently_used_consumer_makes_room(layer):
    worker = Worker(Noting.as_asgi(), ["a"], layer, max_applications=1)
    worker.get_or_create_application_instance("a", {"type": "channel", "channel": "a"})
    first = worker.application_instances["a"]["future"]
    worker.get_or_create_application_instance("b", {"type": "channel", "channel": "b"})

    assert list(worker.application_instances) == ["b"]
    worker.delete_application_instance("b")
    await until(first.done)


# The command.


@pytest.mark.asyncio
async def test_command_needs_a_layer(settings):
    settings.CHANNEL_LAYERS = {}

    with pytest.raises(CommandError, match="do not have any CHANNEL_LAYERS"):
        call_command("runworker", "a")


def test_command_takes_channels_and_a_layer(layer, settings, monkeypatch):
    settings.ASGI_APPLICATION = "tests.test_worker.APPLICATION"
    made = []

    class Own:
        def __init__(self, **arguments):
            made.append(arguments)

        def run(self):
            made.append("run")

    monkeypatch.setattr(runworker.Command, "worker_class", Own)
    other = InMemoryChannelLayer()
    channel_layers.set("other", other)
    try:
        call_command("runworker", "a", "b", layer="other")
    finally:
        channel_layers.backends.pop("other")

    with pytest.raises(CommandError, match="do not have any CHANNEL_LAYERS"):
        call_command("runworker", "a", layer="nobody")
    assert made == [
        {"application": APPLICATION, "channels": ["a", "b"], "channel_layer": other},
        "run",
    ]


def test_command_works_until_it_is_told_to_stop(layer, settings):
    settings.ASGI_APPLICATION = "tests.test_worker.APPLICATION"
    channel_layers.set("default", layer)
    asyncio.run(layer.send("jobs", {"type": "job.done", "number": 5}))

    call_command("runworker", "jobs")

    assert Noting.seen == [("jobs", 5)]


class Last(Noting):
    """Stops the worker as a supervisor does."""

    async def job_done(self, message):
        await super().job_done(message)
        os.kill(os.getpid(), signal.SIGTERM)


APPLICATION = ChannelNameRouter({"jobs": Last.as_asgi()})


@pytest.mark.asyncio
async def test_message_for_a_failing_consumer_is_not_lost(layer, caplog):
    """What it has not begun is handled by the next one."""
    worker, task = await working(layer, "a")
    await layer.send("a", {"type": "job.bad"})
    for number in range(5):
        await layer.send("a", {"type": "job.done", "number": number})
    await until(lambda: len(Noting.seen) == 5)
    worker.stop()
    await task


def test_command_has_a_class_to_override():
    assert runworker.Command.worker_class is Worker
