from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from django.http import HttpRequest, HttpResponse

from django_asgi_bridge import http


@asynccontextmanager
async def open_counter() -> AsyncIterator[dict[str, Any]]:
    visits: Counter[str] = Counter()
    print("the site opens")
    yield {"visits": visits}
    print(f"the site closes after {visits.total()} visits")


async def visits(request: HttpRequest) -> HttpResponse:
    counter = http.state(request).visits
    counter[request.path] += 1
    return HttpResponse(f"visit {counter[request.path]}\n")
