"""Views whose responses leave piece by piece."""

import asyncio
import csv
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from django.contrib.auth.models import User
from django.http import FileResponse, HttpRequest, StreamingHttpResponse
from django.urls import path

from django_asgi_bridge.http import Event, EventStreamResponse, last_event_id


class Echo:
    """A file for csv.writer that gives back what is written."""

    def write(self, row: str) -> str:
        return row


def rows() -> Iterator[str]:
    writer = csv.writer(Echo())
    yield writer.writerow(["id", "name"])
    for user in User.objects.order_by("pk").iterator(500):
        yield writer.writerow([user.pk, user.get_username()])


def export(request: HttpRequest) -> StreamingHttpResponse:
    """Send a row while the database reads the next ones."""
    return StreamingHttpResponse(rows(), content_type="text/csv")


async def ticks(count: int) -> AsyncIterator[str]:
    try:
        for number in range(count):
            yield f"{number}\n"
            await asyncio.sleep(0)
    finally:
        print("closed")  # also when the client left in the middle


async def counting(request: HttpRequest) -> StreamingHttpResponse:
    """Send each line when it is there."""
    return StreamingHttpResponse(ticks(3), content_type="text/plain")


async def events_after(number: int) -> AsyncIterator[Event]:
    for each in range(number + 1, 4):
        yield Event({"number": each}, event="count", id=str(each))


async def events(request: HttpRequest) -> EventStreamResponse:
    """Go on where the browser's EventSource left off."""
    seen = last_event_id(request) or "0"
    return EventStreamResponse(events_after(int(seen) if seen.isdecimal() else 0))


def source(request: HttpRequest) -> FileResponse:
    """Send a file, or the range of it that was asked for."""
    return FileResponse(Path(__file__).open("rb"), filename="source.py")


urlpatterns = [
    path("export/", export),
    path("counting/", counting),
    path("events/", events),
    path("source/", source),
]
