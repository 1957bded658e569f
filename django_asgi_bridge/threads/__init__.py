"""The only door between the event loop and worker threads."""

from __future__ import annotations

import asyncio
import functools
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from asgiref.sync import async_to_sync, sync_to_async

from django_asgi_bridge.conf import get_config
from django_asgi_bridge.threads import connections
from django_asgi_bridge.threads.cancellation import Postponed, ended
from django_asgi_bridge.threads.coroutines import (
    hand_on,
    raising,
    start_task,
    tail_call,
)
from django_asgi_bridge.threads.driver import (
    detached_here,
    detached_tasks,
    drive,
    go_on,
)
from django_asgi_bridge.threads.jobs import was_left
from django_asgi_bridge.threads.lease import (
    Lease,
    LeaseOfCaller,
    current_lease,
    lease_of_context,
)
from django_asgi_bridge.threads.pool import PoolStats, WorkerPool
from django_asgi_bridge.threads.worker import PINS_CURSOR, PINS_NOTHING, PINS_STATE

__all__ = (
    "PINS_CURSOR",
    "PINS_NOTHING",
    "PINS_STATE",
    "Lease",
    "PoolStats",
    "Postponed",
    "WorkerPool",
    "call_async",
    "current_lease",
    "detached_here",
    "detached_tasks",
    "drive",
    "ended",
    "ensured_lease",
    "get_pool",
    "go_on",
    "hand_on",
    "lease_of_context",
    "new_handler_lease",
    "new_lease",
    "raising",
    "run_apart",
    "run_sync",
    "start_task",
    "tail_call",
    "was_left",
)

_R = TypeVar("_R")

_lock = threading.Lock()
_pool: WorkerPool | None = None
_is_fork_watched = False


def get_pool() -> WorkerPool:
    """Return this process's pool of worker threads; made at first use.

    A forked child gets a pool of its own.
    """
    global _is_fork_watched, _pool
    if _pool is None:
        with _lock:
            if _pool is None:
                config = get_config()
                _pool = WorkerPool(
                    threads=config.threads,
                    max_threads=config.max_threads,
                    max_queue=config.max_queue,
                    idle_timeout=config.thread_idle_timeout,
                    has_open_work=connections.has_open_work,
                    clean_until=connections.clean_until,
                    on_thread_end=connections.close_all,
                )
            if not _is_fork_watched and hasattr(os, "register_at_fork"):
                os.register_at_fork(after_in_child=_forget_pool)
                _is_fork_watched = True
    return _pool


def new_lease(
    on_attach: Callable[[], None] = connections.forget_checks,
    on_detach: Callable[[], None] | None = None,
) -> Lease:
    """Return a lease on the process's pool; it has no worker yet.

    Args:
        on_attach: called on its worker before its first call. The lease before may
            have left the look at the connections to this one.
        on_detach: called there after the last one.
    """
    config = get_config()
    pool = _pool or get_pool()
    if pool.is_closed:
        pool.reopen()
    return Lease(pool, config.queue_timeout, config.detach_after, on_attach, on_detach)


def new_handler_lease(*, is_refusable: bool = False) -> Lease:
    """Return a lease for one consumer handler; it has no worker yet.

    Its calls wait for a worker as long as it takes: what bounds them is the inbox
    that the handlers are fed from.

    Args:
        is_refusable: they do not: a client waits for the handshake. ``PoolBusy``
            comes after ``ASGI_BRIDGE["QUEUE_TIMEOUT"]``, as in a request.
    """
    lease = new_lease(on_detach=connections.leave_clean)
    lease.is_patient = True
    lease.is_refusable = is_refusable
    return lease


class ensured_lease:  # noqa: N801 - used like a function
    """Let the sync code of a connection run on leased workers, inside the block.

    Does nothing where the context has a lease. Else each call gets a worker for
    itself alone, so that one connection's code does not wait for another's. The block
    is given the lease that was made, if one was.

    Args:
        is_refusable: see ``new_handler_lease()``.
    """

    # No generator: one of these is kept as long as a connection lives.
    __slots__ = ("_caller", "_is_refusable")

    def __init__(self, *, is_refusable: bool = False) -> None:
        self._is_refusable = is_refusable
        self._caller: LeaseOfCaller | None = None

    def __enter__(self) -> Lease | None:
        if lease_of_context() is not None:
            return None
        lease = new_handler_lease(is_refusable=self._is_refusable)
        lease.is_closed = True
        self._caller = LeaseOfCaller()
        lease.enter(follows_loop=True)
        return lease

    def __exit__(self, *exc: object) -> None:
        if self._caller is not None:
            self._caller.restore()


async def run_apart(fn: Callable[..., _R], *args: Any) -> _R:
    """Call a blocking function on any worker thread, in no particular context.

    For work that belongs to no request's thread, such as a write to a file. A
    cancellation waits for a call that has begun.
    """
    lease = new_lease(on_detach=connections.leave_clean)
    lease.is_closed = True
    job = functools.partial(fn, *args)
    future: asyncio.Future[_R] = lease.submit_call(job)
    postponed = await ended(future)
    postponed.pass_on()
    return future.result()


async def run_sync(fn: Callable[..., _R], *args: Any, **kwargs: Any) -> _R:
    """Call a blocking function on the current request's worker thread.

    Context variables and asgiref ``Local`` values are carried both ways. Outside
    a request of ours it runs where ``asgiref.sync.sync_to_async`` runs it.
    """
    return await sync_to_async(fn, thread_sensitive=True)(*args, **kwargs)


def call_async(make: Callable[..., Coroutine[Any, Any, _R]], *args: Any) -> _R:
    """Run a coroutine on the event loop and wait for it, from sync code.

    The loop is that of the request or connection that the caller works for; where
    there is none, a loop of its own, as ``asgiref.sync.async_to_sync`` does.

    Raises:
        RuntimeError: the caller runs on an event loop's own thread.
    """
    lease = lease_of_context()
    if lease is None:
        return async_to_sync(make)(*args)
    return lease.call_async(make, *args)


def _forget_pool() -> None:
    global _lock, _pool
    _lock = threading.Lock()
    _pool = None
