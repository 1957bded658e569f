"""``python -m testproject.bench.lag``: how late the event loop is during an upload.

A uvicorn process serves an upload view while a task on its event loop wants to wake
every 10 ms; printed is by how much it woke too late: median, 99th percentile and
maximum in milliseconds. The upload is multipart with one file, sent as fast as the
server takes it.

``idle`` is the same time without a request: what this machine does by itself.
"""

import argparse
import asyncio
import http.client
import json
import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.csrf import csrf_exempt

from django_asgi_bridge.http import aform, stream, streams_body
from testproject.bench.machine import pinned, server_core
from testproject.bench.processes import free_port

MIB = 1024 * 1024
TICK = 0.01
"""Seconds between two heartbeats."""

BLOCK = b"x" * 65536
HEAD = (
    b'--lag\r\nContent-Disposition: form-data; name="file"; filename="big"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
)
TOKEN = "t" * 32
TAIL = b"\r\n--lag--\r\n"

CASES = {
    "idle": "",
    "sync view, request.FILES": "/sync",
    "async view, aform()": "/form",
    "async view, aform(), @streams_body": "/streamed-form",
    "async view, CsrfViewMiddleware": "/checked",
    "async view, csrf_exempt, no aform()": "/async",
    "async view, body not looked at": "/unread",
    "async view, @streams_body": "/stream",
}


# The server.


def _size_of(file: Any) -> HttpResponse:
    return HttpResponse(str(file.size))


def take(request: HttpRequest) -> HttpResponse:
    """Take the file on a worker, as it arrives."""
    return _size_of(request.FILES["file"])


async def atake(request: HttpRequest) -> HttpResponse:
    """Take the file on the event loop, when all of it is there."""
    return _size_of(request.FILES["file"])


async def take_form(request: HttpRequest) -> HttpResponse:
    """Take the file in an async view, parsed on a worker."""
    await aform(request)
    return _size_of(request.FILES["file"])


@streams_body
async def take_streamed_form(request: HttpRequest) -> HttpResponse:
    """The same, and the worker parses while the file arrives."""
    await aform(request)
    return _size_of(request.FILES["file"])


async def ignore(request: HttpRequest) -> HttpResponse:
    """Leave the body alone; it is received all the same."""
    return HttpResponse("")


@streams_body
async def read(request: HttpRequest) -> HttpResponse:
    """Read the body as it arrives."""
    size = 0
    async for chunk in stream(request):
        size += len(chunk)
    return HttpResponse(str(size))


urlpatterns = [
    path("sync", csrf_exempt(take)),
    path("form", csrf_exempt(take_form)),
    path("streamed-form", csrf_exempt(take_streamed_form)),
    path("checked", atake),
    path("async", csrf_exempt(atake)),
    path("unread", csrf_exempt(ignore)),
    path("stream", csrf_exempt(read)),
]


class Heart:
    """Beats on the event loop, and tells how late it was.

    Args:
        application: answers all but ``/start`` and ``/stop``.
    """

    def __init__(self, application: Any) -> None:
        self.application = application
        self.late: list[float] = []
        self.task: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Start or stop the heart, or hand the event on."""
        if scope.get("path") == "/start":
            self.late = []
            self.task = asyncio.create_task(self._beat())
            await _answer(send, b"")
        elif scope.get("path") == "/stop" and self.task is not None:
            self.task.cancel()
            await _answer(send, json.dumps(self.late).encode())
        else:
            await self.application(scope, receive, send)

    async def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + TICK
            await asyncio.sleep(TICK)
            self.late.append(max(0.0, loop.time() - due))


async def _answer(send: Any, body: bytes) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


def application() -> Heart:
    """Return the application that is measured."""
    settings.configure(
        ALLOWED_HOSTS=["*"],
        INSTALLED_APPS=["django_asgi_bridge"],
        MIDDLEWARE=["django.middleware.csrf.CsrfViewMiddleware"],
        ROOT_URLCONF=__name__,
        SECRET_KEY="only for the benchmark",
        FILE_UPLOAD_TEMP_DIR=os.environ.get("LAG_FOLDER"),
    )
    from django_asgi_bridge.asgi import get_asgi_application  # noqa: PLC0415

    return Heart(get_asgi_application())


# The client.


@contextmanager
def serving(folder: str | None) -> Iterator[int]:
    """Run the server; yields its port."""
    port = free_port()
    environment = {**os.environ}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    if folder is not None:
        environment["LAG_FOLDER"] = folder
    command = [
        *pinned(server_core()), sys.executable, "-m", "uvicorn", "--factory", "--log-level",
        "warning", "--no-access-log", "--port", str(port), f"{__spec__.name}:application",
    ]  # fmt: skip
    process = subprocess.Popen(command, env=environment)
    try:
        while process.poll() is None:
            with suppress(OSError):
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def ask(port: int, way: str) -> bytes:
    """Return what a GET request is answered."""
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", way)
    body = connection.getresponse().read()
    connection.close()
    return body


def upload(port: int, way: str, size: int) -> None:
    """Send a form with one file of ``size`` bytes."""
    blocks = size // len(BLOCK)
    length = len(HEAD) + blocks * len(BLOCK) + len(TAIL)
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.putrequest("POST", way)
    connection.putheader("Content-Type", "multipart/form-data; boundary=lag")
    connection.putheader("Content-Length", str(length))
    connection.putheader("Cookie", f"csrftoken={TOKEN}")
    connection.putheader("X-CSRFToken", TOKEN)
    connection.endheaders()
    connection.send(HEAD)
    for _ in range(blocks):
        connection.send(BLOCK)
    connection.send(TAIL)
    response = connection.getresponse()
    response.read()
    connection.close()
    if response.status != 200:
        raise SystemExit(f"{way} answered {response.status}")


def measure(case: str, size: int, folder: str | None) -> tuple[float, list[float]]:
    """Return the seconds of one upload and the lags meanwhile, sorted."""
    with serving(folder) as port:
        ask(port, "/start")
        begin = time.monotonic()
        if CASES[case]:
            upload(port, CASES[case], size)
        else:
            time.sleep(5)
        seconds = time.monotonic() - begin
        late = sorted(json.loads(ask(port, "/stop")))
    return seconds, late


def main(arguments: Sequence[str] | None = None) -> None:
    """Run each case and print its line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=int, default=500)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--folder", help="FILE_UPLOAD_TEMP_DIR of the server")
    options = parser.parse_args(arguments)
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, Django {version('django')}, "
        f"uvicorn {version('uvicorn')}; {options.megabytes} MiB, a beat every "
        f"{TICK * 1000:g} ms"
    )
    print(f"{'':37}{'seconds':>8}{'beats':>7}{'p50':>8}{'p99':>8}{'max':>8}  ms late")
    for case in CASES:
        for _ in range(options.repeat):
            seconds, late = measure(case, options.megabytes * MIB, options.folder)
            middle, high = late[len(late) // 2], late[int(len(late) * 0.99)]
            figures = "".join(
                f"{each * 1000:8.1f}" for each in (middle, high, late[-1])
            )
            print(f"{case:37}{seconds:8.1f}{len(late):7}{figures}", flush=True)


if __name__ == "__main__":
    main()
