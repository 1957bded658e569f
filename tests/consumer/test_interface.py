"""The base consumers, as the contract with Channels tells them."""

import asyncio
import contextvars

import pytest
from asgiref.sync import SyncToAsync

from django_asgi_bridge.auth import AuthMiddleware
from django_asgi_bridge.consumer import AsyncConsumer, SyncConsumer, get_handler_name
from django_asgi_bridge.exceptions import (
    AcceptConnection,
    ChannelFull,
    DenyConnection,
    InvalidChannelLayerError,
    MessageTooLarge,
    RequestAborted,
    RequestTimeout,
    StopConsumer,
)
from django_asgi_bridge.generic.http import AsyncHttpConsumer
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers
from django_asgi_bridge.sessions import SessionMiddlewareStack
from django_asgi_bridge.threads import get_pool, lease_of_context
from django_asgi_bridge.utils import await_many_dispatch, name_that_thing
from tests.consumer.wire import WATCHDOG, Wire

pytestmark = pytest.mark.asyncio

NOTE = contextvars.ContextVar("note", default="nothing")


# Names of handlers.


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("websocket.connect", "websocket_connect"),
        ("a.b.c", "a_b_c"),
        ("plain", "plain"),
    ],
)
async def test_handler_has_the_name_of_its_type(kind, name):
    assert get_handler_name({"type": kind}) == name


@pytest.mark.parametrize("kind", ["_private", ".private", "__init__"])
async def test_type_reaches_no_private_method(kind):
    with pytest.raises(
        ValueError, match=r"^Malformed type in message \(leading underscore\)$"
    ):
        get_handler_name({"type": kind})


async def test_message_has_to_have_a_type():
    with pytest.raises(ValueError, match=r"^Incoming message has no 'type' attribute$"):
        get_handler_name({})


# Attributes.


async def test_consumer_has_the_attributes_of_channels(layer):
    seen = {}

    class Consumer(AsyncConsumer):
        async def websocket_connect(self, message):
            seen.update(vars(self), channel_receive=self.channel_receive)
            await self.base_send({"type": "websocket.accept"})
            raise StopConsumer

    wire = Wire(Consumer.as_asgi(), path="/a")
    wire.push("connect")
    await wire.end()

    assert seen["scope"] is wire.scope
    assert seen["channel_layer"] is layer
    assert seen["channel_name"].startswith("specific.")
    assert callable(seen["channel_receive"])
    assert wire.sent == [{"type": "websocket.accept"}]
    assert (AsyncConsumer._sync, SyncConsumer._sync) == (False, True)
    assert AsyncConsumer.channel_layer_alias == "default"


async def test_consumer_uses_the_layer_of_its_alias(layer):
    other = InMemoryChannelLayer()
    channel_layers.set("other", other)

    class Consumer(AsyncWebsocketConsumer):
        channel_layer_alias = "other"
        groups = ["room"]

    try:
        wire = await Wire(Consumer.as_asgi()).open()
        assert list(other.groups) == ["room"]
        assert layer.groups == {}
        await wire.leave()
    finally:
        channel_layers.backends.pop("other")


async def test_channel_of_another_layer_has_its_name_before_connect(layer):
    """Trap 18: ``new_channel()`` is awaited, and the name is a plain attribute."""
    names = []

    class Foreign:
        extensions = ["groups"]

        async def new_channel(self, prefix="specific."):
            await asyncio.sleep(0)
            return "specific.foreign!1"

        async def receive(self, channel):
            await asyncio.Event().wait()

    class Consumer(AsyncConsumer):
        async def websocket_connect(self, message):
            names.append(vars(self)["channel_name"])
            raise StopConsumer

    channel_layers.set("default", Foreign())
    wire = Wire(Consumer.as_asgi())
    wire.push("connect")
    await wire.end()

    assert names == ["specific.foreign!1"]


async def test_app_passes_its_arguments_to_each_instance(layer):
    made = []

    class Consumer(AsyncConsumer):
        def __init__(self, answer):
            made.append((self, answer))

        async def websocket_connect(self, message):
            raise StopConsumer

    app = Consumer.as_asgi(answer=42)
    for _ in range(2):
        wire = Wire(app)
        wire.push("connect")
        await wire.end()

    assert [answer for _, answer in made] == [42, 42]
    assert made[0][0] is not made[1][0]


async def test_exceptions_have_the_bases_of_channels():
    assert issubclass(RequestTimeout, RequestAborted)
    assert issubclass(InvalidChannelLayerError, ValueError)
    for kind in (AcceptConnection, DenyConnection, ChannelFull, MessageTooLarge):
        assert issubclass(kind, Exception)


# What servers give.


def as_futures(application):
    """Return the application with plain functions that return futures."""

    async def app(scope, receive, send):
        def receiving():
            return asyncio.ensure_future(receive())

        def sending(event):
            return asyncio.ensure_future(send(event))

        await application(scope, receiving, sending)

    return app


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_servers_functions_may_return_futures(base, layer):
    wire = await Wire(as_futures(base.as_asgi())).open()
    await wire.leave()

    assert wire.sent == [{"type": "websocket.accept", "subprotocol": None}]


