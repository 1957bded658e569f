"""Wakes whoever waits for a new note in this process.

It carries no notes: who wakes reads the database, which is the truth and is
shared with other processes. Notes saved by another process are seen when a wait
times out.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator

__all__ = ("Feed", "feed", "heard")


class Feed:
    """A bell that any thread can ring and any event loop can wait for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: set[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = set()

    @contextlib.contextmanager
    def listen(self) -> Iterator[asyncio.Event]:
        """Give an event that is set when a note has arrived since.

        Listen first and read the database then, so that no note falls between.
        """
        listener = (asyncio.get_running_loop(), asyncio.Event())
        with self._lock:
            self._listeners.add(listener)
        try:
            yield listener[1]
        finally:
            with self._lock:
                self._listeners.discard(listener)

    def announce(self) -> None:
        """Set the event of every listener; safe in any thread, never waits."""
        with self._lock:
            listeners = list(self._listeners)
        for loop, event in listeners:
            # A loop that was closed meanwhile has nobody left to wake.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(event.set)


async def heard(event: asyncio.Event, within: float) -> bool:
    """Wait until the event is set, then clear it; false after `within` seconds."""
    try:
        async with asyncio.timeout(within):
            await event.wait()
    except TimeoutError:
        return False
    event.clear()
    return True


feed = Feed()
