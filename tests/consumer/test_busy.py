"""Handshakes for which no worker thread comes free, and messages that wait for one."""

import asyncio
import contextvars
from collections.abc import Iterator

import pytest
from django.test import override_settings

from django_asgi_bridge.db import database_sync_to_async
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.routing.site import WebSocketSite
from tests.consumer.wire import Wire
from tests.http.support import fresh_pool
from tests.threads.support import Call, make_lease, wait

pytestmark = pytest.mark.asyncio

CAN_REFUSE = {"websocket.http.response": {}}
BUSY = [
    {
        "type": "websocket.http.response.start",
        "status": 503,
        "headers": [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"retry-after", b"1"),
        ],
    },
    {"type": "websocket.http.response.body", "body": b"Service Unavailable"},
]


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Call]:
    """Have a pool of one worker, which is busy until the call's gate opens."""
    options = {"THREADS": 1, "MAX_THREADS": 1, "QUEUE_TIMEOUT": 0.01}
    call = Call(is_gated=True)
    with override_settings(ASGI_BRIDGE=options), fresh_pool(monkeypatch) as pool:
        lease = make_lease(pool)
        pool.submit(lease, call)
        wait(call.started)
        yield call
        call.gate.set()
        wait(call.delivered)
        pool.close(lease)


class Sync(WebsocketConsumer):
    calls: list[str] = []

    def connect(self):
        self.calls.append("connect")
        self.accept()

    def disconnect(self, code):
        self.calls.append(f"disconnect {code}")


class Async(AsyncWebsocketConsumer):
    calls: list[str] = []

    async def connect(self):
        self.calls.append("connect")
        await database_sync_to_async(int)()
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        self.calls.append(str(await database_sync_to_async(len)(text_data)))

    async def disconnect(self, code):
        self.calls.append(f"disconnect {code}")


@pytest.mark.parametrize(
    ("consumer", "calls"),
    [(Sync, []), (Async, ["connect", "disconnect 1006"])],
)
async def test_handshake_gets_503_when_no_worker_comes_free(
    consumer, calls, busy, layer, monkeypatch, caplog
):
    monkeypatch.setattr(consumer, "calls", [])
    wire = Wire(consumer.as_asgi(), extensions=CAN_REFUSE)
    wire.push("connect")
    await wire.end()

    assert wire.sent == BUSY
    assert consumer.calls == calls
    assert [each.levelname for each in caplog.records] == ["WARNING"]
    assert "no worker thread came free within 0.01 s" in caplog.text


async def test_handshake_is_closed_when_the_server_cannot_send_a_response(busy, layer):
    wire = Wire(Sync.as_asgi())
    wire.push("connect")
    await wire.end()

    assert wire.sent == [{"type": "websocket.close"}]


async def test_handshake_gets_503_when_its_session_has_to_wait(busy, settings, layer):
    """Also before the consumer: session and user are looked up on a worker."""
    settings.ROOT_URLCONF = "tests.routing.urls"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.db"
    headers = [(b"host", b"testserver"), (b"origin", b"http://testserver")]
    # As under a server: tests with communicators have a worker of their own.
    wire = contextvars.Context().run(
        Wire,
        WebSocketSite(),
        path="/ws/acme/room/3/",
        headers=[*headers, (b"cookie", b"sessionid=abcdefghijklmnopqrstuvwxyz012345")],
        extensions=CAN_REFUSE,
    )
    wire.push("connect")
    await wire.end()

    assert wire.sent == BUSY


async def test_message_waits_for_a_worker_as_long_as_it_takes(
    layer, monkeypatch, caplog
):
    """After the handshake nothing is refused: the inbox is the bound."""

    class Late(Async):
        calls: list[str] = []

        async def connect(self):
            await self.accept()

    options = {"THREADS": 1, "MAX_THREADS": 1, "QUEUE_TIMEOUT": 0.0}
    with override_settings(ASGI_BRIDGE=options), fresh_pool(monkeypatch) as pool:
        wire = await Wire(Late.as_asgi()).open()
        call, lease = Call(is_gated=True), make_lease(pool)
        pool.submit(lease, call)
        wait(call.started)
        wire.say("four")
        await wire.until(lambda: pool.stats().waiting)
        for _ in range(3):
            # Timers of 0 s have their turn.
            await asyncio.sleep(0)
        call.gate.set()
        pool.close(lease)
        await wire.until(lambda: "4" in Late.calls)
        await wire.leave()

    assert Late.calls == ["4", "disconnect 1001"]
    assert caplog.records == []
