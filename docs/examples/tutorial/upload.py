import hashlib

from django.http import HttpRequest, HttpResponse
from django.views.decorators.csrf import csrf_exempt

from django_asgi_bridge.http import stream, streams_body


@csrf_exempt  # it reads no cookie, so another site gains nothing
@streams_body
async def digest(request: HttpRequest) -> HttpResponse:
    sha256 = hashlib.sha256()
    async for chunk in stream(request):
        sha256.update(chunk)
    return HttpResponse(f"{sha256.hexdigest()}\n")
