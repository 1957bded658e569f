"""One worker thread, what it is given to do, and for whom.

A worker takes one job after the other from its inbox; each belongs to a lease.
It asks its scheduler, the pool, what comes next, and knows nothing of other
workers, event loops or databases.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

__all__ = (
    "PINS_CURSOR",
    "PINS_NOTHING",
    "PINS_STATE",
    "Farewell",
    "PoolLease",
    "Worker",
)

_R = TypeVar("_R")

logger = logging.getLogger("django_asgi_bridge.threads")


PINS_NOTHING: Final = 0
"""A call that leaves nothing behind on its thread."""

PINS_STATE: Final = 1
"""Unknown code: it may keep thread-locals, so the lease keeps its thread."""

PINS_CURSOR: Final = 2
"""An iteration over an open cursor: the connection must stay as it is."""


if TYPE_CHECKING:
    # At each start a ``Protocol`` takes as long as a module.

    class Job(Protocol):
        """One call that a worker makes."""

        @property
        def resumes(self) -> object | None:
            """What ``park()`` was given, if this ends that wait and is not a call."""

        @property
        def is_patient(self) -> bool:
            """Does it wait for a worker as long as it takes, and is never refused?"""

        @property
        def pins(self) -> int:
            """What it may leave on its thread: one of the ``PINS_*`` numbers."""

        @property
        def is_cursor_open(self) -> Callable[[], bool] | None:
            """For ``PINS_CURSOR``: tells whether that iteration is still under way."""

        def execute(self) -> None:
            """Make the call on the worker's thread and keep its outcome; never raises."""

        def deliver(self) -> None:
            """Hand the outcome to whoever waits for it."""

        def refuse(self, error: BaseException) -> None:
            """Tell whoever waits that the call will not be made."""

    class Scheduler(Protocol):
        """What a worker asks the pool; the pool's lock is not held."""

        idle_timeout: float
        has_open_work: Callable[[], bool]
        clean_until: Callable[[], tuple[float, bool]]
        on_thread_end: Callable[[], None]

        def job_done(self, lease: PoolLease, *, has_detached: bool) -> Job | None:
            """Note that a job ended; return the next one that the same worker runs.

            Args:
                has_detached: ``on_detach`` was called after it.
            """

        def woke(self, worker: Worker) -> None:
            """Note that a worker has got what it was called for."""

        def retire(self, worker: Worker) -> bool:
            """Let an idle worker end; tell whether it still was idle."""

        def ended(self, worker: Worker) -> None:
            """Forget a thread that is about to end."""


class Farewell:
    """The last job of a lease: its worker detaches, nothing else.

    The job before did not know that it was the last call.
    """

    __slots__ = ()

    resumes = None
    is_patient = True
    pins = PINS_NOTHING
    is_cursor_open = None

    def execute(self) -> None:
        """Do nothing."""

    def deliver(self) -> None:
        """Do nothing: nobody waits."""

    def refuse(self, error: BaseException) -> None:
        """Do nothing: nobody waits."""


