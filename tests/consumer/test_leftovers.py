"""Connections that came and went leave nothing behind."""

import asyncio
import gc
import threading
import weakref

import psutil
import pytest

from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.threads import get_pool
from tests.consumer.wire import Wire

pytestmark = [pytest.mark.asyncio, pytest.mark.slow]

CYCLES = 10_000


class Async(AsyncWebsocketConsumer):
    """Echoes by way of its group."""

    groups = ["room"]
    alive: "weakref.WeakSet[object]" = weakref.WeakSet()

    def __init__(self):
        super().__init__()
        self.alive.add(self)

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "echo", "text": text_data})

    async def echo(self, event):
        await self.send(text_data=event["text"])


class Sync(WebsocketConsumer):
    """Echoes on worker threads."""

    groups = ["room"]
    alive: "weakref.WeakSet[object]" = weakref.WeakSet()

    def __init__(self):
        super().__init__()
        self.alive.add(self)

    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data)


def counts(consumer, layer):
    gc.collect()
    return {
        "consumers": len(consumer.alive),
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": psutil.Process().num_fds(),
        "leases": get_pool().stats().leased,
        "memberships": sum(map(len, layer.groups.values())),
        "channels": len(layer._mailboxes),
        "layer's channels": len(layer.channels),
    }


@pytest.mark.parametrize("consumer", [Async, Sync])
async def test_ten_thousand_connections_leave_nothing(consumer, layer):
    app = consumer.as_asgi()

    async def cycle(number):
        wire = await Wire(app).open()
        wire.say("x")
        await wire.until(wire.texts)
        # Clients leave in three ways: with a code, without, and with the server.
        if number % 3 == 2:
            wire.task.cancel()
            await asyncio.wait([wire.task])
        else:
            await wire.leave(None if number % 3 else 1000)

    for number in range(10):
        await cycle(number)
    before = counts(consumer, layer)

    for number in range(CYCLES):
        await cycle(number)

    after = counts(consumer, layer)
    for _ in range(100):
        # A worker that has told its outcome may not have let go of its job yet.
        if after == before:
            break
        await asyncio.sleep(0)
        after = counts(consumer, layer)
    assert after == before
    assert before["consumers"] == before["memberships"] == before["channels"] == 0
