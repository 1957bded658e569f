"""A lease that knows its pool, how long its calls wait there, and which it left."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.pool import WorkerPool
from django_asgi_bridge.threads.worker import PoolLease

__all__ = ("Hold",)


class Hold(PoolLease):
    """One request's hold on ``pool``.

    Args:
        pool: where the worker comes from.
        queue_timeout: seconds a call may wait for a worker before ``PoolBusy``.
        detach_after: seconds a cancelled request waits for its running call.
        on_attach: see ``PoolLease``.
        on_detach: see ``PoolLease``.
    """

    __slots__ = (
        "_left",
        "atomic_task",
        "detach_after",
        "is_direct",
        "is_patient",
        "is_refusable",
        "is_reported",
        "owner",
        "patience_ends",
        "pool",
        "queue_timeout",
    )

    def __init__(
        self,
        pool: WorkerPool,
        queue_timeout: float,
        detach_after: float,
        on_attach: Callable[[], None] | None = None,
        on_detach: Callable[[], None] | None = None,
    ) -> None:
        # One of these is made for each request: super() has to look for it.
        PoolLease.__init__(self, on_attach, on_detach)
        self.pool = pool
        self.queue_timeout = queue_timeout
        self.detach_after = detach_after
        # Its calls are waited for as long as they take, also once it is cancelled.
        self.is_patient = False
        # A call that waits too long for a worker gets ``PoolBusy``.
        self.is_refusable = True
        # Whoever serves the request; this room only prints it.
        self.owner: Any = None
        # Calls go to the worker, and not to a sync caller that waits further up.
        self.is_direct = True
        # The task inside an ``async with atomic()`` block.
        self.atomic_task: asyncio.Task[Any] | None = None
        # The waits for calls that a cancelled request has left running.
        self._left: tuple[asyncio.Task[None], ...] = ()
        # When clean-up no longer waits for them, by the event loop's clock.
        self.patience_ends = 0.0
        # The log has been told that they run on.
        self.is_reported = False

    def leave(self, end: asyncio.Task[None], patience_ends: float) -> None:
        """Note that the request goes on without a call that runs, until ``end``."""
        self.patience_ends = patience_ends
        self._left = (*self._left, end)

    def is_left(self) -> bool:
        """Tell whether a call still runs that the request has left."""
        return bool(self._left) and not all(end.done() for end in self._left)

    def free(self, context: contextvars.Context) -> contextvars.Context:
        """Return ``context``, or a copy while a call that was left may be inside."""
        return context.copy() if self._left and self.is_left() else context

    def busy_error(self) -> PoolBusy:
        """Return the error for a call that waited too long."""
        stats = self.pool.stats()
        return PoolBusy(
            f"no worker thread came free within {self.queue_timeout:g} s: "
            f"{stats.running} calls run, ASGI_BRIDGE['THREADS'] is "
            f"{self.pool.threads}; {stats.threads} threads exist, "
            f"ASGI_BRIDGE['MAX_THREADS'] is {self.pool.max_threads}."
        )