@pytest.mark.parametrize("is_sync", [True, False])
async def test_servers_functions_may_return_futures_without_a_websocket(is_sync, layer):
    class Async(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_response(200, b"done")

    class Sync(SyncConsumer):
        def http_request(self, message):
            self.send({"type": "http.response.start", "status": 200, "headers": []})
            self.send({"type": "http.response.body", "body": b"done"})
            raise StopConsumer

    consumer = Sync if is_sync else Async
    wire = Wire(as_futures(consumer.as_asgi()), type="http")
    wire._events.put_nowait({"type": "http.request", "body": b""})
    await wire.end()

    assert [event["type"] for event in wire.sent] == [
        "http.response.start",
        "http.response.body",
    ]


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_disconnect_brings_code_and_reason(base, layer):
    """C9."""
    seen = []

    def note(self, message):
        seen.append((message["code"], message["reason"]))
        raise StopConsumer

    async def note_async(self, message):
        note(self, message)

    handler = note_async if base is AsyncWebsocketConsumer else note
    own = type("Own", (base,), {"websocket_disconnect": handler})
    for event in ({"code": 4001, "reason": "bye"}, {"code": None, "reason": None}, {}):
        wire = await Wire(own.as_asgi()).open()
        wire.push("disconnect", **event)
        await wire.end()

    assert seen == [(4001, "bye"), (1005, ""), (1005, "")]


# Contexts and threads.


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_handlers_share_the_context_that_the_server_calls_in(base, layer):
    """What wraps the application is seen; what a consumer sets stays its own."""
    seen = []

    def receive(self, text_data=None, bytes_data=None):
        seen.append(NOTE.get())
        NOTE.set(text_data)

    async def receive_async(self, text_data=None, bytes_data=None):
        receive(self, text_data)

    handler = receive_async if base is AsyncWebsocketConsumer else receive
    application = type("Own", (base,), {"receive": handler}).as_asgi()

    async def wrapped(scope, receive, send):
        NOTE.set("the wrapper's")
        await application(scope, receive, send)

    for _ in range(2):
        wire = await Wire(wrapped).open()
        wire.say("1", "2")
        await wire.leave()

    assert seen == ["the wrapper's", "1"] * 2
    assert NOTE.get() == "nothing"


@pytest.mark.parametrize("base", [AsyncWebsocketConsumer, WebsocketConsumer])
async def test_caller_keeps_no_lease_of_a_connection(base, layer):
    """Who calls the application in its own context, as a test does, goes on in it."""
    events = [{"type": "websocket.connect"}, {"type": "websocket.disconnect"}]

    async def receive():
        return events.pop(0)

    async def send(event):
        """Take it."""

    scope = {"type": "websocket", "path": "/", "headers": []}
    await SessionMiddlewareStack(base.as_asgi())(scope, receive, send)

    assert events == []
    assert lease_of_context() is None
    assert SyncToAsync.thread_sensitive_context.get(None) is None


async def test_caller_keeps_no_lease_of_a_connection_that_failed():
    with pytest.raises(ValueError, match="SessionMiddleware must be above it"):
        await AuthMiddleware(None)({}, None, None)

    assert lease_of_context() is None


async def test_handlers_share_the_task_that_the_server_calls_in(layer):
    """What a library keeps by task, or enters in one and leaves in it, goes on."""
    tasks = []

    class Noting(AsyncWebsocketConsumer):
        async def connect(self):
            tasks.append(asyncio.current_task())
            await self.accept()

        async def disconnect(self, code):
            tasks.append(asyncio.current_task())

    wire = await Wire(Noting.as_asgi()).open()
    await wire.leave()

    assert tasks == [wire.task] * 2


async def test_connection_that_uses_no_thread_makes_no_trip(layer):
    """C1: Channels makes one to connect, and two to disconnect."""

    class Consumer(AsyncWebsocketConsumer):
        groups = ["room"]

    trips = get_pool().stats().trips_total
    wire = await Wire(Consumer.as_asgi()).open()
    await wire.leave()

    assert get_pool().stats().trips_total == trips


# ``utils``.


class Sources:
    """Two sources of messages and what is dispatched of them."""

    def __init__(self):
        self.queues = [asyncio.Queue(), asyncio.Queue()]
        self.seen = []
        self.running = 0

    async def dispatch(self, message):
        assert self.running == 0
        self.running += 1
        await asyncio.sleep(0)
        self.seen.append(message)
        self.running -= 1
        if message == "stop":
            raise StopConsumer


async def test_await_many_dispatch_hands_on_one_message_at_a_time():
    sources = Sources()
    for number in range(3):
        for queue in sources.queues:
            queue.put_nowait(number)
    tasks = asyncio.all_tasks()

    running = asyncio.create_task(
        await_many_dispatch([q.get for q in sources.queues], sources.dispatch)
    )
    async with asyncio.timeout(WATCHDOG):
        while len(sources.seen) < 6:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
        sources.queues[0].put_nowait("stop")
        with pytest.raises(StopConsumer):
            await running

    assert sorted(sources.seen[:6]) == [0, 0, 1, 1, 2, 2]
    assert asyncio.all_tasks() == tasks


async def test_await_many_dispatch_raises_what_dispatch_did():
    """C20: what a source raises when it is cancelled took its place."""
    sources = Sources()
    sources.queues[0].put_nowait("stop")

    async def rude():
        try:
            await asyncio.Event().wait()
        finally:
            raise ConnectionError("the source's own")

    with pytest.raises(StopConsumer):
        await await_many_dispatch([sources.queues[0].get, rude], sources.dispatch)


async def test_things_have_the_name_of_where_they_are():
    assert name_that_thing(Wire) == "tests.consumer.wire.Wire"
    assert name_that_thing(get_handler_name).endswith(".names.get_handler_name")
    assert name_that_thing(Sources()) == f"{__name__}.Sources"
    assert name_that_thing(Sources().dispatch) == f"{__name__}.Sources.dispatch"
