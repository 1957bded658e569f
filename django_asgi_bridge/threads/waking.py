"""Waking those who wait: event loops from other threads, and workers for their jobs.

Each call of ``call_soon_threadsafe`` costs a system call and a handle; what is told
to a loop before it comes to look shares one.

Sleeping workers are woken one after the other: a job that falls to a sleeper while
another one is still waking stays with it unannounced; the one that wakes wakes the
next before it starts its own job; and a worker that gets free first takes the job
over. So a burst of short jobs is done by few threads, and a job that blocks keeps
nobody waiting.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from django_asgi_bridge.threads.worker import PoolLease, Worker

if TYPE_CHECKING:
    from django_asgi_bridge.threads.worker import Job

__all__ = ("LoopBell", "Sleepers", "bell_of_loop")


class LoopBell:
    """Calls functions on an event loop's own thread, as many at a time as there are.

    Args:
        loop: whose thread it is.
    """

    __slots__ = ("_calls", "_is_rung", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._calls: deque[Callable[[], None]] = deque()
        self._is_rung = False

    def call(self, function: Callable[[], None]) -> None:
        """Call ``function``, which never raises, on the loop soon; from any thread.

        Where the loop was closed nobody waits any more, and nothing happens.
        """
        self._calls.append(function)
        if self._is_rung:
            return
        self._is_rung = True
        try:
            self.loop.call_soon_threadsafe(self._answer)
        except RuntimeError:
            self._calls.clear()

    def _answer(self) -> None:
        # In this order: whoever appends after the last look rings again.
        self._is_rung = False
        while self._calls:
            self._calls.popleft()()


def bell_of_loop(loop: asyncio.AbstractEventLoop) -> LoopBell:
    """Return the bell of a loop; called on its own thread."""
    bell = _here.bell
    if bell is None or bell.loop is not loop:
        bell = _here.bell = LoopBell(loop)
    return bell


class Sleepers:
    """The workers that have a job and do not run yet.

    It takes no lock: the pool holds its own.

    Attributes:
        waking: the one that was called and has not answered.
        unannounced: the others, with what they were given.
    """

    __slots__ = ("unannounced", "waking")

    def __init__(self) -> None:
        self.waking: Worker | None = None
        self.unannounced: deque[tuple[Worker, PoolLease, Job]] = deque()

    def give(self, worker: Worker, lease: PoolLease, job: Job) -> None:
        """Give a sleeping worker a job; it is woken when its turn comes."""
        if self.waking is None:
            self._call(worker, lease, job)
        else:
            self.unannounced.append((worker, lease, job))

    def woke(self) -> None:
        """Note that the waking worker is awake; the next one is called."""
        self.waking = None
        if self.unannounced:
            self._call(*self.unannounced.popleft())

    def relieve(self, worker: Worker) -> Worker:
        """Give the job of one that still sleeps to ``worker``; return the sleeper."""
        sleeper, lease, job = self.unannounced.popleft()
        lease.worker = worker
        worker.has_to_attach = True
        worker.inbox.put((lease, job))
        return sleeper

    def _call(self, worker: Worker, lease: PoolLease, job: Job) -> None:
        self.waking = worker
        worker.inbox.put((lease, job))


class _Here(threading.local):
    bell: LoopBell | None = None


_here = _Here()
