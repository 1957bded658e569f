"""What one warm message costs: this package's own calls, counted.

As in ``tests/http/test_budget.py``; the counts do not flicker, times would.
"""

import asyncio
import sys
from typing import Any

import pytest

from django_asgi_bridge.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from tests.calls import Counter
from tests.consumer.wire import Wire
from tests.http.support import fresh_pool

IS_MEASURED_ON = sys.version_info[:2] == (3, 13)


class Echo(AsyncWebsocketConsumer):
    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


class JsonEcho(AsyncJsonWebsocketConsumer):
    async def receive_json(self, content, **kwargs):
        await self.send_json(content)


class SyncEcho(WebsocketConsumer):
    def receive(self, text_data=None, bytes_data=None):
        self.send(text_data=text_data)


class Event(AsyncWebsocketConsumer):
    groups = ["room"]

    async def receive(self, text_data=None, bytes_data=None):
        await self.channel_layer.group_send("room", {"type": "said", "text": text_data})

    async def said(self, event):
        await self.send(text_data=event["text"])


# To measure anew: `pytest tests/consumer/test_budget.py -rP`, and a few calls more.
BUDGETS: dict[str, tuple[Any, int]] = {
    "async": (Echo, 10),
    "JSON": (JsonEcho, 15),
    "sync": (SyncEcho, 74),
    "event": (Event, 53),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_warm_message_stays_in_its_budget_of_calls(name, layer, monkeypatch):
    """From the server's event to the frame, and back to waiting."""
    consumer, budget = BUDGETS[name]
    counts: list[int] = []

    async def talk(counter: Counter) -> None:
        wire = await Wire(consumer.as_asgi()).open()
        for _ in range(30):
            before = counter.own
            wire.say("1")
            await wire.until(lambda: len(wire.texts()) > len(counts))
            for _ in range(5):
                # Back to where it waits for the next one.
                await asyncio.sleep(0)
            counts.append(counter.own - before)
        await wire.leave()

    # Workers keep the profile function that they were started with.
    with fresh_pool(monkeypatch), Counter() as counter:
        asyncio.run(talk(counter))

    least = min(counts)
    print(f"{name}: {least}")
    if IS_MEASURED_ON:
        assert least <= budget
    else:
        assert least <= budget + 10
