"""The generic WebSocket consumers, as the contract with Channels tells them."""

import asyncio
import json

import pytest
from django.core.exceptions import PermissionDenied
from django.http import Http404

from django_asgi_bridge.exceptions import (
    AcceptConnection,
    DenyConnection,
    InvalidChannelLayerError,
    Redirect,
)
from django_asgi_bridge.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    JsonWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.layers import channel_layers
from django_asgi_bridge.testing import WebsocketCommunicator
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

CAN_REFUSE = {"websocket.http.response": {}}


def both(method):
    """Return an async and a sync consumer whose ``method`` is this sync function."""

    class Sync(WebsocketConsumer):
        """Runs it on a worker."""

    class Async(AsyncWebsocketConsumer):
        """Runs it on the loop, and awaits what it returns."""

    setattr(Sync, method.__name__, method)

    async def as_coroutine(self, *args, **kwargs):
        awaitable = method(self, *args, **kwargs)
        if awaitable is not None:
            await awaitable

    setattr(Async, method.__name__, as_coroutine)
    return [Async, Sync]


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_consumer_accepts_by_default(base):
    client = WebsocketCommunicator(base.as_asgi(), "/")

    assert await client.connect() == (True, None)
    await client.disconnect()


async def test_accept_passes_subprotocol_and_headers_on():
    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            await self.accept("v1", headers=[(b"x-a", b"b")])

    client = WebsocketCommunicator(Consumer.as_asgi(), "/", subprotocols=["v1"])

    assert await client.connect() == (True, "v1")
    assert client.response_headers == [(b"x-a", b"b")]
    await client.disconnect()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ({}, {"subprotocol": None}),
        ({"headers": []}, {"subprotocol": None}),
        ({"subprotocol": "v1"}, {"subprotocol": "v1"}),
        (
            {"headers": {b"x-a": b"b"}.items()},
            {"subprotocol": None, "headers": [(b"x-a", b"b")]},
        ),
    ],
)
async def test_accept_always_has_a_subprotocol(arguments, content, index):
    def connect(self):
        return self.accept(**arguments)

    client = WebsocketCommunicator(both(connect)[index].as_asgi(), "/")
    await client.send_input({"type": "websocket.connect"})

    event = await client.receive_output()

    assert event == {"type": "websocket.accept", **content}
    await client.disconnect()


def accepts(self):
    raise AcceptConnection


def denies(self):
    raise DenyConnection


@pytest.mark.parametrize(
    ("raising", "answer"), [(accepts, (True, None)), (denies, (False, 1000))]
)
@pytest.mark.parametrize("index", [0, 1])
async def test_connect_may_raise_its_answer(raising, answer, index):
    def connect(self):
        raising(self)

    client = WebsocketCommunicator(both(connect)[index].as_asgi(), "/")

    assert await client.connect() == answer
    await client.disconnect()


@pytest.mark.parametrize(
    ("error", "status", "header"),
    [
        (Http404(), 404, None),
        (PermissionDenied(), 403, None),
        (Redirect("/login/"), 302, (b"location", b"/login/")),
        (Redirect("/new/", status=308), 308, (b"location", b"/new/")),
    ],
)
@pytest.mark.parametrize("index", [0, 1])
async def test_connect_may_refuse_by_an_exception(error, status, header, index):
    def connect(self):
        raise error

    client = WebsocketCommunicator(
        both(connect)[index].as_asgi(), "/", extensions=CAN_REFUSE
    )

    assert await client.connect() == (False, status)
    assert header is None or header in client.denial["headers"]
    await client.disconnect(1006)


@pytest.mark.parametrize(
    ("fallback", "expected"), [("refuse", (False, 4401)), ("accept_then_close", None)]
)
async def test_reject_without_the_extension_falls_back(fallback, expected):
    class Consumer(AsyncWebsocketConsumer):
        reject_fallback = fallback

        async def connect(self):
            await self.reject(401, "sign in first")

    client = WebsocketCommunicator(Consumer.as_asgi(), "/")

    answer = await client.connect()

    if expected is not None:
        assert answer == expected
    else:
        assert answer == (True, None)
        event = await client.receive_output()
        assert (event["code"], event["reason"]) == (4401, "Unauthorized")
    await client.disconnect(1006)


