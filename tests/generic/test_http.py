"""The generic HTTP consumer, as the contract with Channels tells it."""

import asyncio

import pytest

from django_asgi_bridge.generic.http import AsyncHttpConsumer
from django_asgi_bridge.testing import HttpCommunicator

pytestmark = pytest.mark.asyncio


async def test_consumer_answers_with_the_whole_body():
    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_response(
                201, b"got " + body, headers={b"Content-Type": b"text/plain"}
            )

    client = HttpCommunicator(Consumer.as_asgi(), "post", "/x?y=1", body=b"data")
    response = await client.get_response()

    assert client.scope["query_string"] == b"y=1"
    assert response == {
        "status": 201,
        "headers": [(b"Content-Type", b"text/plain")],
        "body": b"got data",
    }


async def test_body_is_collected_and_sent_in_pieces():
    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_headers(status=200, headers=[(b"a", b"b")])
            await self.send_body(body[:2], more_body=True)
            await self.send_body(body[2:])

    client = HttpCommunicator(Consumer.as_asgi(), "POST", "/")
    client.sent_request = True
    await client.send_input({"type": "http.request", "body": b"ab", "more_body": True})
    await client.send_input({"type": "http.request", "body": b"cd"})

    assert (await client.get_response())["body"] == b"abcd"


async def test_disconnect_runs_once_even_after_an_error(caplog):
    calls = []

    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            raise RuntimeError("boom")

        async def disconnect(self):
            calls.append("disconnect")

    client = HttpCommunicator(Consumer.as_asgi(), "GET", "/")

    with pytest.raises(RuntimeError, match="boom"):
        await client.get_response()
    assert calls == ["disconnect"]


async def test_nothing_is_sent_after_the_client_has_left():
    """C5."""
    sent = []
    left = asyncio.Event()

    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_headers()
            while not self.is_disconnected:  # noqa: ASYNC110 - it has no event
                await asyncio.sleep(0)
            await self.send_body(b"late")

    events = asyncio.Queue()
    events.put_nowait({"type": "http.request"})

    async def send(event):
        sent.append(event["type"])
        events.put_nowait({"type": "http.disconnect"})
        left.set()

    await Consumer.as_asgi()({"type": "http"}, events.get, send)

    assert left.is_set()
    assert sent == ["http.response.start"]


async def test_client_that_leaves_before_its_body_is_complete_is_told_once():
    calls = []

    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            calls.append("handle")

        async def disconnect(self):
            calls.append("disconnect")

    client = HttpCommunicator(Consumer.as_asgi(), "POST", "/")
    await client.send_input({"type": "http.request", "body": b"a", "more_body": True})
    await client.send_input({"type": "http.disconnect"})
    await client.wait()

    assert calls == ["disconnect"]


async def test_headers_may_be_left_out():
    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            assert self.body == [b""]
            await self.send_headers()
            await self.send_body(b"", more_body=False)

    client = HttpCommunicator(Consumer.as_asgi(), "get", "/")

    assert await client.get_response() == {"status": 200, "headers": [], "body": b""}
    assert client.scope["method"] == "GET"


async def test_handle_has_to_be_written(caplog):
    client = HttpCommunicator(AsyncHttpConsumer.as_asgi(), "GET", "/")

    with pytest.raises(NotImplementedError, match="must provide a handle"):
        await client.get_response()


async def test_body_has_to_be_bytes(caplog):
    class Consumer(AsyncHttpConsumer):
        async def handle(self, body):
            await self.send_response(200, "text")

    client = HttpCommunicator(Consumer.as_asgi(), "GET", "/")

    with pytest.raises(AssertionError, match="Body is not bytes"):
        await client.get_response()
