"""A lease that knows its pool and how long its calls wait there."""

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

    __slots__ = ("detach_after", "is_patient", "owner", "pool", "queue_timeout")

    def __init__(
        self,
        pool: WorkerPool,
        *,
        queue_timeout: float,
        detach_after: float,
        on_attach: Callable[[], None] | None = None,
        on_detach: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(on_attach, on_detach)
        self.pool = pool
        self.queue_timeout = queue_timeout
        self.detach_after = detach_after
        # Its calls wait for a worker as long as it takes, and are never refused.
        self.is_patient = False
        # Whoever serves the request; this room only prints it.
        self.owner: Any = None

    def busy_error(self) -> PoolBusy:
        """Return the error for a call that waited too long."""
        stats = self.pool.stats()
        return PoolBusy(
            f"no worker thread came free within {self.queue_timeout:g} s: "
            f"{stats.running} calls run, ASGI_BRIDGE['THREADS'] is "
            f"{self.pool.threads}; {stats.threads} threads exist, "
            f"ASGI_BRIDGE['MAX_THREADS'] is {self.pool.max_threads}."
        )