class PoolLease:
    """One request's hold on the pool: at most one worker, one running job.

    Args:
        on_attach: called on a worker before the first job that it runs for this
            lease.
        on_detach: called on a worker after the last one. A worker that is taken
            back, or given back, while nothing is left on it goes to its next lease
            without.
    """

    __slots__ = (
        "active",
        "clean_until",
        "cursors",
        "gave_way",
        "has_open_work",
        "is_closed",
        "is_per_call",
        "is_pinned",
        "is_waiting",
        "may_move",
        "on_attach",
        "on_detach",
        "parked",
        "pending",
        "worker",
    )

    def __init__(
        self,
        on_attach: Callable[[], None] | None = None,
        on_detach: Callable[[], None] | None = None,
    ) -> None:
        self.on_attach = on_attach
        self.on_detach = on_detach
        self.worker: Worker | None = None
        self.active: Job | None = None
        # Most leases queue, park and iterate nothing: no list is made for them.
        self.pending: list[Job] | tuple[()] = ()
        # What the jobs that wait on the worker wait for, the innermost last.
        self.parked: tuple[object, ...] = ()
        self.is_waiting = False
        # Something on the thread must not be lost before the lease ends.
        self.is_pinned = False
        # Iterations over open cursors; each tells whether it still is one.
        self.cursors: tuple[Callable[[], bool], ...] = ()
        # The thread is inside a transaction.
        self.has_open_work = False
        # When `on_detach` will next have something to do on the thread, by the clock
        # `time.monotonic()`; and whether another thread may make its next call.
        self.clean_until = 0.0
        self.may_move = False
        # Its worker went to another lease's call, between two of its own.
        self.gave_way = False
        # The worker goes back after each call that pins nothing.
        self.is_per_call = False
        # The request is over; a late call gets a worker for itself alone.
        self.is_closed = False

    def queue(self, job: Job) -> None:
        """Put ``job`` behind those that wait for their turn."""
        if self.pending:
            self.pending.append(job)
        else:
            self.pending = [job]

    def unqueue(self, job: Job) -> bool:
        """Take ``job`` out of the queue; tell whether it was there."""
        if self.pending and job in self.pending:
            self.pending.remove(job)
            return True
        return False

    def may_run(self, job: Job) -> bool:
        """Tell whether the worker may take ``job`` now, if it runs none.

        The end of an outer wait has to let the inner one end first: both are on
        one thread's stack.
        """
        awaited = job.resumes
        return awaited is None or bool(self.parked and awaited is self.parked[-1])

    def next_job(self) -> Job | None:
        """Return the first pending job that may run now."""
        for job in self.pending:
            if self.may_run(job):
                return job
        return None

    def queue_farewell(self) -> None:
        """Let a closed lease end whose last job has not detached, unless others do."""
        if not self.pending and not self.parked and self.on_detach is not None:
            self.queue(Farewell())

    def note(self, job: Job, has_open_work: bool) -> None:
        """Note what ``job`` left on the thread; on the worker, as it ends."""
        self.has_open_work = has_open_work
        if job.pins == PINS_CURSOR and job.is_cursor_open is not None:
            self.cursors = (*self.cursors, job.is_cursor_open)
        elif job.pins >= (PINS_CURSOR if self.is_per_call else PINS_STATE):
            self.is_pinned = True
        if self.cursors:
            self.cursors = tuple(is_open for is_open in self.cursors if is_open())

    def is_held(self) -> bool:
        """Tell whether the worker holds something that the lease still needs."""
        return self.is_pinned or self.has_open_work or bool(self.cursors)

    def is_clean(self) -> bool:
        """Tell whether its worker can go on to another lease as it is."""
        if self.worker is None:
            return True
        is_at_work = self.is_waiting or self.parked or self.active is not None
        return (
            not is_at_work
            and not self.is_held()
            and self.clean_until > time.monotonic()
        )

    def keeps_worker(self) -> bool:
        """Tell whether the worker stays with the lease between two jobs."""
        return not self.is_closed and (not self.is_per_call or self.is_held())


class Worker(threading.Thread):
    """One thread of the pool.

    Args:
        pool: what it asks for its next job.
        number: for its name.
    """

    def __init__(self, pool: Scheduler, number: int) -> None:
        # A daemon, so that a stuck view cannot keep the process from ending;
        # the pool joins its idle workers at exit.
        super().__init__(name=f"django-asgi-bridge-{number}", daemon=True)
        self.pool = pool
        self.inbox: SimpleQueue[tuple[PoolLease, Job] | None] = SimpleQueue()
        self.has_to_attach = True

    def run(self) -> None:
        """Take jobs until the pool says stop or nothing came for long enough."""
        pool = self.pool
        try:
            while True:
                try:
                    item = self.inbox.get(timeout=pool.idle_timeout)
                except Empty:
                    if pool.retire(self):
                        return
                    continue
                if item is None:
                    return
                pool.woke(self)
                self._run_jobs(*item)
                del item
        finally:
            _call(pool.on_thread_end)
            pool.ended(self)

    def serve_until_resumed(self) -> None:
        """Run nested jobs until the job comes that ends the innermost wait."""
        while True:
            item = self.inbox.get()
            # None, the end, is said only to workers that no lease has.
            if item is not None:
                lease, job = item
                del item
                if self._run_jobs(lease, job):
                    return

    def _run_jobs(self, lease: PoolLease, job: Job) -> bool:
        """Run a job and those that queued behind it; tell whether one was a resume."""
        pool = self.pool
        following: Job | None = job
        while following is not None:
            job = following
            if job.resumes is not None:
                return True
            if self.has_to_attach:
                self.has_to_attach = False
                _call(lease.on_attach)
            job.execute()
            is_last = lease.is_closed
            if not is_last:
                # Else nothing is kept, and nobody asks what it was.
                # What cannot be told counts as open: the worker stays where it is.
                lease.note(job, _call(pool.has_open_work) is not False)
                is_last = not lease.keeps_worker()
                look = _call(pool.clean_until) or (0.0, False)
                lease.clean_until, lease.may_move = look
            if is_last and not lease.parked:
                _call(lease.on_detach)
            following = pool.job_done(lease, has_detached=is_last)
            job.deliver()
        return False


def _call(hook: Callable[[], _R] | None) -> _R | None:
    """Call a hook that must not take the worker down with it."""
    if hook is None:
        return None
    try:
        return hook()
    except Exception:
        logger.exception("a hook of the worker threads failed")
        return None
