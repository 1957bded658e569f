"""What becomes of the worker threads when their process ends or forks."""

from __future__ import annotations

import atexit
import os
import weakref
from typing import TYPE_CHECKING, Protocol

__all__ = ("watch_process",)


if TYPE_CHECKING:
    # As in ``worker``: not at each start.

    class _Pool(Protocol):
        """What is asked of a pool."""

        is_parents: bool

        def shutdown(self, timeout: float) -> None:
            """End its threads."""


_pools: weakref.WeakSet[_Pool] = weakref.WeakSet()
_is_watched = False


def watch_process(pool: _Pool) -> None:
    """Shut ``pool`` down when the process ends; tell it in a forked child."""
    global _is_watched
    _pools.add(pool)
    if not _is_watched:
        _is_watched = True
        atexit.register(_shut_down)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=_disown)


def _disown() -> None:
    """Note that a forked child has none of its parent's threads."""
    for pool in list(_pools):
        pool.is_parents = True


def _shut_down() -> None:
    for pool in list(_pools):
        if not pool.is_parents:
            pool.shutdown(timeout=1.0)
