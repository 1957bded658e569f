"""Workers and live servers: rows C19 and C21 of what Channels does wrong."""

import asyncio
import threading
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.db import connection

from tests.beside.sides import on_both

TURNS = 50


async def turns() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


class Layer:
    """A layer with three channels: one fails, one has a message, one has none."""

    def __init__(self):
        self.waiting = {"jobs": [{"type": "job"}]}

    async def receive(self, channel):
        if channel == "fails":
            raise ConnectionError("no broker")
        if not self.waiting.get(channel):
            await asyncio.Event().wait()
        return self.waiting[channel].pop(0)


@on_both("C19: it goes on without the channel, and nobody is told", AssertionError)
@pytest.mark.asyncio
async def test_layer_that_fails_ends_the_worker(side):
    worker = side("worker").Worker(None, ["fails", "idle"], Layer())
    task = asyncio.create_task(worker.handle())
    await turns()

    assert task.done()
    with pytest.raises(ConnectionError, match="no broker"):
        task.result()


@on_both("C19: what tells of no client is NotImplementedError", AssertionError)
@pytest.mark.asyncio
async def test_sending_to_the_client_is_a_clear_error(side):
    worker = side("worker").Worker(None, [], Layer())

    with pytest.raises(RuntimeError, match="no client behind a channel"):
        await worker.application_send({"channel": "jobs"}, {"type": "websocket.send"})


@on_both("C19: one message after the other, always", AssertionError)
@pytest.mark.asyncio
async def test_consumer_of_a_channel_may_handle_several_messages_at_once(side):
    """The first message runs alone."""
    running, gate = [], asyncio.Event()

    base: Any = side("consumer").AsyncConsumer

    class Parallel(base):
        concurrency = 2

        async def job(self, message):
            running.append(message)
            if len(running) > 1:
                await gate.wait()

    layer = Layer()
    layer.waiting["jobs"] *= 3
    application = side("routing").ChannelNameRouter({"jobs": Parallel.as_asgi()})
    worker = side("worker").Worker(application, ["jobs"], layer)
    task = asyncio.create_task(worker.handle())
    await turns()
    task.cancel()
    seen = len(running)
    gate.set()
    await turns()

    assert seen == 3


@on_both("C19: what runs is cut off", AssertionError)
def test_worker_that_is_told_to_stop_lets_its_handler_end(side):
    """As ``runworker`` does it: SIGINT, or ``stop()`` where there is one."""
    done, running = [], []

    base: Any = side("consumer").AsyncConsumer

    class Slow(base):
        async def job(self, message):
            stop()
            await turns()
            done.append(message)

    worker = side("worker").Worker(Slow.as_asgi(), ["jobs"], Layer())

    def stop():
        if hasattr(worker, "stop"):
            worker.stop()
        else:
            running[0].cancel()

    async def main():
        running.append(asyncio.create_task(worker.arun()))
        await asyncio.wait(running)

    asyncio.run(main())

    assert len(done) == 1


@on_both("C21: it wants a database in a file", ImproperlyConfigured)
@pytest.mark.django_db(transaction=True)
def test_live_server_serves_with_a_database_in_memory(side):
    if not (connection.vendor == "sqlite" and connection.is_in_memory_db()):
        pytest.skip("the tests' database is not in memory")
    for server in ("uvicorn", "daphne"):
        pytest.importorskip(server, reason=f"{server} is not installed")
    threads = threading.active_count()

    base: Any = side("testing").ChannelsLiveServerTestCase

    class Case(base):
        static_wrapper = None
        serve_static = False

    try:
        Case.setUpClass()
        assert Case("__init__").live_server_url.startswith("http://localhost:")
    finally:
        Case.doClassCleanups()
    assert threading.active_count() == threads
