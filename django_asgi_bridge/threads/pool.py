"""The worker threads: how many there are, who has which, who runs, who waits.

The pool only schedules. It never looks into a job, knows no event loop and no
database; what a worker does before its first job of a lease, and when it ends,
is handed in. Every method may be called from any thread.

Two numbers bound it. ``threads`` is how many jobs run at once (running slots).
``max_threads`` is how many threads exist. They differ because a lease may keep
its thread while its request waits on the event loop: then the thread is held and
the slot is free.
"""

import atexit
import logging
import os
import threading
import weakref
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Final, Protocol

from django_asgi_bridge.exceptions import PoolBusy

__all__ = (
    "PINS_CURSOR",
    "PINS_NOTHING",
    "PINS_STATE",
    "Job",
    "PoolLease",
    "PoolStats",
    "Worker",
    "WorkerPool",
)

logger = logging.getLogger("django_asgi_bridge.threads")


PINS_NOTHING: Final = 0
"""A call that leaves nothing behind on its thread."""

PINS_STATE: Final = 1
"""Unknown code: it may keep thread-locals, so the lease keeps its thread."""

PINS_CURSOR: Final = 2
"""An iteration over an open cursor: the connection must stay as it is."""


class Job(Protocol):
    """One call that a worker makes."""

    is_resume: bool
    """Ends the wait of a parked worker; it is not a call of its own."""

    is_patient: bool
    """Waits for a worker as long as it takes and is never refused."""

    pins: int
    """What it may leave on its thread: one of the ``PINS_*`` numbers."""

    def execute(self) -> None:
        """Make the call on the worker's thread and keep its outcome; never raises."""

    def deliver(self) -> None:
        """Hand the outcome to whoever waits for it."""

    def refuse(self, error: BaseException) -> None:
        """Tell whoever waits that the call will not be made."""


class PoolLease:
    """One request's hold on the pool: at most one worker, one running job."""

    __slots__ = (
        "__weakref__",
        "active",
        "has_open_work",
        "is_closed",
        "is_per_call",
        "is_pinned",
        "is_waiting",
        "on_attach",
        "on_detach",
        "parked",
        "pending",
        "pool",
        "worker",
    )

    def __init__(
        self,
        pool: "WorkerPool",
        on_attach: Callable[[], None] | None = None,
        on_detach: Callable[[], None] | None = None,
    ) -> None:
        self.pool = pool
        self.on_attach = on_attach
        self.on_detach = on_detach
        self.worker: Worker | None = None
        self.active: Job | None = None
        self.pending: deque[Job] = deque()
        self.parked = 0
        self.is_waiting = False
        # Something on the thread must not be lost before the lease ends.
        self.is_pinned = False
        # The thread is inside a transaction.
        self.has_open_work = False
        # The worker goes back after each call that pins nothing.
        self.is_per_call = False
        # The request is over; a late call gets a worker for itself alone.
        self.is_closed = False

    def keeps(self, job: Job, has_open_work: bool) -> bool:
        """Tell whether the worker stays with the lease after ``job``."""
        if self.is_closed:
            return False
        if self.is_per_call:
            return has_open_work or self.is_pinned or job.pins >= PINS_CURSOR
        return True


@dataclass(frozen=True, slots=True)
class PoolStats:
    """What the pool does at one moment.

    Attributes:
        threads: worker threads that exist.
        idle: of these, the ones that no lease holds.
        leased: of these, the ones that a lease holds.
        running: jobs that run now.
        waiting: leases that wait for a worker or a slot.
        started_total: threads started since the pool was made.
        trips_total: jobs that workers took since the pool was made.
    """

    threads: int
    idle: int
    leased: int
    running: int
    waiting: int
    started_total: int
    trips_total: int