async def test_reject_sends_status_body_and_headers():
    class Consumer(AsyncWebsocketConsumer):
        async def connect(self):
            await self.reject(429, "later", headers={"retry-after": "5"})

    client = WebsocketCommunicator(Consumer.as_asgi(), "/", extensions=CAN_REFUSE)

    assert await client.connect() == (False, 429)
    assert client.denial["body"] == b"later"
    assert (b"retry-after", b"5") in client.denial["headers"]
    await client.disconnect(1006)


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ({"text": "a"}, ("a", None)),
        ({"text": None, "bytes": b"b"}, (None, b"b")),
        ({"text": "a", "bytes": None}, ("a", None)),
        ({"bytes": b"b"}, (None, b"b")),
        ({}, (None, None)),
    ],
)
async def test_frame_reaches_receive(event, expected, index):
    seen = []

    def receive(self, text_data=None, bytes_data=None):
        seen.append((text_data, bytes_data))

    client = WebsocketCommunicator(both(receive)[index].as_asgi(), "/")
    await client.connect()
    await client.send_input({"type": "websocket.receive", **event})
    await client.disconnect()

    assert seen == [expected]


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "frame", "closing"),
    [
        ({"text_data": ""}, {"text": ""}, None),
        ({"bytes_data": b"x"}, {"bytes": b"x"}, None),
        ({"text_data": "x", "bytes_data": b"y"}, {"text": "x"}, None),
        ({"text_data": "x", "close": True}, {"text": "x"}, {}),
        ({"bytes_data": b"", "close": 4000}, {"bytes": b""}, {"code": 4000}),
    ],
)
async def test_send_sends_text_or_bytes_and_may_close(arguments, frame, closing, index):
    def receive(self, text_data=None, bytes_data=None):
        return self.send(**arguments)

    client = WebsocketCommunicator(both(receive)[index].as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="go")

    assert await client.receive_output() == {"type": "websocket.send", **frame}
    if closing is not None:
        event = await client.receive_output()
        assert event == {"type": "websocket.close", **closing}
    await client.disconnect()


@pytest.mark.parametrize("index", [0, 1])
async def test_send_of_nothing_is_an_error(index):
    def receive(self, text_data=None, bytes_data=None):
        return self.send()

    client = WebsocketCommunicator(both(receive)[index].as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="go")

    with pytest.raises(
        ValueError, match="You must pass one of bytes_data or text_data"
    ):
        await client.receive_from()


@pytest.mark.parametrize("index", [0, 1])
@pytest.mark.parametrize(
    ("arguments", "content"),
    [
        ({}, {}),
        ({"code": True}, {}),
        ({"code": 4001}, {"code": 4001}),
        ({"code": 4001, "reason": "bye"}, {"code": 4001, "reason": "bye"}),
    ],
)
async def test_close_names_what_it_is_given(arguments, content, index):
    def receive(self, text_data=None, bytes_data=None):
        return self.close(**arguments)

    client = WebsocketCommunicator(both(receive)[index].as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="go")

    assert await client.receive_output() == {"type": "websocket.close", **content}
    await client.disconnect()


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_groups_need_a_layer_that_has_them(base):
    members = {"groups": ["room"], "channel_layer_alias": "nobody"}
    client = WebsocketCommunicator(type("Own", (base,), members).as_asgi(), "/")

    with pytest.raises(InvalidChannelLayerError, match="doesn't support groups"):
        await client.connect()


class Bare:
    """A layer without groups, such as one for direct messages alone."""

    async def new_channel(self, prefix="specific."):
        return "specific.bare!1"

    async def receive(self, channel):
        await asyncio.Event().wait()


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
@pytest.mark.parametrize("groups", [["room"], None])
async def test_layer_without_groups_is_an_error_for_who_has_some(base, groups):
    members = {"groups": groups, "channel_layer_alias": "bare"}
    channel_layers.set("bare", Bare())
    try:
        client = WebsocketCommunicator(type("Own", (base,), members).as_asgi(), "/")
        if groups is None:
            assert await client.connect() == (True, None)
            await client.disconnect()
        else:
            with pytest.raises(
                InvalidChannelLayerError,
                match=r"^BACKEND is unconfigured or doesn't support groups$",
            ):
                await client.connect()
    finally:
        channel_layers.backends.pop("bare")


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_error_inside_a_layer_is_not_taken_for_a_layer_without_groups(base):
    class Faulty(Bare):
        async def group_add(self, group, channel):
            raise AttributeError("a mistake of the layer's author")

        group_discard = group_add

    members = {"groups": ["room"], "channel_layer_alias": "bare"}
    channel_layers.set("bare", Faulty())
    try:
        client = WebsocketCommunicator(type("Own", (base,), members).as_asgi(), "/")
        with pytest.raises(AttributeError, match="a mistake"):
            await client.connect()
    finally:
        channel_layers.backends.pop("bare")


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_groups_of_a_class_are_not_those_of_its_instances(base):
    assert base.groups is None
    assert base().groups == []
    assert base().groups is not base().groups


