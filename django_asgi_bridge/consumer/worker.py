"""The worker thread of a consumer's handlers: leased for one, back after it."""

from __future__ import annotations

import asyncio
from asyncio import _get_running_loop
from collections.abc import Awaitable, Callable

from django_asgi_bridge.sockets.marks import HANDSHAKE
from django_asgi_bridge.threads import lease_of_context, new_handler_lease
from django_asgi_bridge.types import Message

__all__ = ("HandlerWorker",)


class HandlerWorker:
    """What one task that runs handlers has of the worker threads.

    Sync code that a handler calls runs on one worker, with one set of database
    connections. Between two handlers nothing is held.

    Args:
        is_sync: the handlers themselves run on workers.
        is_handshake: the first handler answers a handshake. It gets ``PoolBusy`` when
            no worker comes free in time; later ones wait as long as it takes.

    Attributes:
        task: the task that runs the handlers: that which makes this.
        is_running: a handler runs now.
        is_cancelled: that handler was cancelled by us.
        lease: the handlers'; a worker that it has is to be released after each.
    """

    __slots__ = ("is_cancelled", "is_running", "lease", "task")

    def __init__(self, *, is_sync: bool, is_handshake: bool = False) -> None:
        self.task = asyncio.current_task()
        self.is_running = False
        self.is_cancelled = False
        lease = lease_of_context()
        if lease is not None and lease.owner == HANDSHAKE:
            # The handshake is over: its lease serves on.
            lease.owner = None
            lease.is_refusable = is_handshake
            self.lease = lease
        else:
            self.lease = new_handler_lease(is_refusable=is_handshake)
            self.lease.enter(follows_loop=True)
        # A sync handler is one call: its worker goes back by itself at its end.
        self.lease.is_closed = is_sync

    def call(
        self, handler: Callable[[Message], None], message: Message
    ) -> Awaitable[None]:
        """Call a sync handler on the worker."""
        return self.lease.run(handler, message)

    def cancel_handler(self) -> bool:
        """Cancel the handler that runs; tell whether one did."""
        if not self.is_running or self.task is None:
            return False
        self.is_cancelled = True
        self.task.cancel()
        return True

    def takes_cancel(self) -> bool:
        """Tell whether a cancellation that was just raised was ours alone."""
        if not self.is_cancelled or self.task is None:
            return False
        self.is_cancelled = False
        return self.task.uncancel() <= 0

    def release(self) -> None:
        """Give the worker back, if a handler took one."""
        lease = self.lease
        lease.is_refusable = False
        if lease.worker is None and not lease.pending:
            return
        lease.pool.close(lease)
        if self.task is None or _get_running_loop() is None:
            # The connection is over, or its loop is: nothing is called any more, and
            # the context may be anybody's.
            return
        self.lease = new_handler_lease()
        self.lease.enter(follows_loop=True)

    def close(self) -> None:
        """Let what outlives the handlers have a worker for each call alone."""
        self.lease.is_closed = True
        # It refers to the connection.
        self.task = None
