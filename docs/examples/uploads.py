"""Views that take request bodies, small and large."""

import hashlib
import json

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path

from django_asgi_bridge.http import abody, aform, stream, streams_body


def upload(request: HttpRequest) -> JsonResponse:
    """Take a form with a file: the view starts before the file has arrived."""
    file = request.FILES["file"]
    return JsonResponse({"name": file.name, "size": file.size})


async def photo(request: HttpRequest) -> JsonResponse:
    """Parse the form on a worker thread; POST and FILES are there afterwards."""
    form = await aform(request)
    file = request.FILES["file"]
    return JsonResponse({"title": form["title"], "size": file.size})


@streams_body
async def digest(request: HttpRequest) -> HttpResponse:
    """Hash a body of any length; nothing of it is kept."""
    sha256 = hashlib.sha256()
    async for chunk in stream(request):
        sha256.update(chunk)
    return HttpResponse(sha256.hexdigest())


@streams_body
async def report(request: HttpRequest) -> HttpResponse:
    """Look at the headers first, and at the body only if it is wanted."""
    if request.headers.get("X-Token") != "let me in":
        return HttpResponse(status=403)
    values = json.loads(await abody(request))
    return HttpResponse(str(sum(values)))


urlpatterns = [
    path("upload/", upload),
    path("photo/", photo),
    path("digest/", digest),
    path("report/", report),
]
