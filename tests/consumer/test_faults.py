"""Whatever goes wrong: groups are left, and ``disconnect()`` runs once."""

import asyncio
import logging
import threading

import pytest
from asgiref.sync import async_to_sync

from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.threads import get_pool
from tests.consumer.wire import WATCHDOG, Wire

pytestmark = pytest.mark.asyncio


class Record:
    """What one consumer went through.

    Attributes:
        fails_in: the handler that raises.
        codes: those that ``disconnect()`` was called with.
        done: the handlers that ran to their end.
    """

    def __init__(self, fails_in=""):
        self.fails_in = fails_in
        self.codes = []
        self.done = []
        self.entered = threading.Event()
        self.gate = threading.Event()

    def check(self, where):
        if where == self.fails_in:
            raise RuntimeError(where)
        self.done.append(where)


class Async(AsyncWebsocketConsumer):
    """Joins a group of its own besides, which nobody leaves for it."""

    groups = ["room"]

    def __init__(self, record):
        super().__init__()
        self.record = record

    async def connect(self):
        await self.channel_layer.group_add("other", self.channel_name)
        self.record.check("connect")
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        if text_data == "wait":
            self.record.entered.set()
            await asyncio.Event().wait()
        self.record.check("receive")
        await self.send(text_data=text_data)

    async def chat_message(self, event):
        self.record.check("group handler")

    async def disconnect(self, code):
        self.record.codes.append(code)
        self.record.check("disconnect")


class Sync(WebsocketConsumer):
    """The same, on worker threads."""

    groups = ["room"]

    def __init__(self, record):
        super().__init__()
        self.record = record

    def connect(self):
        async_to_sync(self.channel_layer.group_add)("other", self.channel_name)
        self.record.check("connect")
        self.accept()

    def receive(self, text_data=None, bytes_data=None):
        if text_data == "wait":
            self.record.entered.set()
            self.record.gate.wait(WATCHDOG)
        self.record.check("receive")
        self.send(text_data=text_data)

    def chat_message(self, event):
        self.record.check("group handler")

    def disconnect(self, code):
        self.record.codes.append(code)
        self.record.check("disconnect")


BOTH = pytest.mark.parametrize("consumer", [Async, Sync])


async def check_nothing_is_left(wire, layer, record, *codes):
    assert record.codes == list(codes)
    assert layer.groups == {}
    assert layer._mailboxes == {}
    async with asyncio.timeout(WATCHDOG):
        while get_pool().stats().leased:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)


@BOTH
@pytest.mark.parametrize(
    ("where", "code"),
    [("connect", 1011), ("receive", 1011), ("group handler", 1011)],
)
async def test_exception_of_a_handler_ends_in_one_disconnect(
    where, code, consumer, layer, caplog
):
    record = Record(fails_in=where)
    wire = Wire(consumer.as_asgi(record=record))
    wire.push("connect")
    if where == "receive":
        wire.say("x")
    if where == "group handler":
        await wire.until(lambda: wire.sent)
        await layer.group_send("room", {"type": "chat.message"})

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match=where):
        await wire.end()

    await check_nothing_is_left(wire, layer, record, code)
    assert [each.name for each in caplog.records] == ["django.request"]


@BOTH
async def test_exception_of_disconnect_itself_calls_it_no_second_time(
    consumer, layer, caplog
):
    record = Record(fails_in="disconnect")
    wire = await Wire(consumer.as_asgi(record=record)).open()

    with caplog.at_level(logging.ERROR), pytest.raises(RuntimeError, match="disconn"):
        await wire.leave(1001)

    await check_nothing_is_left(wire, layer, record, 1001)
    assert [each.name for each in caplog.records] == ["django.request"]


@BOTH
async def test_server_that_cancels_a_handler_ends_in_one_disconnect(consumer, layer):
    """A worker thread cannot be stopped: its handler ends first."""
    record = Record()
    wire = await Wire(consumer.as_asgi(record=record)).open()
    wire.say("wait")
    await wire.until(record.entered.is_set)

    wire.task.cancel()
    await asyncio.sleep(0)
    record.gate.set()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    await check_nothing_is_left(wire, layer, record, 1012)
    ran = ["receive"] if consumer is Sync else []
    assert record.done == ["connect", *ran, "disconnect"]


@BOTH
async def test_server_that_cancels_an_idle_consumer_ends_in_one_disconnect(
    consumer, layer
):
    record = Record()
    wire = await Wire(consumer.as_asgi(record=record)).open()

    wire.task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await wire.end()

    await check_nothing_is_left(wire, layer, record, 1012)


@BOTH
@pytest.mark.parametrize("kind", ["websocket.accept", "websocket.send"])
async def test_send_that_finds_no_client_ends_in_one_disconnect(kind, consumer, layer):
    record = Record()
    wire = Wire(consumer.as_asgi(record=record))

    def fail(event):
        if event["type"] == kind:
            raise OSError("gone")

    wire.on_send = fail
    wire.push("connect")
    wire.say("x")
    await wire.end()

    await check_nothing_is_left(wire, layer, record, 1006)


@BOTH
async def test_send_that_the_server_refuses_ends_in_one_disconnect(
    consumer, layer, caplog
):
    """The error is the handler's; a sync one may have gone on, so it is logged."""
    record = Record()
    wire = await Wire(consumer.as_asgi(record=record)).open()

    def fail(event):
        raise ValueError("the server's own")

    wire.on_send = fail
    wire.say("x")
    if consumer is Async:
        with pytest.raises(ValueError, match="the server's own"):
            await wire.end()
    else:
        await wire.end()

    await check_nothing_is_left(wire, layer, record, 1011)
    assert "the server's own" in caplog.text


@BOTH
async def test_groups_are_left_before_disconnect_is_called(consumer, layer):
    """What ``disconnect()`` sends to the groups does not come back to it."""
    seen = []

    def look(self):
        seen.append(sorted(self.channel_layer.groups))

    async def look_async(self, code):
        look(self)

    def look_sync(self, code):
        look(self)

    disconnect = look_async if consumer is Async else look_sync
    own = type("Own", (consumer,), {"disconnect": disconnect})
    wire = await Wire(own.as_asgi(record=Record())).open()

    await wire.leave()

    # What a handler joined by itself is left when the consumer has ended.
    assert seen == [["other"]]
    assert layer.groups == {}
