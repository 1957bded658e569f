"""``python -m testproject.bench.bombs``: how long hostile multipart bodies take.

Each goes to a sync and to an async view that read the form, in this process and
without a server; printed are the status, the events of 64 KiB that were received,
and the milliseconds until the answer, the slowest of several.
"""

import argparse
import asyncio
import logging
import platform
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path

__all__ = ("BOMBS", "BOUNDARY", "CHUNK", "Bomb")

CHUNK = 65536
MIB = 1024 * 1024
BOUNDARY = "limit"
_MARK = f"--{BOUNDARY}\r\nContent-Disposition: form-data; ".encode()
_END = f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True)
class Bomb:
    """A body that is meant to hurt.

    Attributes:
        body: its bytes.
        boundary: what the Content-Type says.
        early: 64 KiB events after which a view that reads as they arrive has refused
            it; ``None`` where all of it has to be read.
    """

    body: bytes
    boundary: str = BOUNDARY
    early: int | None = None

    def chunks(self) -> list[bytes]:
        """Return the body as a server hands it out."""
        pieces = range(0, len(self.body), CHUNK)
        return [self.body[place : place + CHUNK] for place in pieces] or [b""]


def _field(name: bytes, value: bytes) -> bytes:
    return _MARK + b'name="' + name + b'"\r\n\r\n' + value + b"\r\n"


def _file(name: bytes, content: bytes, headers: bytes = b"") -> bytes:
    named = b'name="' + name + b'"; filename="a"\r\n'
    return _MARK + named + headers + b"\r\n" + content + b"\r\n"


_BASE64 = b"Content-Transfer-Encoding: base64\r\n"
_ONE = _field(b"a", b"1")

BOMBS = {
    "10k parts": Bomb(
        b"".join(_field(b"f%d" % i, b"x") for i in range(10_000)) + _END, early=3
    ),
    "10k files": Bomb(
        b"".join(_file(b"f%d" % i, b"x") for i in range(10_000)) + _END, early=3
    ),
    "10k parts without a name": Bomb(
        (b"--" + BOUNDARY.encode() + b"\r\n\r\nx\r\n") * 10_000 + _END, early=3
    ),
    "a field of 10 MB": Bomb(_field(b"a", b"x" * 10 * MIB) + _END, early=43),
    "a field name of 10 MB": Bomb(_field(b"n" * 10 * MIB, b"x") + _END, early=3),
    "1 MB of part headers": Bomb(
        _file(b"a", b"x", b"X-Pad: " + b"p" * MIB + b"\r\n") + _END, early=3
    ),
    "10 MB of preamble": Bomb(b"p" * 10 * MIB + _ONE + _END, early=3),
    "10 MB of preamble, blank lines": Bomb(
        b"\r\n\r\n" * (10 * MIB // 4) + _ONE + _END, early=3
    ),
    "10 MB of epilogue": Bomb(_ONE + _END + b"e" * 10 * MIB, early=3),
    "10 MB of epilogue, blank lines": Bomb(
        _ONE + _END + b"\r\n\r\n" * (10 * MIB // 4), early=3
    ),
    "10 MB without a delimiter": Bomb(b"x" * 10 * MIB, early=3),
    "10 MB of ends": Bomb(_ONE + _END * (10 * MIB // len(_END)), early=3),
    # Before 6.1 Django skips letters that are none of base64; one of four is refused.
    "base64 that is none": Bomb(
        _file(b"a", b"A" + b"!" * 10 * MIB, _BASE64) + _END, early=3
    ),
    "a boundary of 10 kB": Bomb(_ONE + _END, "b" * 10_000),
    "no boundary": Bomb(_ONE + _END, ""),
    "a boundary of 8-bit bytes": Bomb(_ONE + _END, "\xff\xfe"),
}
"""All of them are answered 400 or 413."""


def _take(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(len(request.POST) + len(request.FILES)))


async def _take_async(request: HttpRequest) -> HttpResponse:
    return _take(request)


urlpatterns = [path("sync", _take), path("async", _take_async)]


async def _serve(application: Any, way: str, bomb: Bomb) -> tuple[int, int, float]:
    """Return the status, the events received, and the seconds."""
    chunks = bomb.chunks()
    received = 0
    status = 0

    async def receive() -> dict[str, Any]:
        nonlocal received
        if received == len(chunks):
            await asyncio.Event().wait()
        chunk = chunks[received]
        received += 1
        return {
            "type": "http.request",
            "body": chunk,
            "more_body": received < len(chunks),
        }

    async def send(event: Any) -> None:
        nonlocal status
        status = event.get("status", status)

    content_type = f"multipart/form-data; boundary={bomb.boundary}".encode("latin-1")
    scope = {
        "type": "http",
        "method": "POST",
        "path": way,
        "headers": [(b"host", b"localhost"), (b"content-type", content_type)],
    }
    begin = time.perf_counter()
    await application(scope, receive, send)
    return status, received, time.perf_counter() - begin


async def _measure(repeat: int) -> None:
    from django_asgi_bridge.asgi import get_asgi_application  # noqa: PLC0415

    application = get_asgi_application()
    logging.disable(logging.CRITICAL)
    for way in ("/sync", "/async"):
        # The first request of a process loads what the others find.
        await _serve(application, way, Bomb(_ONE + _END))
        for name, bomb in BOMBS.items():
            runs = [await _serve(application, way, bomb) for _ in range(repeat)]
            status, received, _ = runs[0]
            slowest = max(seconds for _, _, seconds in runs) * 1000
            events = f"{received} of {len(bomb.chunks())}"
            print(f"{way[1:]:7}{name:32}{status:5}{events:>12}{slowest:9.1f} ms")


def main(arguments: Sequence[str] | None = None) -> None:
    """Send each bomb and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args(arguments)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, "
        f"Python {platform.python_version()}, Django {version('django')}; "
        f"the slowest of {options.repeat}"
    )
    with tempfile.TemporaryDirectory() as folder:
        settings.configure(
            ALLOWED_HOSTS=["*"],
            FILE_UPLOAD_TEMP_DIR=folder,
            INSTALLED_APPS=["django_asgi_bridge"],
            ROOT_URLCONF=__name__,
            SECRET_KEY="only for the benchmark",
        )
        asyncio.run(_measure(options.repeat))


if __name__ == "__main__":
    main()
