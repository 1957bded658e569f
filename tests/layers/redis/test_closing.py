"""The layer ends with its loop, and leaves nothing behind."""

import asyncio
import contextlib
import gc
import threading
import warnings

import pytest

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.layers.redis.support import WATCHDOG, joined, until


async def busy(layer, channel="jobs"):
    """Use all that a layer has: groups, lists, a receiver that waits, senders."""
    boxes = await joined(layer, 5)
    await layer.group_send("room", {"type": "n", "n": 1})
    await layer.send(channel, {"type": "n", "n": 1})
    await layer.receive(channel)
    waiting = asyncio.create_task(layer.receive(channel))
    home = layer._homes[asyncio.get_running_loop()]
    await until(lambda: home.lists._lines[channel].waiters)
    await until(lambda: all(box.events for box in boxes))
    return waiting


def left():
    """Return the threads and tasks that are left of a layer."""
    return [t.name for t in threading.enumerate() if "bridge" in t.name]


def test_nothing_is_left_when_the_loop_ends_without_close(server, prefix):
    """As under a server that has no lifespan: nobody calls ``close()``."""
    layer = RedisChannelLayer([server.url], prefix)

    async def main():
        await busy(layer)
        assert server.connections()

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        asyncio.run(main())
        gc.collect()

    assert server.connections() == []
    assert layer._homes == {}
    assert left() == []


@pytest.mark.asyncio
async def test_nothing_is_left_when_the_layer_is_closed(server, prefix):
    tasks = asyncio.all_tasks()
    layer = RedisChannelLayer([server.url], prefix)
    waiting = await busy(layer)

    await layer.close()

    with pytest.raises(LayerUnavailable, match="was closed"):
        await asyncio.wait_for(waiting, WATCHDOG)
    assert asyncio.all_tasks() == tasks
    await until(lambda: server.connections() == [])
    assert layer._homes == {}
    assert left() == []


@pytest.mark.asyncio
async def test_closed_layer_can_be_used_again(server, prefix):
    layer = RedisChannelLayer([server.url], prefix)
    (await busy(layer)).cancel()
    await layer.close()

    (box,) = await joined(layer, 1)
    await layer.group_send("room", {"type": "n", "n": 2})
    await until(lambda: box.numbers == [2])

    await layer.close()
    await until(lambda: server.connections() == [])


def test_loops_have_connections_of_their_own_and_end_alone(server, prefix):
    layer = RedisChannelLayer([server.url], prefix)

    async def main(others, channel):
        await busy(layer, channel)
        return len(server.connections()) - others

    async def outer():
        own = await main(0, "outer")
        inner = await asyncio.to_thread(lambda: asyncio.run(main(own, "inner")))
        await until(lambda: len(server.connections()) == own)
        await layer.group_send("room", {"type": "n", "n": 3})
        return inner

    assert asyncio.run(outer()) >= 2
    assert server.connections() == []


def stored(server, prefix):
    with contextlib.closing(server.client()) as client:
        return client.llen(f"{prefix}:list:jobs")


@pytest.mark.parametrize("ends", ["with its loop", "by close()"])
def test_message_that_was_taken_as_the_layer_ends_is_put_back(server, prefix, ends):
    """Redis has it taken out, and the reader is gone before the answer comes."""
    layer = RedisChannelLayer([server.url], prefix)

    async def main():
        # Its connection is there, and Redis knows its script.
        await layer.send("jobs", {"type": "job"})
        await layer.receive("jobs")
        home = layer._home()
        await layer.send("jobs", {"type": "job"})
        server.freeze()
        receiving = asyncio.create_task(layer.receive("jobs"))
        await until(lambda: home.lists.askings)
        # Its command is on its way when the loop has looked at its sockets twice.
        for _ in range(20):
            await asyncio.sleep(0)
        if ends == "by close()":
            receiving.cancel()
            closing = asyncio.create_task(layer.close())
            await asyncio.sleep(0)
            server.thaw()
            await closing
        else:
            threading.Timer(0, server.thaw).start()

    asyncio.run(main())

    assert stored(server, prefix) == 1


@pytest.mark.asyncio
async def test_messages_that_are_being_sent_arrive_when_the_layer_is_closed(
    server, prefix
):
    receiver = RedisChannelLayer([server.url], prefix)
    (box,) = await joined(receiver, 1)
    layer = RedisChannelLayer([server.url], prefix, connections=2)
    session = layer._home().session
    await asyncio.gather(*(layer.group_send("room", {"type": "n"}) for _ in range(2)))

    server.freeze()
    sending = [
        asyncio.create_task(layer.group_send("room", {"type": "n"})) for _ in range(3)
    ]
    await until(lambda: session._turns[0].locked())
    closing = asyncio.create_task(layer.close())
    await until(lambda: session._is_closed)
    for _ in range(50):
        await asyncio.sleep(0)
    server.thaw()
    await closing
    results = await asyncio.gather(*sending, return_exceptions=True)

    # Two had a connection; the third is told that it has not been sent.
    assert results[:2] == [None, None]
    assert isinstance(results[2], LayerUnavailable)
    await until(lambda: len(box.events) == 4)
    await receiver.close()
