"""Communicators: a test's side of an application."""

import asyncio
import contextvars
import threading

import pytest
from asgiref.sync import AsyncToSync, sync_to_async
from django.contrib.auth import get_user_model
from django.db import transaction
from django.test import TestCase

from django_asgi_bridge.db import atomic, database_sync_to_async
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.testing import (
    ApplicationCommunicator,
    HttpCommunicator,
    WebsocketCommunicator,
)

NOTE = contextvars.ContextVar("note", default="empty")


class Echo(AsyncWebsocketConsumer):
    """Says what it hears."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data, bytes_data=bytes_data)


class Stuck(Echo):
    """Never answers."""

    async def receive(self, text_data=None, bytes_data=None):
        await asyncio.Event().wait()


@pytest.mark.asyncio
async def test_path_is_decoded_and_split():
    client = WebsocketCommunicator(Echo.as_asgi(), "/a%20b/?x=1&y=2")

    assert client.scope["path"] == "/a b/"
    assert client.scope["query_string"] == b"x=1&y=2"
    with pytest.raises(TypeError, match="Expected str, got"):
        WebsocketCommunicator(Echo.as_asgi(), b"/")
    with pytest.raises(AssertionError, match="expected bytes"):
        HttpCommunicator(Echo.as_asgi(), "GET", "/", body="text")


@pytest.mark.asyncio
async def test_scope_has_what_the_client_offers():
    client = WebsocketCommunicator(
        Echo.as_asgi(),
        "/a",
        headers=[(b"origin", b"http://a")],
        subprotocols=["v1"],
        spec_version="2.5",
    )

    assert client.scope == {
        "type": "websocket",
        "path": "/a",
        "query_string": b"",
        "headers": [(b"origin", b"http://a")],
        "subprotocols": ["v1"],
        "spec_version": "2.5",
    }
    assert "spec_version" not in WebsocketCommunicator(Echo.as_asgi(), "/").scope


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("event", "text"),
    [
        ({"text": 5}, "Text frame payload is not str, it is <class 'int'>"),
        ({"bytes": "a"}, "Binary frame payload is not bytes, it is <class 'str'>"),
        ({}, "The response needs exactly one of 'text' or 'bytes'"),
        (
            {"text": "a", "bytes": b"a"},
            "The response needs exactly one of 'text' or 'bytes'",
        ),
        ({"bytes": b"1"}, "JSON data is not a text frame, it is <class 'bytes'>"),
    ],
)
async def test_frame_that_is_none_is_an_assertion(event, text):
    async def application(scope, receive, send):
        await send({"type": "websocket.send", **event})

    client = WebsocketCommunicator(application, "/")

    with pytest.raises(AssertionError, match=f"^{text}$"):
        await client.receive_json_from()


@pytest.mark.asyncio
async def test_error_of_an_application_that_has_ended_is_raised_by_each_call():
    async def failing(scope, receive, send):
        raise RuntimeError("boom")

    client = ApplicationCommunicator(failing, {"type": "x"})
    with pytest.raises(RuntimeError, match="boom"):
        await client.wait()

    for call in (client.send_input({}), client.receive_output(), client.wait()):
        with pytest.raises(RuntimeError, match="boom"):
            await call
    with pytest.raises(RuntimeError, match="boom"):
        await client.receive_nothing()
    with pytest.raises(RuntimeError, match="boom"):
        client.stop()
    client.stop(exceptions=False)


@pytest.mark.asyncio
async def test_receive_nothing_tells_whether_something_is_there():
    client = WebsocketCommunicator(Echo.as_asgi(), "/")
    await client.connect()
    assert await client.receive_nothing(timeout=0.02, interval=0.01)

    await client.send_to(text_data="a")

    assert not await client.receive_nothing(timeout=20)
    assert await client.receive_from() == "a"
    await client.disconnect()


@pytest.mark.asyncio
async def test_frames_go_both_ways():
    client = WebsocketCommunicator(Echo.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="a")
    assert await client.receive_from() == "a"
    await client.send_to(bytes_data=b"b")
    assert await client.receive_from() == b"b"
    await client.send_json_to({"c": 1})
    assert await client.receive_json_from() == {"c": 1}
    assert await client.receive_nothing(timeout=0.01)
    await client.disconnect()


@pytest.mark.asyncio
@pytest.mark.parametrize("content", [{}, {"text_data": "a", "bytes_data": b"b"}])
async def test_frame_has_exactly_one_content(content):
    client = WebsocketCommunicator(Echo.as_asgi(), "/")

    with pytest.raises(AssertionError, match="exactly one of text_data or bytes_data"):
        await client.send_to(**content)


@pytest.mark.asyncio
async def test_close_in_place_of_a_frame_is_an_assertion():
    class Closing(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            await self.close()

    client = WebsocketCommunicator(Closing.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="x")

    with pytest.raises(
        AssertionError,
        match=r"Expected type 'websocket\.send', but was 'websocket\.close'",
    ):
        await client.receive_from()
    await client.disconnect()


@pytest.mark.asyncio
async def test_time_out_names_the_handler_that_is_stuck():
    client = WebsocketCommunicator(Stuck.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="x")

    with pytest.raises(TimeoutError, match=r"Stuck sent nothing .*receive .*wait "):
        await client.receive_from(timeout=0.01)
    with pytest.raises(asyncio.CancelledError):
        await client.disconnect()


@pytest.mark.asyncio
async def test_end_that_does_not_come_names_the_handler_too():
    client = WebsocketCommunicator(Stuck.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="x")

    with pytest.raises(TimeoutError, match=r"Stuck did not end .*receive"):
        await client.disconnect(timeout=0.01)


@pytest.mark.asyncio
async def test_exception_comes_before_the_close_it_causes(caplog):
    class Failing(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            raise RuntimeError("boom")

    client = WebsocketCommunicator(Failing.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="x")

    with pytest.raises(RuntimeError, match="boom"):
        await client.receive_output()


@pytest.mark.asyncio
async def test_close_of_the_consumers_own_is_shown_at_once_whatever_its_code():
    """Only a close that an exception caused waits for the exception."""

    class Closing(Echo):
        async def receive(self, text_data=None, bytes_data=None):
            await self.close(1011)

    client = WebsocketCommunicator(Closing.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="x")

    # As long as the client stays, the application has no reason to end.
    shown = asyncio.create_task(client.receive_output(timeout=60))
    done, _ = await asyncio.wait([shown], timeout=5)

    assert done, "the communicator waits for the application's end"
    assert shown.result() == {"type": "websocket.close", "code": 1011}
    await client.disconnect()


@pytest.mark.asyncio
@pytest.mark.parametrize("client", ["websocket", "http"])
async def test_exception_of_the_application_is_not_waited_for(client):
    """A test that expects one takes no second for it, as with Channels."""

    async def failing(scope, receive, send):
        await receive()
        raise RuntimeError("boom")

    calls = {
        "websocket": lambda: WebsocketCommunicator(failing, "/").connect(3600),
        "http": lambda: HttpCommunicator(failing, "GET", "/").get_response(3600),
    }
    with pytest.raises(RuntimeError, match="boom"):
        await asyncio.wait_for(calls[client](), timeout=20)


@pytest.mark.asyncio
async def test_output_of_an_application_that_ended_without_an_error_is_waited_for():
    async def application(scope, receive, send):
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: loop.call_soon(asyncio.ensure_future, late(send)))

    async def late(send):
        await asyncio.sleep(0)
        await send({"type": "late"})

    client = ApplicationCommunicator(application, {"type": "x"})

    assert await client.receive_output(timeout=20) == {"type": "late"}


@pytest.mark.asyncio
async def test_silence_of_an_application_that_failed_is_its_error():
    async def failing(scope, receive, send):
        await receive()
        raise RuntimeError("boom")

    client = WebsocketCommunicator(failing, "/")
    await client.send_input({"type": "websocket.connect"})
    with pytest.raises(RuntimeError, match="boom"):
        await client.receive_nothing()


@pytest.mark.asyncio
async def test_refusal_may_come_without_headers():
    """ASGI: they are optional."""

    async def refusing(scope, receive, send):
        await send({"type": "websocket.http.response.start", "status": 403})
        await send({"type": "websocket.http.response.body", "body": b"no"})

    client = WebsocketCommunicator(refusing, "/")

    assert await client.connect() == (False, 403)
    assert client.denial == {"status": 403, "headers": [], "body": b"no"}


@pytest.mark.asyncio
async def test_application_runs_in_an_empty_context():
    seen = []

    async def application(scope, receive, send):
        seen.append(NOTE.get())

    NOTE.set("the test's")
    client = ApplicationCommunicator(application, {"type": "x"})
    await client.wait()

    assert seen == ["empty"]


@pytest.mark.asyncio
async def test_application_that_is_not_awaited_ends_with_the_communicator():
    client = ApplicationCommunicator(Stuck.as_asgi(), {"type": "websocket"})
    await client.send_input({"type": "websocket.connect"})
    await client.receive_output()

    client.stop(exceptions=False)
    with pytest.raises(asyncio.CancelledError):
        await client.future


# The test's transaction.


class Counting(AsyncWebsocketConsumer):
    """Says how many users there are, each in its own way."""

    async def receive(self, text_data=None, bytes_data=None):
        users = get_user_model().objects
        counts = [
            await users.acount(),
            await database_sync_to_async(users.count)(),
            await sync_to_async(users.count)(),
        ]
        await self.send(text_data=str(counts))


class SyncCounting(WebsocketConsumer):
    """The same, from a worker."""

    def receive(self, text_data=None, bytes_data=None):
        get_user_model().objects.create_user("made by the consumer")
        self.send(text_data=str(get_user_model().objects.count()))


async def said(consumer):
    client = WebsocketCommunicator(consumer.as_asgi(), "/")
    await client.connect()
    await client.send_to(text_data="count")
    text = await client.receive_from()
    await client.disconnect()
    return text


class TransactionTests(TestCase):
    """Django's own test case: consumers are in its transaction."""

    def setUp(self):
        get_user_model().objects.create_user("bob")

    async def test_async_consumer_sees_the_tests_data(self):
        assert await said(Counting) == "[1, 1, 1]"

    async def test_sync_consumer_sees_the_tests_data_and_the_test_its_own(self):
        assert await said(SyncCounting) == "2"
        assert await get_user_model().objects.acount() == 2


