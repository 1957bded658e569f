"""The site's lifespan hook: opened before the first request, closed after the last.

What it yields is the process's state, `request.state` in every view.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

__all__ = ("Almanac", "open_almanac")

_TICK = 1.0  # seconds between two ticks of the background task


@dataclass(slots=True)
class Almanac:
    """Something that must be opened and closed, as a connection pool must."""

    opened: datetime = field(default_factory=lambda: datetime.now(UTC))
    process: int = field(default_factory=os.getpid)
    ticks: int = 0

    async def keep(self) -> None:
        """Count seconds until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            self.ticks += 1


@asynccontextmanager
async def open_almanac() -> AsyncIterator[dict[str, Any]]:
    """Open the almanac and keep it while the process serves."""
    almanac = Almanac()
    async with asyncio.TaskGroup() as tasks:
        keeper = tasks.create_task(almanac.keep())
        yield {"almanac": almanac}
        keeper.cancel()
