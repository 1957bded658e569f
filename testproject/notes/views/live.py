"""Pages that stay open: an event stream and a long poll."""

import asyncio
from collections.abc import AsyncGenerator
from http import HTTPStatus

from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET, require_safe

from django_asgi_bridge.http import Event, EventStreamResponse, last_event_id
from testproject.notes.feed import feed, heard
from testproject.notes.models import Note

_TICK = 1.0  # seconds between two clock events
_POLL = 25.0  # seconds a long poll stays open; proxies often cut at 30 or 60
_RECHECK = 5.0  # seconds after which notes of other processes are looked for
_AT_ONCE = 20  # notes in one answer


@require_safe
def live(request: HttpRequest) -> HttpResponse:
    """Show the clock and the notes as they arrive."""
    return render(request, "notes/live.html", {"is_asgi": _is_asgi(request)})


@require_GET
async def events(request: HttpRequest) -> HttpResponseBase:
    """Stream the clock each second and every new note."""
    if not _is_asgi(request):
        return HttpResponse(
            "This stream needs an ASGI server: under WSGI it would hold a whole "
            "process and never end.\n",
            content_type="text/plain; charset=utf-8",
            status=HTTPStatus.NOT_IMPLEMENTED,
        )
    after = note_number(last_event_id(request) or "")
    if after is None:
        after = await newest_pk()
    return EventStreamResponse(activity(after))


async def activity(after: int) -> AsyncGenerator[Event, None]:
    """Give a clock event each second, and a note event for each newer note."""
    loop = asyncio.get_running_loop()
    recheck_at = loop.time()
    with feed.listen() as news:
        while True:
            if news.is_set() or loop.time() >= recheck_at:
                news.clear()
                recheck_at = loop.time() + _RECHECK
                for note in await notes_after(after):
                    after = note.pk
                    yield Event(summary(note), event="note", id=str(note.pk))
            yield Event(timezone.now().strftime("%H:%M:%S UTC"), event="clock")
            if await heard(news, within=_TICK):
                news.set()


@require_safe
def wait(request: HttpRequest) -> HttpResponse:
    """Show a page that asks for the next note again and again."""
    newest = Note.objects.order_by("-pk").first()
    return render(request, "notes/wait.html", {"newest": newest, "seconds": int(_POLL)})


@require_GET
async def wait_next(request: HttpRequest) -> JsonResponse:
    """Answer when there is a note after `?after=`, or when the time is up."""
    after = note_number(request.GET.get("after", ""))
    if after is None:
        return JsonResponse(
            {"error": "`after` must be the number of the last note you know."},
            status=HTTPStatus.BAD_REQUEST,
        )
    notes = await next_notes(after, within=_POLL)
    return JsonResponse({"notes": [summary(note) for note in notes]})


async def next_notes(after: int, within: float) -> list[Note]:
    """Return the notes newer than a number, waiting for the first of them."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    with feed.listen() as news:
        while not (notes := await notes_after(after)):
            left = deadline - loop.time()
            if left <= 0:
                break
            await heard(news, within=min(left, _RECHECK))
    return notes


def note_number(text: str) -> int | None:
    """Return the number that a client sent, None when it is none."""
    # 18 digits always fit the 64 bits of the database's column.
    return int(text) if text.isdecimal() and len(text) <= 18 else None


async def newest_pk() -> int:
    """Return the number of the newest note, 0 without notes."""
    newest = await Note.objects.order_by("-pk").only("pk").afirst()
    return newest.pk if newest else 0


async def notes_after(after: int) -> list[Note]:
    """Return the first notes with a higher number, oldest first."""
    newer = Note.objects.filter(pk__gt=after).order_by("pk").select_related("author")
    return [note async for note in newer[:_AT_ONCE]]


def summary(note: Note) -> dict[str, object]:
    """Return what the scripts show of a note."""
    return {
        "id": note.pk,
        "title": note.title,
        "author": note.author.get_username(),
        "url": note.get_absolute_url(),
    }


def _is_asgi(request: HttpRequest) -> bool:
    return hasattr(request, "scope")