class WorkerPool:
    """Long-lived worker threads, leased to requests.

    Args:
        threads: jobs that may run at once.
        max_threads: threads that may exist.
        max_queue: leases that may wait for a thread; the next one is refused.
        idle_timeout: seconds after which an unused thread ends.
        has_open_work: asked on a worker after each job of a lease that is not over:
            is the thread inside a transaction?
        on_thread_end: called on a worker as its last act.
    """

    def __init__(
        self,
        *,
        threads: int,
        max_threads: int,
        max_queue: int,
        idle_timeout: float,
        has_open_work: Callable[[], bool] = lambda: False,
        on_thread_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.threads = threads
        self.max_threads = max_threads
        self.max_queue = max_queue
        self.idle_timeout = idle_timeout
        self.has_open_work = has_open_work
        self.on_thread_end = on_thread_end
        self._lock = threading.Lock()
        self._started = 0
        self._workers: set[Worker] = set()
        # A stack: the worker used last is used next, so that the others and
        # their connections grow old and end.
        self._idle: list[Worker] = []
        self._running = 0
        # Leases that hold a worker and wait only for a slot go first.
        self._resuming: deque[PoolLease] = deque()
        self._waiting: deque[PoolLease] = deque()
        # Leases whose worker may be taken back, the least recently used first.
        self._idle_leases: dict[PoolLease, None] = {}
        self._is_closed = False
        self._trips = 0
        _end_at_exit(self)

    def stats(self) -> PoolStats:
        """Return the counts of this moment."""
        with self._lock:
            return PoolStats(
                threads=len(self._workers),
                idle=len(self._idle),
                leased=len(self._workers) - len(self._idle),
                running=self._running,
                waiting=len(self._resuming) + len(self._waiting),
                started_total=self._started,
                trips_total=self._trips,
            )

    # What a lease asks for.

    def submit(self, lease: PoolLease, job: Job) -> bool:
        """Run ``job`` on the lease's worker as soon as there is one and a slot.

        Jobs of one lease run one at a time, in the order of their submission.

        Returns:
            Whether the job has to wait for a worker or a slot.

        Raises:
            PoolBusy: ``max_queue`` leases are waiting already.
        """
        with self._lock:
            lease.pending.append(job)
            if lease.active is not None or lease.is_waiting:
                return False
            if self._start(lease):
                return False
            if lease.worker is None and not job.is_patient:
                if len(self._waiting) >= self.max_queue:
                    lease.pending.pop()
                    raise PoolBusy(
                        f"{len(self._waiting)} requests wait for a worker thread "
                        f"already; ASGI_BRIDGE['MAX_QUEUE'] allows {self.max_queue}."
                    )
            lease.is_waiting = True
            (self._waiting if lease.worker is None else self._resuming).append(lease)
            return True

    def withdraw(self, lease: PoolLease, job: Job) -> bool:
        """Take back a job that has not started; tell whether that was still so."""
        with self._lock:
            try:
                lease.pending.remove(job)
            except ValueError:
                return False
            if lease.is_waiting and not lease.pending:
                lease.is_waiting = False
                queue = self._waiting if lease.worker is None else self._resuming
                queue.remove(lease)
                self._let_go(lease)
            return True

    def close(self, lease: PoolLease) -> None:
        """Give the lease's worker back, after what it still has to run.

        A job that is submitted later, by a task that outlived its request,
        leases a worker for itself alone.
        """
        with self._lock:
            lease.is_closed = True
            if lease.active is None and not lease.is_waiting and not lease.parked:
                self._let_go(lease)
                self._start_waiting()

    def park(self, lease: PoolLease) -> None:
        """Wait on the lease's worker for a resume job, running nested jobs meanwhile.

        Called on the worker itself, from inside a job. The slot is free while it
        waits.
        """
        worker = lease.worker
        if worker is None:  # pragma: no cover - a worker always holds its lease
            raise RuntimeError("only the worker of a lease can be parked")
        with self._lock:
            outer = lease.active
            lease.parked += 1
            self._running -= 1
            lease.active = None
            if lease.pending and self._running < self.threads:
                self._start(lease)
            self._start_waiting()
        worker.serve_until_resumed()
        with self._lock:
            lease.parked -= 1
            lease.active = outer

    def shutdown(self, timeout: float = 5.0) -> None:
        """End the idle workers, and the others after their lease; then wait.

        Args:
            timeout: seconds to wait for each thread.
        """
        with self._lock:
            self._is_closed = True
            ending = list(self._idle)
            self._idle.clear()
        for worker in ending:
            worker.inbox.put(None)
        for worker in ending:
            if worker is not threading.current_thread():
                worker.join(timeout)

    def reopen(self) -> None:
        """Keep workers again, after a ``shutdown()`` that turned out not to be last."""
        with self._lock:
            self._is_closed = False

    # What a worker reports; the lock is not held.

    def job_done(self, lease: PoolLease, job: Job, has_open_work: bool) -> Job | None:
        """Note that a job ended; return the next one that the same worker runs."""
        with self._lock:
            lease.has_open_work = has_open_work
            pinning = PINS_CURSOR if lease.is_per_call else PINS_STATE
            if job.pins >= pinning:
                lease.is_pinned = True
            if lease.pending and not self._resuming:
                self._trips += 1
                lease.active = lease.pending.popleft()
                return lease.active
            lease.active = None
            self._running -= 1
            if lease.pending:
                lease.is_waiting = True
                self._resuming.append(lease)
            else:
                self._let_go(lease)
            self._start_waiting()
            return None

    def retire(self, worker: "Worker") -> bool:
        """Let an idle worker end; tell whether it still was idle."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True

    def ended(self, worker: "Worker") -> None:
        """Forget a thread that is about to end."""
        with self._lock:
            self._workers.discard(worker)
            self._start_waiting()

    # The scheduler; the lock is held.

    def _start(self, lease: PoolLease) -> bool:
        if self._running >= self.threads:
            return False
        worker = lease.worker or self._attach(lease)
        if worker is None:
            return False
        self._running += 1
        self._trips += 1
        self._idle_leases.pop(lease, None)
        lease.is_waiting = False
        lease.active = lease.pending.popleft()
        worker.inbox.put((lease, lease.active))
        return True

    def _attach(self, lease: PoolLease) -> "Worker | None":
        if self._idle:
            worker = self._idle.pop()
        elif len(self._workers) < self.max_threads:
            worker = Worker(self, self._started + 1)
            try:
                worker.start()
            except RuntimeError:
                # The system has no thread left: wait as if the pool were full.
                logger.exception("a worker thread could not be started")
                return None
            self._started += 1
            self._workers.add(worker)
        elif self._idle_leases:
            self._detach(next(iter(self._idle_leases)))
            worker = self._idle.pop()
        else:
            return None
        worker.has_to_attach = True
        lease.worker = worker
        return worker

    def _let_go(self, lease: PoolLease) -> None:
        if lease.worker is None or lease.parked:
            return
        is_pinned = lease.is_pinned or lease.has_open_work
        if lease.is_closed or (lease.is_per_call and not is_pinned):
            self._detach(lease)
        elif not is_pinned:
            self._idle_leases[lease] = None

    def _detach(self, lease: PoolLease) -> None:
        worker = lease.worker
        if worker is None:  # pragma: no cover - callers test it
            return
        lease.worker = None
        lease.is_pinned = lease.has_open_work = False
        self._idle_leases.pop(lease, None)
        if self._is_closed:
            worker.inbox.put(None)
        else:
            self._idle.append(worker)

    def _start_waiting(self) -> None:
        for queue in (self._resuming, self._waiting):
            while queue and self._running < self.threads:
                lease = queue[0]
                if not self._start(lease):
                    return
                queue.popleft()


class Worker(threading.Thread):
    """One thread of the pool."""

    def __init__(self, pool: WorkerPool, number: int) -> None:
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
                self._run_jobs(*item)
                del item
        finally:
            _call(pool.on_thread_end)
            pool.ended(self)

    def serve_until_resumed(self) -> None:
        """Run nested jobs until the resume job of the innermost wait comes."""
        while True:
            item = self.inbox.get()
            if item is None:
                # Told to end while a job is under way: end after it.
                self.inbox.put(None)
                continue
            lease, job = item
            del item
            if job.is_resume or self._run_jobs(lease, job):
                return

    def _run_jobs(self, lease: PoolLease, job: Job) -> bool:
        """Run a job and those that queued behind it; tell whether one was a resume."""
        pool = self.pool
        following: Job | None = job
        while following is not None:
            job = following
            if job.is_resume:
                return True
            if self.has_to_attach:
                self.has_to_attach = False
                _call(lease.on_attach)
            job.execute()
            has_open_work = not lease.is_closed and bool(_call(pool.has_open_work))
            if not lease.parked and not lease.keeps(job, has_open_work):
                _call(lease.on_detach)
            following = pool.job_done(lease, job, has_open_work)
            job.deliver()
        return False


def _call(hook: Callable[[], object] | None) -> object:
    """Call a hook that must not take the worker down with it."""
    if hook is None:
        return None
    try:
        return hook()
    except Exception:
        logger.exception("a hook of the worker threads failed")
        return None


_pools: "weakref.WeakSet[WorkerPool]" = weakref.WeakSet()


def _end_at_exit(pool: WorkerPool) -> None:
    if not _pools:
        atexit.register(_shutdown_pools, os.getpid())
    _pools.add(pool)


def _shutdown_pools(pid: int) -> None:
    if os.getpid() != pid:
        # A forked child has none of its parent's threads.
        return
    for pool in list(_pools):
        pool.shutdown(timeout=1.0)
