"""A bare ASGI function: what the server alone can do, the floor."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

from testproject.bench.site import answers

__all__ = ("application",)

Send = Callable[[Any], Awaitable[None]]
Receive = Callable[[], Awaitable[Any]]

room: set[Send] = set()
"""The ``send`` of each socket that is in the room."""


async def application(scope: Any, receive: Receive, send: Send) -> None:
    """Serve a request or a WebSocket by its path."""
    if scope["type"] == "http":
        await _HTTP[scope["path"]](send)
    elif scope["type"] == "websocket":
        await _SOCKETS[scope["path"]](receive, send)
    else:
        raise ValueError(scope["type"])


async def _answer(send: Send, body: bytes, content_type: bytes = b"text/plain") -> None:
    headers = [
        (b"content-type", content_type),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _hello(send: Send) -> None:
    await _answer(send, answers.HELLO)


async def _json(send: Send) -> None:
    body = json.dumps(answers.MESSAGE).encode()
    await _answer(send, body, b"application/json")


async def _wait(send: Send) -> None:
    await asyncio.sleep(answers.WAIT)
    await _answer(send, answers.HELLO)


async def _big(send: Send) -> None:
    await _answer(send, answers.BIG)


async def _events(send: Send) -> None:
    headers = [(b"content-type", b"text/event-stream")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    while True:
        body = f"data: {answers.event_text()}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
        await asyncio.sleep(answers.EVENT_INTERVAL)


async def _echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": event["text"]})


async def _json_echo(receive: Receive, send: Send) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while (event := await receive())["type"] == "websocket.receive":
        text = json.dumps(json.loads(event["text"]))
        await send({"type": "websocket.send", "text": text})


async def _room(receive: Receive, send: Send) -> None:
    await receive()
    room.add(send)
    try:
        await send({"type": "websocket.accept"})
        while (event := await receive())["type"] == "websocket.receive":
            frame = {"type": "websocket.send", "text": event["text"]}
            for each in list(room):
                await each(frame)
    finally:
        room.discard(send)


_HTTP = {
    "/hello/async": _hello,
    "/json/async": _json,
    "/wait/async": _wait,
    "/big/async": _big,
    "/events/async": _events,
}
_SOCKETS = {"/echo": _echo, "/json-echo": _json_echo, "/room": _room}
