"""Under ``DEBUG``, what ASGI forbids is refused before the server has it."""

import math

import pytest

from django_asgi_bridge.consumer import AsyncConsumer, SyncConsumer
from django_asgi_bridge.exceptions import BadMessage
from django_asgi_bridge.generic.http import AsyncHttpConsumer
from django_asgi_bridge.testing import HttpCommunicator
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

FORBIDDEN = [
    ({}, r"message is a 'websocket\.send' event with neither of 'text' and 'bytes'"),
    ({"text": "a", "bytes": b"b"}, "with both of 'text' and 'bytes'"),
    ({"text": b"a"}, r"message\['text'\] is b'a' of type bytes"),
    ({"bytes": bytearray(b"a")}, r"message\['bytes'\] is .* of type bytearray"),
    ({"text": "\ud800"}, r"message\['text'\] has the lone surrogate"),
    ({"text": "a", 1: 2}, "message has the key 1 of type int"),
    ({"text": "a", "extra": {None: 1}}, r"message\['extra'\] has the key None"),
    ({"text": "a", "extra": {("b",): 1}}, r"message\['extra'\] has the key \('b',\)"),
    ({"text": "a", "extra": [{1}]}, r"message\['extra'\]\[0\] is \{1\} of type set"),
    ({"text": "a", "extra": math.nan}, r"message\['extra'\] is nan"),
    ({"text": "a", "extra": 2**63}, r"message\['extra'\] is an integer of 64 bits"),
]


def sending(content):
    """Return an async and a sync consumer that send this as a frame."""
    event = {"type": "websocket.send", **content}

    class Async(AsyncConsumer):
        async def websocket_connect(self, message):
            await self.send({"type": "websocket.accept"})

        async def websocket_receive(self, message):
            await self.send(event)

    class Sync(SyncConsumer):
        def websocket_connect(self, message):
            self.send({"type": "websocket.accept"})

        def websocket_receive(self, message):
            self.send(event)

    return [Async, Sync]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(("content", "path"), FORBIDDEN)
async def test_frame_is_refused_under_debug(content, path, index, settings, caplog):
    settings.DEBUG = True
    wire = await Wire(sending(content)[index].as_asgi()).open()
    wire.say("go")

    with pytest.raises(BadMessage, match=path):
        await wire.end()

    assert [event["type"] for event in wire.sent] == [
        "websocket.accept",
        "websocket.close",
    ]


@pytest.mark.parametrize("index", [0, 1])
async def test_frame_is_not_looked_into_without_debug(index):
    content = {"text": "a", "extra": {1}}
    wire = await Wire(sending(content)[index].as_asgi()).open()
    wire.say("go")

    await wire.until(lambda: len(wire.sent) == 2)

    assert wire.sent[1] == {"type": "websocket.send", **content}
    wire.task.cancel()


@pytest.mark.parametrize("debug", [True, False])
async def test_other_events_are_refused_under_debug(debug, settings, caplog):
    settings.DEBUG = debug

    class Consumer(AsyncConsumer):
        async def websocket_connect(self, message):
            await self.send({"type": "websocket.accept", "extra": {1}})

    wire = Wire(Consumer.as_asgi())
    wire.push("connect")

    if debug:
        with pytest.raises(BadMessage, match=r"message\['extra'\] is \{1\}"):
            await wire.end()
        assert wire.sent == []
    else:
        await wire.until(lambda: wire.sent)
        wire.task.cancel()


@pytest.mark.parametrize("debug", [True, False])
async def test_http_events_are_refused_under_debug(debug, settings, caplog):
    settings.DEBUG = debug

    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_response(200, b"", headers=[(b"a", {1})])

    client = HttpCommunicator(Consumer.as_asgi(), "GET", "/")

    if debug:
        with pytest.raises(BadMessage, match=r"message\['headers'\]\[0\]\[1\] is \{1"):
            await client.get_response()
    else:
        assert (await client.get_response())["headers"] == [(b"a", {1})]
