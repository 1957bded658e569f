"""Transactions and queries from async code.

The connection of a request belongs to its leased worker thread, so a transaction
is a worker that is held.
"""

import asyncio
from types import TracebackType
from typing import Self

from asgiref.sync import sync_to_async
from django.db import transaction

from django_asgi_bridge.threads import lease_of_context

__all__ = ("atomic",)


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
        await sync_to_async(self._block.__enter__)()
        if lease is not None and lease.atomic_task is None:
            lease.atomic_task = asyncio.current_task()
            self._is_outermost = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        lease = lease_of_context()
        owner = None if lease is None else lease.atomic_task
        if lease is not None:
            # The task below is not the owner.
            lease.atomic_task = None
        leave = sync_to_async(self._block.__exit__)
        try:
            await _uninterrupted(leave(kind, error, traceback))
        finally:
            if lease is not None and not self._is_outermost:
                lease.atomic_task = owner


async def _uninterrupted(call: object) -> None:
    """Await to the end, then pass on a cancellation that came meanwhile.

    Without it a cancelled task would leave the transaction open.
    """
    task = asyncio.ensure_future(call)  # type: ignore[arg-type,var-annotated]
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as raised:
            if task.cancelled():
                raise
            cancelled = raised
        except Exception:
            break
    task.result()
    if cancelled is not None:
        raise cancelled
