"""Views that show what a client sends and sees."""

import asyncio
import contextvars
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction
from django.http import (
    FileResponse,
    HttpResponse,
    HttpResponseRedirect,
    JsonResponse,
    StreamingHttpResponse,
)
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import path
from django.views.decorators.csrf import csrf_protect

from django_asgi_bridge.http import on_disconnect, streams_body

SEEN: dict[str, Any] = {}
"""What views note for their test."""

SPEAKER: contextvars.ContextVar[str] = contextvars.ContextVar(
    "speaker", default="nobody"
)


def echo(request: Any) -> JsonResponse:
    return JsonResponse(
        {
            "method": request.method,
            "query": dict(request.GET.lists()),
            "form": dict(request.POST.lists()),
            "files": {
                name: file.read().decode() for name, file in request.FILES.items()
            },
            "accept": request.headers.get("Accept"),
            "length": request.headers.get("Content-Length"),
        }
    )


async def echo_body(request: Any) -> HttpResponse:
    return HttpResponse(request.body, content_type=request.content_type)


def users(request: Any) -> JsonResponse:
    return JsonResponse({"users": sorted(u.username for u in User.objects.all())})


async def users_async(request: Any) -> JsonResponse:
    names = [user.username async for user in User.objects.order_by("username")]
    return JsonResponse({"users": names})


def add_user(request: Any) -> HttpResponse:
    with transaction.atomic():
        User.objects.create(username=request.GET["name"])
    return HttpResponse(status=201)


async def add_user_async(request: Any) -> HttpResponse:
    await User.objects.acreate(username=request.GET["name"])
    return HttpResponse(status=201)


def whoami(request: Any) -> HttpResponse:
    return HttpResponse(request.user.get_username())


def visits(request: Any) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(str(request.session["visits"]))


def page(request: Any) -> TemplateResponse:
    template: Any = engines["django"].from_string("Hello {{ name }}")
    return TemplateResponse(request, template, {"name": "Ada"})


def go(request: Any) -> HttpResponse:
    return HttpResponseRedirect("/echo/?from=go")


def fail(request: Any) -> HttpResponse:
    raise ValueError("the view failed")


async def fail_async(request: Any) -> HttpResponse:
    raise ValueError("the view failed")


def file(request: Any) -> FileResponse:
    import io

    return FileResponse(io.BytesIO(b"contents"), filename="a.txt", as_attachment=True)


def rows(request: Any) -> StreamingHttpResponse:
    def parts() -> Iterator[str]:
        yield "one "
        yield str(connection.in_atomic_block)

    return StreamingHttpResponse(parts())


async def ticks(request: Any) -> StreamingHttpResponse:
    """Counts until its client leaves."""

    async def parts() -> AsyncIterator[str]:
        try:
            number = 0
            while True:
                number += 1
                SEEN["made"] = number
                yield f"tick {number}"
        finally:
            SEEN["has_left"] = True

    return StreamingHttpResponse(parts())


async def breaks(request: Any) -> StreamingHttpResponse:
    async def parts() -> AsyncIterator[str]:
        yield "begin"
        raise ValueError("the stream failed")

    return StreamingHttpResponse(parts())


async def hang(request: Any) -> HttpResponse:
    SEEN["started"].set()
    try:
        await asyncio.Event().wait()
    finally:
        SEEN["has_left"] = True
    return HttpResponse("never")


@on_disconnect("finish")
async def finish(request: Any) -> HttpResponse:
    SEEN["go"] = asyncio.Event()
    SEEN["started"].set()
    await SEEN["go"].wait()
    SEEN["is_disconnected"] = request.is_disconnected()
    return HttpResponse("late")


@streams_body
async def upload(request: Any) -> JsonResponse:
    pieces = []
    async for piece in request.stream():
        pieces.append(piece.decode())
        if "arrived" in SEEN:
            SEEN["arrived"].put_nowait(piece)
    return JsonResponse(
        {"pieces": pieces, "length": request.headers.get("Content-Length")}
    )


def after(request: Any) -> HttpResponse:
    request.after(SEEN.__setitem__, "after", True)
    return HttpResponse("first")


def speak(request: Any) -> HttpResponse:
    SPEAKER.set("view")
    return HttpResponse(SPEAKER.get())


async def state(request: Any) -> HttpResponse:
    return HttpResponse(str(vars(request.state)))


@csrf_protect
def protected(request: Any) -> HttpResponse:
    return HttpResponse("in")


@asynccontextmanager
async def open_pool() -> AsyncIterator[dict[str, Any]]:
    SEEN["hooks"] = ["start"]
    yield {"pool": "a pool"}
    SEEN["hooks"].append("stop")


@contextmanager
def count_users() -> Iterator[dict[str, Any]]:
    yield {"users": User.objects.count()}


@asynccontextmanager
async def broken_hook() -> AsyncIterator[dict[str, Any]]:
    raise ValueError("no pool")
    yield {}


urlpatterns = [
    path("echo/", echo, name="echo"),
    path("echo/body/", echo_body),
    path("users/", users),
    path("users/async/", users_async),
    path("users/add/", add_user),
    path("users/add/async/", add_user_async),
    path("whoami/", whoami),
    path("visits/", visits),
    path("page/", page, name="page"),
    path("go/", go),
    path("fail/", fail),
    path("fail/async/", fail_async),
    path("file/", file),
    path("rows/", rows),
    path("ticks/", ticks),
    path("breaks/", breaks),
    path("hang/", hang),
    path("finish/", finish),
    path("upload/", upload),
    path("after/", after),
    path("speak/", speak),
    path("state/", state),
    path("protected/", protected),
]