@pytest.mark.asyncio
@pytest.mark.django_db
@pytest.mark.parametrize(
    ("consumer", "expected"), [(Counting, "[1, 1, 1]"), (SyncCounting, "2")]
)
async def test_consumer_is_in_the_tests_transaction(consumer, expected, asgi_worker):
    """Under pytest-asyncio, where the test's thread runs the loop."""
    await get_user_model().objects.acreate_user("bob")

    assert await said(consumer) == expected


class Committing(WebsocketConsumer):
    """Says what happens around a transaction of its own."""

    def receive(self, text_data=None, bytes_data=None):
        transaction.on_commit(lambda: self.send(text_data="outside"))
        with transaction.atomic():
            get_user_model().objects.create_user(text_data)
            transaction.on_commit(lambda: self.send(text_data="inside"))
            self.send(text_data="before the end")
        with transaction.atomic():
            transaction.on_commit(lambda: self.send(text_data="rolled back"))
            transaction.set_rollback(True)


def run_in_loop_that_is_only_closed(coroutine):
    """Run it without the steps at the end of ``asyncio.run()``."""
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coroutine)
    finally:
        loop.close()


def lenders():
    """Return the threads that have a test's connections."""
    return [
        each
        for each in threading.enumerate()
        if each.name == "django-asgi-bridge-test" and each.is_alive()
    ]


