"""Views and clients that leave."""

import asyncio
from collections.abc import Awaitable, Callable

from django.http import HttpRequest, HttpResponse
from django.urls import path
from django.utils.decorators import async_only_middleware

from django_asgi_bridge import http

GetResponse = Callable[[HttpRequest], Awaitable[HttpResponse]]

SECONDS = 5.0
done: list[str] = []
packed = asyncio.Event()


async def search(request: HttpRequest) -> HttpResponse:
    """By default an async view is cancelled when its client leaves."""
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        done.append("search cancelled")
        raise
    return HttpResponse()


@http.on_disconnect("finish")
async def order(request: HttpRequest) -> HttpResponse:
    """Run to the end all the same; only the response is dropped."""
    done.append("paid")
    await packed.wait()
    done.append(f"packed, client left: {http.is_disconnected(request)}")
    return HttpResponse(status=201)


def report(request: HttpRequest) -> HttpResponse:
    """Answer first, and work when the last byte is sent."""
    http.after(request, done.append, "report written")
    return HttpResponse("It will be there soon.", status=202)


@async_only_middleware
def time_limit(get_response: GetResponse) -> GetResponse:
    """Answer 504 when the rest takes too long."""

    async def middleware(request: HttpRequest) -> HttpResponse:
        try:
            async with asyncio.timeout(SECONDS):
                return await get_response(request)
        except TimeoutError:
            return HttpResponse("This took too long.", status=504)

    return middleware


urlpatterns = [
    path("search/", search),
    path("order/", order),
    path("report/", report),
]
