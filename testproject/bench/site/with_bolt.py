"""django-bolt with the same answers; it has views of its own kind.

Annotations say what a parameter is taken from, so they are real names here.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from typing import Annotated, Any

from django.template.loader import render_to_string
from django_bolt import BoltAPI, EventSourceResponse, Request, StreamingResponse
from django_bolt.datastructures import UploadFile
from django_bolt.param_functions import File
from django_bolt.responses import HTML, FileResponse, PlainText

from testproject.bench.site import answers
from testproject.bench.site.models import Line, Number

__all__ = ("api",)

BIG_TEXT = answers.BIG.decode()

api = BoltAPI(
    django_middleware=bool(
        os.environ.get("BENCH_MIDDLEWARE") == "default"
        or os.environ.get("BENCH_EXTRA_MIDDLEWARE")
    ),
    enable_logging=False,
    compression=False,
)


@api.get("/hello/sync")
def hello() -> PlainText:
    """Answer at once."""
    return PlainText(answers.HELLO.decode())


@api.get("/hello/async")
async def ahello() -> PlainText:
    """Answer at once."""
    return PlainText(answers.HELLO.decode())


@api.get("/json/sync")
def json() -> dict[str, str]:
    """Answer with a small JSON object."""
    return answers.MESSAGE


@api.get("/json/async")
async def ajson() -> dict[str, str]:
    """Answer with a small JSON object."""
    return answers.MESSAGE


@api.get("/user/sync")
def user(request: Request) -> PlainText:
    """Look who asks."""
    return PlainText(request.user.get_username() or "nobody")


@api.get("/user/async")
async def auser(request: Request) -> PlainText:
    """Look who asks."""
    visitor = await request.auser()
    return PlainText(visitor.get_username() or "nobody")


@api.get("/queries/{count}/sync")
def queries(count: int) -> dict[str, Any]:
    """Read some rows, each by a query of its own."""
    numbers = [Number.objects.get(pk=key) for key in answers.random_ids(count)]
    return {"numbers": [(each.pk, each.value) for each in numbers]}


@api.get("/queries/{count}/async")
async def aqueries(count: int) -> dict[str, Any]:
    """Read some rows, each by a query of its own."""
    numbers = [await Number.objects.aget(pk=key) for key in answers.random_ids(count)]
    return {"numbers": [(each.pk, each.value) for each in numbers]}


@api.get("/page/sync")
def page() -> HTML:
    """Render twelve rows."""
    lines = sorted(Line.objects.all(), key=str)
    return HTML(render_to_string("bench/lines.html", {"lines": lines}))


@api.get("/page/async")
async def apage() -> HTML:
    """Render twelve rows."""
    lines = sorted([line async for line in Line.objects.all()], key=str)
    return HTML(render_to_string("bench/lines.html", {"lines": lines}))


@api.get("/wait/sync")
def wait() -> PlainText:
    """Answer after a tenth of a second."""
    time.sleep(answers.WAIT)
    return PlainText(answers.HELLO.decode())


@api.get("/wait/async")
async def await_() -> PlainText:
    """Answer after a tenth of a second."""
    await asyncio.sleep(answers.WAIT)
    return PlainText(answers.HELLO.decode())


@api.get("/big/sync")
def big() -> PlainText:
    """Answer with 1 MB."""
    return PlainText(BIG_TEXT)


@api.get("/big/async")
async def abig() -> PlainText:
    """Answer with 1 MB."""
    return PlainText(BIG_TEXT)


@api.get("/file/sync")
async def file() -> FileResponse:
    """Send the file of 100 MB."""
    return FileResponse(answers.file_path())


@api.get("/csv/sync")
def csv() -> StreamingResponse:
    """Stream 100,000 rows."""
    return StreamingResponse(answers.csv_blocks(), media_type="text/csv")


@api.get("/csv/async")
async def acsv() -> StreamingResponse:
    """Stream 100,000 rows."""

    async def blocks() -> AsyncIterator[str]:
        for block in answers.csv_blocks():
            yield block

    return StreamingResponse(blocks(), media_type="text/csv")


@api.post("/upload/sync")
async def upload(file: Annotated[UploadFile, File()]) -> PlainText:
    """Take a form with a file."""
    return PlainText(str(file.size))


@api.get("/events/async")
async def events() -> EventSourceResponse:
    """Send an event each second."""

    async def source() -> AsyncIterator[str]:
        while True:
            yield f"data: {answers.event_text()}\n\n"
            await asyncio.sleep(answers.EVENT_INTERVAL)

    return EventSourceResponse(source())
