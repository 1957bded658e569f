"""The views of the Django sites; sync and async twins."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    JsonResponse,
    StreamingHttpResponse,
)
from django.shortcuts import render
from django.views.decorators.csrf import csrf_exempt

from testproject.bench.site import answers
from testproject.bench.site.models import Line, Number

__all__ = ()


def hello(request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse(answers.HELLO)


async def ahello(request: HttpRequest) -> HttpResponse:
    """Answer at once."""
    return HttpResponse(answers.HELLO)


def json(request: HttpRequest) -> JsonResponse:
    """Answer with a small JSON object."""
    return JsonResponse(answers.MESSAGE)


async def ajson(request: HttpRequest) -> JsonResponse:
    """Answer with a small JSON object."""
    return JsonResponse(answers.MESSAGE)


def user(request: HttpRequest) -> HttpResponse:
    """Look who asks."""
    return HttpResponse(request.user.get_username() or "nobody")


async def auser(request: HttpRequest) -> HttpResponse:
    """Look who asks."""
    visitor = await request.auser()
    return HttpResponse(visitor.get_username() or "nobody")


def queries(request: HttpRequest, count: int) -> JsonResponse:
    """Read some rows, each by a query of its own."""
    numbers = [Number.objects.get(pk=key) for key in answers.random_ids(count)]
    return JsonResponse({"numbers": [(each.pk, each.value) for each in numbers]})


async def aqueries(request: HttpRequest, count: int) -> JsonResponse:
    """Read some rows, each by a query of its own."""
    numbers = [await Number.objects.aget(pk=key) for key in answers.random_ids(count)]
    return JsonResponse({"numbers": [(each.pk, each.value) for each in numbers]})


def page(request: HttpRequest) -> HttpResponse:
    """Render twelve rows."""
    lines = sorted(Line.objects.all(), key=str)
    return render(request, "bench/lines.html", {"lines": lines})


async def apage(request: HttpRequest) -> HttpResponse:
    """Render twelve rows."""
    lines = sorted([line async for line in Line.objects.all()], key=str)
    # The context processor of auth reads the user while the template is rendered,
    # which an async view may not do: the user is read before, as such views do.
    if hasattr(request, "auser"):
        request.user = await request.auser()
    return render(request, "bench/lines.html", {"lines": lines})


def wait(request: HttpRequest) -> HttpResponse:
    """Answer after a tenth of a second."""
    time.sleep(answers.WAIT)
    return HttpResponse(answers.HELLO)


async def await_(request: HttpRequest) -> HttpResponse:
    """Answer after a tenth of a second."""
    await asyncio.sleep(answers.WAIT)
    return HttpResponse(answers.HELLO)


def big(request: HttpRequest) -> HttpResponse:
    """Answer with 1 MB."""
    return HttpResponse(answers.BIG)


async def abig(request: HttpRequest) -> HttpResponse:
    """Answer with 1 MB."""
    return HttpResponse(answers.BIG)


def file(request: HttpRequest) -> FileResponse:
    """Send the file of 100 MB."""
    return FileResponse(Path(answers.file_path()).open("rb"))


def csv(request: HttpRequest) -> StreamingHttpResponse:
    """Stream 100,000 rows."""
    return StreamingHttpResponse(answers.csv_blocks(), content_type="text/csv")


async def acsv(request: HttpRequest) -> StreamingHttpResponse:
    """Stream 100,000 rows."""

    async def blocks() -> AsyncIterator[str]:
        for block in answers.csv_blocks():
            yield block

    return StreamingHttpResponse(blocks(), content_type="text/csv")


@csrf_exempt
def upload(request: HttpRequest) -> HttpResponse:
    """Take a form with a file."""
    taken: Any = request.FILES["file"]
    return HttpResponse(str(taken.size))


def events(request: HttpRequest) -> StreamingHttpResponse:
    """Send an event each second."""

    def source() -> Iterator[str]:
        while True:
            yield f"data: {answers.event_text()}\n\n"
            time.sleep(answers.EVENT_INTERVAL)

    return StreamingHttpResponse(source(), content_type="text/event-stream")


async def aevents(request: HttpRequest) -> StreamingHttpResponse:
    """Send an event each second."""

    async def source() -> AsyncIterator[str]:
        while True:
            yield f"data: {answers.event_text()}\n\n"
            await asyncio.sleep(answers.EVENT_INTERVAL)

    return StreamingHttpResponse(source(), content_type="text/event-stream")
