"""Plain views: each answers with what it saw."""

import asyncio
import contextvars
import hashlib
import os
import threading
from pathlib import Path

from asgiref.local import Local
from asgiref.sync import sync_to_async
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.middleware.csrf import get_token
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.utils import timezone, translation
from django.views.decorators.csrf import csrf_exempt

from django_asgi_bridge.exceptions import UnsupportedByServer
from django_asgi_bridge.http import early_hints, push, set_trailers
from tests.servers.app import board
from tests.servers.app.content import pattern, site_directory

FORM_TYPES = {"multipart/form-data", "application/x-www-form-urlencoded"}


def index(request: HttpRequest) -> HttpResponse:
    return HttpResponse("the index", content_type="text/plain")


def hello_sync(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from a thread", content_type="text/plain")


async def hello_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse("hello from the loop", content_type="text/plain")


def _seen(request: HttpRequest) -> JsonResponse:
    is_form = request.content_type in FORM_TYPES
    body = b"" if is_form else request.body
    files = {
        name: {
            "name": upload.name,
            "size": upload.size,
            "sha256": hashlib.sha256(upload.read()).hexdigest(),
        }
        for name, upload in request.FILES.items()
    }
    meta = request.META
    return JsonResponse(
        {
            "method": request.method,
            "path": request.path,
            "path_info": request.path_info,
            "script_name": meta["SCRIPT_NAME"],
            "query": dict(request.GET.lists()),
            "form": dict(request.POST.lists()),
            "files": files,
            "length": len(body),
            "sha256": hashlib.sha256(body).hexdigest(),
            "headers": {k: v for k, v in meta.items() if k.startswith("HTTP_")},
            "content_length": meta.get("CONTENT_LENGTH"),
            "content_type": request.content_type,
            "cookies": request.COOKIES,
            "scheme": request.scheme,
            "host": request.get_host(),
            "uri": request.build_absolute_uri(),
            "remote_addr": meta.get("REMOTE_ADDR"),
            "remote_port": meta.get("REMOTE_PORT"),
            "server_port": meta.get("SERVER_PORT"),
        }
    )


@csrf_exempt
def echo(request: HttpRequest) -> HttpResponse:
    return _seen(request)


@csrf_exempt
async def echo_async(request: HttpRequest) -> HttpResponse:
    return _seen(request)


def large(request: HttpRequest, size: int) -> HttpResponse:
    return HttpResponse(pattern(size), content_type="application/octet-stream")


def status(request: HttpRequest, status: int) -> HttpResponse:
    return HttpResponse("a body for those that may have one", status=status)


MARK: contextvars.ContextVar[str] = contextvars.ContextVar("mark", default="clean")
ASGIREF_LOCAL = Local()


def _swap_contexts(mark: str) -> JsonResponse:
    before = {
        "contextvar": MARK.get(),
        "asgiref_local": getattr(ASGIREF_LOCAL, "mark", "clean"),
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
        "urlconf": get_urlconf(),
        "prefix": get_script_prefix(),
    }
    MARK.set(mark)
    ASGIREF_LOCAL.mark = mark
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    set_urlconf("tests.servers.app.elsewhere")
    set_script_prefix("/elsewhere/")
    return JsonResponse({"mark": mark, "before": before})


def contexts(request: HttpRequest, mark: str) -> HttpResponse:
    return _swap_contexts(mark)


async def contexts_async(request: HttpRequest, mark: str) -> HttpResponse:
    return _swap_contexts(mark)


def cookies_set(request: HttpRequest) -> HttpResponse:
    response = HttpResponse("set")
    response.set_cookie("flavour", "oat meal", httponly=True)
    response.set_cookie("size", "large", max_age=60, samesite="Lax")
    response.delete_cookie("stale")
    return response


def cookies_read(request: HttpRequest) -> HttpResponse:
    return JsonResponse(request.COOKIES)


def session(request: HttpRequest) -> HttpResponse:
    request.session["visits"] = request.session.get("visits", 0) + 1
    return JsonResponse({"visits": request.session["visits"]})


async def session_async(request: HttpRequest) -> HttpResponse:
    visits = await request.session.aget("visits", 0) + 1
    await request.session.aset("visits", visits)
    return JsonResponse({"visits": visits})


def form(request: HttpRequest) -> HttpResponse:
    """Answer GET with a token and POST, which needs the token, with the field."""
    if request.method == "POST":
        return JsonResponse({"word": request.POST["word"]})
    return JsonResponse({"token": get_token(request)})


async def state(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"greeting": request.state.greeting})  # type: ignore[attr-defined]  # a bridge request has it


def worker(request: HttpRequest) -> HttpResponse:
    return JsonResponse(
        {
            "pid": os.getpid(),
            "is_main_thread": threading.current_thread() is threading.main_thread(),
        }
    )


async def hang(request: HttpRequest, key: str) -> HttpResponse:
    """Wait for ever, and tell the board how that ended."""
    board.post(f"{key}:entered")
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        board.post(f"{key}:cancelled")
        raise
    return HttpResponse("never")


def patient(request: HttpRequest, key: str) -> HttpResponse:
    """Block until the board says so, and tell the board of the end."""
    board.post(f"{key}:entered")
    board.wait(f"{key}:go")
    board.post(f"{key}:done")
    return HttpResponse("done")


def _fifo(key: str) -> Path:
    return site_directory() / key


def held(request: HttpRequest, key: str) -> HttpResponse:
    """Answer when something was written into the named pipe."""
    board.post(f"{key}:entered")
    return HttpResponse(_fifo(key).read_bytes(), content_type="text/plain")


async def held_async(request: HttpRequest, key: str) -> HttpResponse:
    board.post(f"{key}:entered")
    word = await sync_to_async(_fifo(key).read_bytes, thread_sensitive=False)()
    return HttpResponse(word, content_type="text/plain")


async def hints(request: HttpRequest) -> HttpResponse:
    await early_hints(request, ["</site.css>; rel=preload; as=style"])
    return HttpResponse("after the hint", content_type="text/plain")


async def trailers(request: HttpRequest) -> HttpResponse:
    """Send a trailer, or 501 where the server has none."""
    response = HttpResponse("before the trailer", content_type="text/plain")
    try:
        set_trailers(request, response, {"x-checksum": "abc"})
    except UnsupportedByServer:
        return HttpResponse("no trailers here", status=501)
    return response


async def pushed(request: HttpRequest) -> HttpResponse:
    await push(request, "/sync/")
    return HttpResponse("beside the push", content_type="text/plain")


def post_mark(request: HttpRequest, key: str) -> HttpResponse:
    board.post(key)
    return HttpResponse("posted")


async def await_mark(request: HttpRequest, key: str) -> HttpResponse:
    is_seen = await board.wait_async(key)
    return HttpResponse(
        "seen" if is_seen else "not seen", status=200 if is_seen else 504
    )
