"""What one warm message costs: this package's own calls, counted.

As in ``tests/http/test_budget.py``; the counts do not flicker, times would.
"""

import asyncio
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any, Self

import pytest

import django_asgi_bridge
from django_asgi_bridge.generic.websocket import (
    AsyncJsonWebsocketConsumer,
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from tests.consumer.wire import Wire

PACKAGE = str(Path(django_asgi_bridge.__file__).parent)
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


class Counter:
    """Counts the package's calls on the thread that made it and on later ones."""

    def __init__(self) -> None:
        self.calls = 0

    def __enter__(self) -> Self:
        threading.setprofile(self.note)
        sys.setprofile(self.note)
        return self

    def __exit__(self, *exc: object) -> None:
        sys.setprofile(None)
        threading.setprofile(None)

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(PACKAGE):
            self.calls += 1


# To measure anew: `pytest tests/consumer/test_budget.py -rP`, and a few calls more.
BUDGETS: dict[str, tuple[Any, int]] = {
    "async": (Echo, 37),
    "JSON": (JsonEcho, 42),
    "sync": (SyncEcho, 102),
    "event": (Event, 68),
}


@pytest.mark.parametrize("name", BUDGETS)
def test_warm_message_stays_in_its_budget_of_calls(name, layer):
    """From the server's event to the frame, and back to waiting."""
    consumer, budget = BUDGETS[name]
    counts: list[int] = []

    async def talk(counter: Counter) -> None:
        wire = await Wire(consumer.as_asgi()).open()
        for number in range(30):
            before = counter.calls
            wire.say("1")
            await wire.until(lambda number=number: len(wire.texts()) == number + 1)
            for _ in range(5):
                # Back to where it waits for the next one.
                await asyncio.sleep(0)
            counts.append(counter.calls - before)
        await wire.leave()

    with Counter() as counter:
        asyncio.run(talk(counter))

    least = min(counts)
    print(f"{name}: {least}")
    if IS_MEASURED_ON:
        assert least <= budget
    else:
        assert least <= budget + 10
