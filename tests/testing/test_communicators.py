"""Communicators: a test's side of an application."""

import asyncio
import contextvars

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth import get_user_model
from django.test import TestCase

from django_asgi_bridge.db import database_sync_to_async
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
