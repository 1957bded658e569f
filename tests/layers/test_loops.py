"""The in-memory layer between threads and event loops of one process."""

import asyncio
import contextlib
import gc
import threading
from collections import Counter

import pytest
from asgiref.sync import async_to_sync, sync_to_async

from django_asgi_bridge.layers import InMemoryChannelLayer

EVENT = {"type": "test.event"}
HANG = 30  # seconds: a guard against a test that would never end


@pytest.fixture
def layer():
    return InMemoryChannelLayer(capacity=100_000)


@contextlib.contextmanager
def running_loop():
    """Run an event loop on a thread of its own."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(HANG)
        loop.close()


async def waits(layer, channel, count=1):
    """Return when that many receivers wait on a channel, on whatever loop."""
    while len(getattr(layer.channels.get(channel), "waiters", ())) < count:  # noqa: ASYNC110 - nothing tells
        await asyncio.sleep(0)


@pytest.mark.parametrize("method", ["send", "group_send"])
@pytest.mark.asyncio
async def test_message_from_a_plain_thread_arrives_at_once(layer, method):
    """M6: nothing else happens on the receiver's loop that could wake it."""
    await layer.group_add("name", "name")
    task = asyncio.create_task(layer.receive("name"))
    await waits(layer, "name")
    sender = getattr(layer, method)("name", EVENT)

    thread = threading.Thread(target=asyncio.run, args=(sender,))
    thread.start()
    async with asyncio.timeout(HANG):
        assert await task == EVENT
    thread.join(HANG)


@pytest.mark.asyncio
async def test_message_from_a_worker_through_async_to_sync_arrives_at_once(layer):
    """In a sync view, or a task queue, the sender's loop is a passing one."""
    await layer.group_add("room", "jobs")
    task = asyncio.create_task(layer.receive("jobs"))
    await waits(layer, "jobs")

    def work():
        async_to_sync(layer.group_send)("room", EVENT)

    async with asyncio.timeout(HANG):
        await sync_to_async(work, thread_sensitive=False)()
        assert await task == EVENT


def test_layer_works_when_each_call_has_a_loop_of_its_own(layer):
    """Nothing is bound to the loop that came first."""
    asyncio.run(layer.group_add("room", "jobs"))
    async_to_sync(layer.group_send)("room", {"type": "test.1"})
    async_to_sync(layer.send)("jobs", {"type": "test.2"})

    assert async_to_sync(layer.receive)("jobs") == {"type": "test.1"}
    assert asyncio.run(layer.receive("jobs")) == {"type": "test.2"}


@pytest.mark.asyncio
async def test_receivers_on_several_loops_get_one_message_each(layer):
    with running_loop() as one, running_loop() as two:
        futures = [
            asyncio.run_coroutine_threadsafe(layer.receive("jobs"), loop)
            for loop in (one, two, one)
        ]
        here = asyncio.create_task(layer.receive("jobs"))
        await waits(layer, "jobs", 4)

        for number in range(4):
            await layer.send("jobs", {"type": "test", "number": number})

        async with asyncio.timeout(HANG):
            got = [await asyncio.wrap_future(each) for each in futures]
            got.append(await here)
    assert sorted(message["number"] for message in got) == [0, 1, 2, 3]


@pytest.mark.asyncio
async def test_receiver_of_a_closed_loop_takes_no_message(layer):
    """One that was left behind does not stand before those that live."""
    stale = asyncio.new_event_loop()
    task = stale.create_task(layer.receive("jobs"))
    await asyncio.to_thread(stale.run_until_complete, waits(layer, "jobs"))
    stale.close()
    alive = asyncio.create_task(layer.receive("jobs"))
    await waits(layer, "jobs", 2)

    await layer.send("jobs", EVENT)

    async with asyncio.timeout(HANG):
        assert await alive == EVENT
    assert layer.channels == {}
    # Its end is this test's business: the loop that would have told it is closed.
    task._log_destroy_pending = False


@pytest.mark.asyncio
async def test_receiver_of_a_stopped_loop_keeps_no_message_from_the_others(layer):
    """Its wake-up never comes: whoever takes a message wakes the next one."""
    stopped = asyncio.new_event_loop()
    task = stopped.create_task(layer.receive("jobs"))
    await asyncio.to_thread(stopped.run_until_complete, waits(layer, "jobs"))
    alive = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
    await waits(layer, "jobs", 3)

    await layer.send("jobs", EVENT)
    await layer.send("jobs", EVENT)

    async with asyncio.timeout(HANG):
        assert await asyncio.gather(*alive) == [EVENT, EVENT]
    task.cancel()
    await asyncio.to_thread(stopped.run_until_complete, asyncio.wait([task]))
    stopped.close()
    assert layer.channels == {}


@pytest.mark.asyncio
async def test_receiver_that_is_collected_leaves_the_line(layer):
    coroutine = layer.receive("jobs")
    coroutine.send(None)
    assert "jobs" in layer.channels

    del coroutine
    gc.collect()

    assert layer.channels == {}


def test_senders_and_receivers_on_many_threads_lose_nothing(layer):
    """4 threads send 2,000 messages each to 3 channels that 6 threads read."""
    channels, senders, each, readers = ("a", "b", "c"), 4, 2000, 6
    got: list[tuple[str, int, int]] = []
    lock = threading.Lock()

    async def send(sender):
        for number in range(each):
            channel = channels[number % 3]
            await layer.send(channel, {"type": "t", "from": sender, "number": number})

    async def read(channel):
        mine = []
        while (message := await layer.receive(channel))["type"] == "t":
            mine.append((channel, message["from"], message["number"]))
        with lock:
            got.extend(mine)

    reading = [
        threading.Thread(target=asyncio.run, args=(read(channels[number % 3]),))
        for number in range(readers)
    ]
    sending = [
        threading.Thread(target=asyncio.run, args=(send(number),))
        for number in range(senders)
    ]
    for thread in reading + sending:
        thread.start()
    for thread in sending:
        thread.join(HANG)
    for number in range(readers):
        asyncio.run(layer.send(channels[number % 3], {"type": "end"}))
    for thread in reading:
        thread.join(HANG)

    assert not any(thread.is_alive() for thread in reading)
    assert len(got) == len(set(got)) == senders * each
    assert Counter(channel for channel, *_ in got) == {
        channel: senders * len(range(index, each, 3))
        for index, channel in enumerate(channels)
    }
    counted = layer.stats()
    assert counted.sent == counted.delivered == senders * each + readers
    assert layer.channels == {}


def test_one_reader_gets_the_messages_of_a_sender_in_order(layer):
    """Also when sender and reader live on different threads."""
    got = []

    async def read():
        for _ in range(3000):
            got.append((await layer.receive("jobs"))["number"])  # noqa: PERF401

    reader = threading.Thread(target=asyncio.run, args=(read(),))
    reader.start()

    async def send():
        for number in range(3000):
            await layer.send("jobs", {"type": "t", "number": number})

    asyncio.run(send())
    reader.join(HANG)

    assert got == list(range(3000))