@pytest.mark.parametrize("error", [Http404, PermissionDenied, DenyConnection])
@pytest.mark.parametrize("index", [0, 1])
async def test_refusal_of_a_client_that_has_left_is_no_error(error, index, caplog):
    """Nobody is told, and no traceback is written."""

    def connect(self):
        raise error

    wire = Wire(both(connect)[index].as_asgi(), extensions=CAN_REFUSE)
    wire.push("connect")
    wire.push("disconnect", code=1006)
    await wire.end()

    assert all(record.exc_info is None for record in caplog.records)


# JSON.


class Json(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content, **kwargs):
        await self.send_json({"got": content})


class SyncJson(JsonWebsocketConsumer):
    def receive_json(self, content, **kwargs):
        self.send_json({"got": content})


@pytest.mark.parametrize("consumer", [Json, SyncJson])
async def test_json_goes_both_ways(consumer):
    client = WebsocketCommunicator(consumer.as_asgi(), "/")
    await client.connect()
    await client.send_json_to({"a": [1, None, "ü"]})

    assert await client.receive_json_from() == {"got": {"a": [1, None, "ü"]}}
    await client.disconnect()


@pytest.mark.parametrize("consumer", [Json, SyncJson])
@pytest.mark.parametrize(
    "text",
    [
        "{nonsense",
        "NaN",
        '{"a": Infinity}',
        "[" * 100_000,
        "9" * 5000,
        '"\\ud800"',
    ],
    ids=["no json", "nan", "infinity", "deep", "long number", "half a pair"],
)
async def test_bad_json_closes_with_1007_and_no_traceback(consumer, text, caplog):
    client = WebsocketCommunicator(consumer.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data=text)

    event = await client.receive_output()

    assert (event["type"], event["code"]) == ("websocket.close", 1007)
    assert all(record.exc_info is None for record in caplog.records)
    await client.disconnect()


@pytest.mark.parametrize("consumer", [Json, SyncJson])
@pytest.mark.parametrize("event", [{"bytes": b"{}"}, {"text": ""}])
async def test_json_consumer_needs_text(consumer, event):
    client = WebsocketCommunicator(consumer.as_asgi(), "/")
    await client.connect()
    await client.send_input({"type": "websocket.receive", **event})

    with pytest.raises(ValueError, match="No text section for incoming WebSocket"):
        await client.receive_output()


async def test_json_encoding_can_be_overridden():
    class Own(Json):
        @classmethod
        async def decode_json(cls, text_data):
            return {"own": json.loads(text_data)}

        @classmethod
        async def encode_json(cls, content):
            return f"own {json.dumps(content)}"

    client = WebsocketCommunicator(Own.as_asgi(), "/")
    await client.connect()
    await client.send_json_to(1)

    assert await client.receive_from() == 'own {"got": {"own": 1}}'
    await client.disconnect()


async def test_json_may_close_and_takes_what_receive_is_given():
    seen = []

    class Closing(Json):
        async def receive(self, text_data=None, bytes_data=None, **kwargs):
            await super().receive(text_data, bytes_data, extra=1)

        async def receive_json(self, content, **kwargs):
            seen.append(kwargs)
            await self.send_json(content, close=4000)

    class SyncClosing(SyncJson):
        def receive(self, text_data=None, bytes_data=None, **kwargs):
            super().receive(text_data, bytes_data, extra=1)

        def receive_json(self, content, **kwargs):
            seen.append(kwargs)
            self.send_json(content, close=True)

    for consumer, closing in ((Closing, {"code": 4000}), (SyncClosing, {})):
        client = WebsocketCommunicator(consumer.as_asgi(), "/")
        await client.connect()
        await client.send_json_to("x")
        assert await client.receive_json_from() == "x"
        event = await client.receive_output()
        assert event == {"type": "websocket.close", **closing}
        await client.disconnect()

    assert seen == [{"extra": 1}] * 2
