"""The same routes for this package, with an event stream and WebSockets of its own."""

import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest
from django.urls import path

from django_asgi_bridge.http import EventStreamResponse
from testproject.bench.site import answers
from testproject.bench.site.consumers import consumers
from testproject.bench.site.urls import urlpatterns as djangos

__all__ = ("urlpatterns", "websocket_urlpatterns")


async def events(request: HttpRequest) -> EventStreamResponse:
    """Send an event each second."""

    async def source() -> AsyncIterator[str]:
        while True:
            yield answers.event_text()
            await asyncio.sleep(answers.EVENT_INTERVAL)

    return EventStreamResponse(source())


urlpatterns = [path("events/own", events), *djangos]
websocket_urlpatterns = [
    path(name, consumer.as_asgi())
    for name, consumer in consumers("django_asgi_bridge").items()
]
