"""Transactions and queries from async code.

The connection of a request belongs to its leased worker thread, so a transaction
is a worker that is held.
"""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

from asgiref.sync import SyncToAsync, sync_to_async
from django.db import close_old_connections, connections, transaction

from django_asgi_bridge.threads import Lease, ended, lease_of_context

__all__ = (
    "DatabaseSyncToAsync",
    "aclose_old_connections",
    "atomic",
    "atomic_view",
    "database_sync_to_async",
)


class atomic:  # noqa: N801 - Django's name for it
    """``async with atomic():`` runs the block's queries in one transaction.

    The block holds the request's worker thread and connection to its end, and
    belongs to the task that entered it: a query from another task of the same
    request inside the block raises ``RuntimeError``. Blocks may be nested, as
    savepoints. An exception, a cancellation included, rolls back.

    Args:
        using: alias of the database.
        savepoint: make a savepoint when nested.
        durable: refuse to be nested.

    Raises:
        RuntimeError: another task is inside a block of the same request.
    """

    def __init__(
        self, using: str | None = None, savepoint: bool = True, durable: bool = False
    ) -> None:
        self._block = transaction.atomic(
            using=using, savepoint=savepoint, durable=durable
        )
        self._is_outermost = False

    async def __aenter__(self) -> Self:
        lease = lease_of_context()
        entry = _Entry(self._block.__enter__)
        if lease is None:
            await self._enter(entry, asyncio.ensure_future(entry.made()), lease)
            return self
        lease.require_atomic_task()
        owner = lease.atomic_task
        lease.atomic_task = entering = asyncio.ensure_future(entry.made())
        try:
            await self._enter(entry, entering, lease)
        except BaseException:
            lease.atomic_task = owner
            raise
        self._is_outermost = owner is None
        lease.atomic_task = owner or asyncio.current_task()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lease = lease_of_context()
        leaving = asyncio.ensure_future(self._leave(kind, error, traceback))
        if lease is None:
            postponed = await ended(leaving)
        else:
            owner = lease.atomic_task
            # The queries of other tasks are refused until the block is left.
            lease.atomic_task = leaving
            postponed = await ended(leaving)
            lease.atomic_task = None if self._is_outermost else owner
        leaving.result()
        postponed.pass_on()

    async def _enter(
        self,
        entry: _Entry,
        entering: asyncio.Task[None],
        lease: Lease | None,
    ) -> None:
        """Enter wholly or not at all, even if the task is cancelled meanwhile.

        Left half-way, everything that follows on this connection would be inside a
        transaction that nobody commits.
        """
        try:
            await asyncio.wait([entering])
        except asyncio.CancelledError as cancelled:
            if entry.decide():
                entering.cancel()
                raise
            await ended(entering)
            if not entering.cancelled() and entering.exception() is None:
                undo = self._leave(type(cancelled), cancelled, None)
                leaving = asyncio.ensure_future(undo)
                if lease is not None:
                    lease.atomic_task = leaving
                await ended(leaving)
            raise
        entering.result()

    async def _leave(self, *reason: Any) -> None:
        await sync_to_async(self._block.__exit__)(*reason)


class _Entry:
    """A call that is made or given up, whichever is decided first."""

    __slots__ = ("_call", "_is_decided", "_lock")

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._is_decided = False

    async def made(self) -> None:
        """Make the call where sync code runs."""
        await sync_to_async(self._make)()

    def decide(self) -> bool:
        """Tell whether the caller is the first, who decides."""
        with self._lock:
            is_first = not self._is_decided
            self._is_decided = True
        return is_first

    def _make(self) -> None:
        if self.decide():
            self._call()


def atomic_view(view: Any) -> Any:
    """Wrap an async view in a transaction of each ``ATOMIC_REQUESTS`` database.

    Databases that ``@non_atomic_requests`` exempts are left out.
    """
    exempt: set[str] = getattr(view, "_non_atomic_requests", set())
    aliases = [
        alias
        for alias, options in connections.settings.items()
        if options["ATOMIC_REQUESTS"] and alias not in exempt
    ]
    if not aliases:
        return view

    @functools.wraps(view)
    async def atomic_view(*args: Any, **kwargs: Any) -> Any:
        async with AsyncExitStack() as stack:
            for alias in aliases:
                await stack.enter_async_context(atomic(using=alias))
            return await view(*args, **kwargs)

    return atomic_view


class DatabaseSyncToAsync(SyncToAsync):  # type: ignore[type-arg] # as Channels' class
    """``sync_to_async`` for code that uses the database; also a decorator.

    The call runs on the worker thread of the request or connection it belongs to,
    between two looks for connections that are too old or broken.
    """

    def thread_handler(self, loop: Any, *args: Any, **kwargs: Any) -> Any:
        """Make the call, on the worker; see asgiref."""
        _close_old_connections()
        try:
            handle: Any = super().thread_handler
            return handle(loop, *args, **kwargs)
        finally:
            _close_old_connections()


# Used as a function and as a decorator, under this name.
database_sync_to_async = DatabaseSyncToAsync


async def aclose_old_connections() -> None:
    """Close connections that are too old or broken, where sync code runs."""
    await sync_to_async(_close_old_connections)()


def _close_old_connections() -> None:
    """Close connections that are too old or broken, but none in mid-transaction.

    Django closes a connection without autocommit, since between requests somebody
    forgot to restore it. Here it is in use: by the test, or by an ``atomic()`` block
    around several calls.
    """
    if not any(each.in_atomic_block for each in connections.all(initialized_only=True)):
        close_old_connections()