async def both_sides():
    """Let a consumer add a user, and the test one before and one after."""
    client = WebsocketCommunicator(SyncCounting.as_asgi(), "/")
    await client.connect()
    await database_sync_to_async(get_user_model().objects.create_user)("eve")
    await client.send_to(text_data="count")
    counts = [int(await client.receive_from())]
    await client.disconnect()
    counts.append(await get_user_model().objects.acount())
    await get_user_model().objects.acreate_user("max")
    assert asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
    return counts


@pytest.mark.django_db
def test_test_and_consumer_share_the_transaction_without_a_fixture():
    """From the first connect on, until the loop ends."""
    get_user_model().objects.create_user("bob")

    assert asyncio.run(both_sides()) == [3, 3]

    assert get_user_model().objects.count() == 4
    assert not lenders()
    assert not AsyncToSync.loop_thread_executors


@pytest.mark.django_db
def test_connections_come_back_from_a_loop_that_was_only_closed():
    run_in_loop_that_is_only_closed(said(SyncCounting))
    get_user_model().objects.all().delete()

    assert asyncio.run(both_sides()) == [2, 2]

    assert not lenders()
    assert not AsyncToSync.loop_thread_executors


@pytest.mark.django_db
def test_on_commit_callbacks_run_though_the_test_is_in_a_transaction():
    """As if the consumer had the connection of its own that it is written for."""
    ran = []
    transaction.on_commit(lambda: ran.append("the test's"))

    async def frames():
        client = WebsocketCommunicator(Committing.as_asgi(), "/")
        await client.connect()
        await client.send_to(text_data="bob")
        received = [await client.receive_from() for _ in range(3)]
        await client.disconnect()
        assert await client.receive_nothing(timeout=0.01)
        return received

    assert asyncio.run(frames()) == ["before the end", "outside", "inside"]
    assert ran == []


@pytest.mark.django_db
def test_on_commit_callbacks_wait_for_the_end_of_a_block_of_several_calls():
    ran = []

    async def committed():
        client = WebsocketCommunicator(Echo.as_asgi(), "/")
        await client.connect()
        async with atomic():
            await sync_to_async(transaction.on_commit)(lambda: ran.append(1))
            await sync_to_async(get_user_model().objects.count)()
            assert ran == []
        await client.disconnect()

    asyncio.run(committed())

    assert ran == [1]
