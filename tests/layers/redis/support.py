"""What the tests of the layer on Redis share."""

import asyncio
from collections.abc import Callable

__all__ = ("WATCHDOG", "Box", "joined", "until")

WATCHDOG = 30.0


class Box:
    """A mailbox that keeps everything."""

    def __init__(self):
        self.events, self.frames, self.gaps = [], [], []

    def put_event(self, message, capacity):
        self.events.append(message)
        return True

    def put_frame(self, frame, key):
        self.frames.append(frame)
        return True

    def note_gap(self, groups):
        self.gaps.append(dict(groups))

    @property
    def numbers(self):
        return [event["n"] for event in self.events]

    def lost(self, group):
        """Return how many messages it was told to have missed."""
        return sum(gap.get(group) or 0 for gap in self.gaps)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WATCHDOG):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def joined(layer, count, group="room"):
    """Return so many members of a group."""
    boxes = []
    for _ in range(count):
        box = Box()
        await layer.group_add(group, await layer.open_mailbox(box))
        boxes.append(box)
    return boxes
