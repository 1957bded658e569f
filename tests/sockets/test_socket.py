"""The sending half of a connection: own sends, broadcast frames, slow readers."""

import asyncio
import threading

import pytest

from django_asgi_bridge.exceptions import BadMessage
from django_asgi_bridge.protocol.response import BadResponse
from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets import Bounds, Socket
from django_asgi_bridge.sockets.turns import Turn

pytestmark = pytest.mark.asyncio

WATCHDOG = 20.0


class Line:
    """A server's ``send`` with a gate, and a socket on top of it."""

    def __init__(self, **bounds):
        self.sent = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.losses = 0
        self.stops = []
        self.socket = Socket(
            self._send,
            Bounds(**bounds),
            owner=self,
        )

    async def _send(self, event):
        await self.gate.wait()
        self.sent.append(event.get("text", event["type"]))

    def note_loss(self):
        self.losses += 1

    def stop(self, code, reason):
        self.stops.append(code)

    def frames(self, *texts):
        return [
            self.socket.put_frame({"type": "websocket.send", "text": text}, "group")
            for text in texts
        ]

    async def say(self, text):
        await self.socket.send({"type": "websocket.send", "text": text})

    async def until(self, condition):
        async with asyncio.timeout(WATCHDOG):
            while not condition():  # noqa: ASYNC110 - what is awaited has no event
                await asyncio.sleep(0)


async def opened(**bounds):
    line = Line(**bounds)
    await line.socket.send({"type": "websocket.accept"})
    line.sent.clear()
    return line


async def test_frame_goes_out_when_nothing_waits():
    line = await opened()

    assert line.frames("a") == [True]
    await line.until(lambda: line.sent == ["a"])


async def test_own_sends_and_frames_keep_the_order_of_their_entry():
    line = await opened()
    line.gate.clear()

    line.frames("1")
    own = asyncio.create_task(line.say("2"))
    await asyncio.sleep(0)
    line.frames("3", "4")
    other = asyncio.create_task(line.say("5"))
    await asyncio.sleep(0)
    line.gate.set()
    await asyncio.gather(own, other)

    assert line.sent == ["1", "2", "3", "4", "5"]


async def test_frames_wait_for_the_accept():
    line = Line()

    assert line.frames("a", "b") == [True, True]
    await asyncio.sleep(0)
    assert line.sent == []
    await line.socket.send({"type": "websocket.accept"})
    await line.until(lambda: len(line.sent) == 3)

    assert line.sent == ["websocket.accept", "a", "b"]


async def test_refusal_drops_and_counts_what_waited():
    line = Line()
    line.frames("a", "b")

    await line.socket.send({"type": "websocket.close"})
    line.socket.client_left()

    assert line.frames("c") == [False]
    assert line.socket.dropped == 3
    assert line.sent == ["websocket.close"]


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("drop_newest", ["first", "0", "1"]),
        ("drop_oldest", ["first", "8", "9"]),
        ("latest_by_key", ["first", "9"]),
    ],
)
async def test_slow_reader_loses_frames_by_policy(policy, kept):
    """sent == delivered + dropped; nobody waits."""
    line = await opened(outgoing=2, outgoing_overflow=policy)
    line.gate.clear()

    line.frames("first")
    await line.until(lambda: line.socket.turn is Turn.SENDING)
    line.frames(*map(str, range(10)))
    line.gate.set()
    await line.until(lambda: line.sent == kept)

    assert line.socket.dropped == 11 - len(kept)
    assert line.losses


async def test_bytes_bound_the_outbox_too():
    line = await opened(outgoing_bytes=10, outgoing_overflow="drop_newest")
    line.gate.clear()
    line.frames("x")
    await line.until(lambda: line.socket.turn is Turn.SENDING)

    assert line.frames("12345", "67890", "1") == [True, True, False]
    line.gate.set()
    await line.until(lambda: len(line.sent) == 3)


async def test_slow_reader_is_closed_with_1013_by_default():
    line = await opened(outgoing=2)
    line.gate.clear()
    line.frames("first")
    await line.until(lambda: line.socket.turn is Turn.SENDING)

    assert line.frames("a", "b", "c") == [True, True, False]
    assert line.socket.state is SocketState.CLOSED
    assert line.stops == [1013]
    line.gate.set()
    await line.socket.close()

    assert line.sent == ["first", "websocket.close"]
    assert line.socket.dropped == 3


async def test_client_that_never_reads_is_given_up():
    line = await opened(outgoing=1, send_timeout=0.001)
    line.gate.clear()
    line.frames("first")
    await line.until(lambda: line.socket.turn is Turn.SENDING)

    line.frames("second")
    await line.until(lambda: line.stops)

    assert line.stops == [1013]
    assert line.socket.dropped == 1
    await line.socket.close()
    assert line.socket._writer is None


async def test_failed_send_is_the_clients_disconnect():
    line = await opened()

    async def fail(event):
        raise OSError

    line.socket._send = fail
    line.frames("a")
    await line.until(lambda: line.stops)
    await line.say("late")

    assert line.stops == [1006]
    assert line.socket.state is SocketState.CLOSED


async def test_frame_that_the_server_cannot_send_ends_the_connection(caplog):
    line = await opened()

    async def fail(event):
        raise ValueError("too odd")

    line.socket._send = fail
    line.frames("a")
    await line.until(lambda: line.stops)

    assert line.stops == [1011]
    assert "too odd" in caplog.text


async def test_frames_come_from_any_thread():
    line = await opened()

    thread = threading.Thread(target=line.frames, args=("a", "b"))
    thread.start()
    await line.until(lambda: line.sent == ["a", "b"])
    thread.join()


async def test_cancelled_own_send_leaves_the_line():
    line = await opened()
    line.gate.clear()
    line.frames("1")
    own = asyncio.create_task(line.say("2"))
    await line.until(lambda: line.socket._line)

    own.cancel()
    await asyncio.wait([own])
    line.gate.set()
    line.frames("3")
    await line.until(lambda: line.sent == ["1", "3"])


@pytest.mark.parametrize(
    ("event", "error"),
    [
        ({"type": "websocket.accept", "subprotocol": "a b"}, BadMessage),
        ({"type": "websocket.accept", "headers": [(b"x", b"a\r\nb: c")]}, BadResponse),
        ({"type": "websocket.close", "code": 999}, BadMessage),
        ({"type": "websocket.close", "code": 1005}, BadMessage),
        ({"type": "websocket.close", "code": 1000, "reason": "ü" * 62}, BadMessage),
    ],
)
async def test_bad_event_is_refused_before_it_is_sent(event, error):
    line = Line()

    with pytest.raises(error):
        await line.socket.send(event)

    assert line.sent == []
    assert line.socket.state is SocketState.CONNECTING
