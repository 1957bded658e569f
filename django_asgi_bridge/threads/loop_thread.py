"""An event loop in a thread of its own, for connections that outlive their callers.

``async_to_sync`` makes a loop for one call where there is none, and a connection
cannot outlive its loop. What has connections keeps them here instead.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import selectors
import threading
from collections.abc import Callable, Coroutine
from typing import Any

__all__ = ("LoopThread",)

_PATIENCE = 5.0
"""Seconds that the last call, then what still runs, and then the thread may take."""


class LoopThread:
    """Runs coroutines for callers on any thread and loop; started at first use.

    A forked child gets a thread of its own.

    Args:
        name: of the thread.
        last: called on the loop before it ends, at exit too. What runs there then
            should end by itself: it is waited for, and at last cancelled.
    """

    def __init__(
        self, name: str, last: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        self._name = name
        self._last = last
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._pid = os.getpid()

    async def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine there, and wait for what it returns or raises."""
        with self._lock:
            # Locked, so that `end()` finds it on the loop.
            future = asyncio.run_coroutine_threadsafe(coroutine, self._running_loop())
        return await asyncio.wrap_future(future)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._pid != os.getpid():
            self._pid = os.getpid()
            loop = self._loop = _new_loop()
            self._thread = threading.Thread(
                target=loop.run_forever, name=self._name, daemon=True
            )
            self._thread.start()
            atexit.register(self.end)
        return self._loop

    def end(self) -> None:
        """Make the last call and end the thread; does nothing where there is none."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or self._pid != os.getpid():
            return
        atexit.unregister(self.end)
        future = asyncio.run_coroutine_threadsafe(self._finish(), loop)
        try:
            future.result(3 * _PATIENCE)
        finally:
            loop.call_soon_threadsafe(loop.stop)
            thread.join(_PATIENCE)
            if not thread.is_alive():
                loop.close()

    async def _finish(self) -> None:
        """Make the last call, and leave nobody waiting for what runs here."""
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._last()
        finally:
            running = asyncio.all_tasks() - {asyncio.current_task()}
            if running:
                _, running = await asyncio.wait(running, timeout=_PATIENCE)
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def _new_loop() -> asyncio.AbstractEventLoop:
    """Return a loop of which a forked child shares nothing with its parent.

    They would share an epoll: a connection that the child drops would be heard of
    by its parent no more. There are few connections here, for which poll does.
    """
    if not hasattr(selectors, "PollSelector"):
        # Windows, which does not fork.
        return asyncio.new_event_loop()
    return asyncio.SelectorEventLoop(selectors.PollSelector())
