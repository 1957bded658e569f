"""Streams in both directions, each of which the board can see and steer."""

import asyncio
import hashlib
import threading
from collections.abc import AsyncIterator, Iterator

from django.http import (
    FileResponse,
    HttpRequest,
    JsonResponse,
    StreamingHttpResponse,
)
from django.views.decorators.csrf import csrf_exempt

from django_asgi_bridge.http import Event, EventStreamResponse, streams_body
from tests.servers.app import board
from tests.servers.app.content import FILE_NAME, FILE_TAG, site_directory

BLOCK = b"x" * 65536
TICK = 0.01


def stepwise(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send one word, and each further one only when the board says so."""

    def words() -> Iterator[bytes]:
        try:
            yield b"first"
            board.wait(f"{key}:second")
            yield b"second"
            board.wait(f"{key}:third")
            yield b"third"
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(words(), content_type="text/plain")


async def stepwise_async(request: HttpRequest, key: str) -> StreamingHttpResponse:
    async def words() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await board.wait_async(f"{key}:second")
            yield b"second"
            await board.wait_async(f"{key}:third")
            yield b"third"
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(words(), content_type="text/plain")


def endless(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send without end, as fast as the client takes it."""

    def blocks() -> Iterator[bytes]:
        try:
            while True:
                yield BLOCK
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(blocks())


async def endless_async(request: HttpRequest, key: str) -> StreamingHttpResponse:
    async def blocks() -> AsyncIterator[bytes]:
        try:
            while True:
                yield BLOCK
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(blocks())


def ticking(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send without end, a little at a time."""

    def ticks() -> Iterator[bytes]:
        clock = threading.Event()
        try:
            while not clock.wait(TICK):
                yield b"tick"
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(ticks())


async def ticking_async(request: HttpRequest, key: str) -> StreamingHttpResponse:
    async def ticks() -> AsyncIterator[bytes]:
        try:
            while True:
                await asyncio.sleep(TICK)
                yield b"tick"
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(ticks())


async def parked_async(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send one word and wait: nothing is sent that could fail."""

    async def words() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await board.wait_async(f"{key}:never")
        finally:
            board.post(f"{key}:closed")

    return StreamingHttpResponse(words(), content_type="text/plain")


async def open_ended(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send one word and wait; a file tells that the generator was closed."""

    async def words() -> AsyncIterator[bytes]:
        try:
            yield b"first"
            await asyncio.get_running_loop().create_future()
        finally:
            (site_directory() / f"{key}.closed").touch()

    return StreamingHttpResponse(words(), content_type="text/plain")


def broken(request: HttpRequest, kind: str) -> StreamingHttpResponse:
    """Raise after the first item: the client must not take it for a whole answer."""

    def words() -> Iterator[bytes]:
        yield b"first"
        raise RuntimeError("the stream broke")

    async def async_words() -> AsyncIterator[bytes]:
        yield b"first"
        raise RuntimeError("the stream broke")

    return StreamingHttpResponse(words() if kind == "sync" else async_words())


@csrf_exempt
@streams_body
async def upload_streamed(request: HttpRequest, key: str) -> JsonResponse:
    """Tell the board of the first piece of a body while the rest is unsent."""
    digest, length = hashlib.sha256(), 0
    async for chunk in request.stream():  # type: ignore[attr-defined]  # a bridge request has it
        digest.update(chunk)
        length += len(chunk)
        board.post(f"{key}:first")
    return JsonResponse({"length": length, "sha256": digest.hexdigest()})


async def events(request: HttpRequest, key: str) -> StreamingHttpResponse:
    """Send numbered events from the one after `Last-Event-ID` on."""
    start = int(request.headers.get("Last-Event-ID", "0")) + 1

    async def numbered() -> AsyncIterator[Event]:
        try:
            for number in range(start, start + 3):
                yield Event(data=f"line one of {number}\nline two", id=str(number))
            await board.wait_async(f"{key}:last")
            yield Event(data="the last", event="goodbye")
        finally:
            board.post(f"{key}:closed")

    return EventStreamResponse(numbered())


def download(request: HttpRequest) -> FileResponse:
    path = site_directory() / FILE_NAME
    response = FileResponse(path.open("rb"), as_attachment=True, filename=FILE_NAME)
    response["ETag"] = FILE_TAG
    return response
