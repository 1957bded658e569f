"""The session for callers whose own event loop is gone in a moment."""

from __future__ import annotations

import os
from collections.abc import Callable, Coroutine
from typing import Any

from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.threads.loop_thread import LoopThread

__all__ = ("Background",)


class Background:
    """One session on a loop in a thread, made when it is first needed.

    Management commands, task queues and threads call through ``async_to_sync``: all
    of them together use its connections.

    Args:
        make: returns the session; called on that loop.
    """

    def __init__(self, make: Callable[[], Session]) -> None:
        self._make = make
        self._thread = LoopThread("django-asgi-bridge-redis", self._close)
        self._session: Session | None = None
        self._pid = os.getpid()

    async def call(self, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
        """Do ``work`` with the session, from whatever loop."""
        return await self._thread.run(self._work(work))

    def close(self) -> None:
        """Close the session and end the thread."""
        self._thread.end()

    async def _work(self, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
        if self._session is None or self._pid != os.getpid():
            # A forked child has no right to its parent's sockets.
            self._pid = os.getpid()
            self._session = self._make()
        return await work(self._session)

    async def _close(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()
