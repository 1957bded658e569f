"""Cancellations that wait until what must happen has happened."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Any, Self

__all__ = ("Postponed", "ended")


class Postponed:
    """Keeps a cancellation back, for ``pass_on()`` to raise later.

    ``with`` a ``Postponed`` around each step that must not keep the next one from
    being made::

        postponed = Postponed()
        for step in steps:
            with postponed:
                await step()
        postponed.pass_on()
    """

    __slots__ = ("cancelled",)

    def __init__(self) -> None:
        self.cancelled: asyncio.CancelledError | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> bool:
        if not isinstance(error, asyncio.CancelledError):
            return False
        self.cancelled = error
        return True

    def pass_on(self) -> None:
        """Raise the cancellation that came meanwhile, if one did.

        Raises:
            asyncio.CancelledError: the last one that was kept back.
        """
        cancelled, self.cancelled = self.cancelled, None
        if cancelled is not None:
            raise cancelled


async def ended(future: asyncio.Future[Any]) -> Postponed:
    """Wait to the end of ``future``; return what cancelled the wait meanwhile."""
    postponed = Postponed()
    while not future.done():
        with postponed:
            await asyncio.wait([future])
    return postponed
