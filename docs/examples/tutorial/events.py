import asyncio
from collections.abc import AsyncIterator

from django.http import HttpRequest, HttpResponse

from django_asgi_bridge.http import Event, EventStreamResponse

PAGE = """<!doctype html>
<title>Countdown</title>
<p id="count">Wait for it.</p>
<script>
  const source = new EventSource("/countdown/events/");
  const count = document.querySelector("#count");
  source.addEventListener("count", (event) => { count.textContent = event.data; });
  source.addEventListener("end", () => source.close());
</script>
"""


async def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(PAGE)


async def countdown() -> AsyncIterator[Event]:
    for number in (3, 2, 1):
        yield Event(str(number), event="count")
        await asyncio.sleep(0.5)
    yield Event("Lift-off", event="end")


async def events(request: HttpRequest) -> EventStreamResponse:
    return EventStreamResponse(countdown())
