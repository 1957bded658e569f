"""The worker threads: how many there are, who has which, who runs, who waits.

The pool only schedules. It never looks into a job, knows no event loop and no
database; what a worker does before its first job of a lease, and when it ends,
is handed in. Every method may be called from any thread.

Two numbers bound it. ``threads`` is how many jobs run at once (running slots).
``max_threads`` is how many threads exist. They differ because a lease may keep
its thread while its request waits on the event loop: then the thread is held and
the slot is free.
"""

from __future__ import annotations

import logging
import os
import threading
from collections import deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.process import watch_process
from django_asgi_bridge.threads.waking import Sleepers
from django_asgi_bridge.threads.worker import Farewell, PoolLease, Worker

if TYPE_CHECKING:
    from django_asgi_bridge.threads.worker import Job

__all__ = ("PoolStats", "WorkerPool")

logger = logging.getLogger("django_asgi_bridge.threads")


class PoolStats(SimpleNamespace):
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
        clean_until: asked there too: until when, by ``time.monotonic()``, would
            ``on_detach`` find nothing to do, and may the next call go elsewhere?
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
        clean_until: Callable[[], tuple[float, bool]] = lambda: (0.0, False),
        on_thread_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.threads = threads
        self.max_threads = max_threads
        self.max_queue = max_queue
        self.idle_timeout = idle_timeout
        self.has_open_work = has_open_work
        self.clean_until = clean_until
        self.on_thread_end = on_thread_end
        self._lock = threading.Lock()
        # Of the process whose threads they are.
        self.pid = os.getpid()
        # This process is a forked child of that one.
        self.is_parents = False
        self._started = 0
        self._workers: set[Worker] = set()
        # A stack: the worker used last is used next, so that the others and
        # their connections grow old and end.
        self._idle: list[Worker] = []
        self._sleepers = Sleepers()
        self._running = 0
        # Leases that hold a worker and wait only for a slot go first.
        self._resuming: deque[PoolLease] = deque()
        # Then those that gave their worker away between two calls.
        self._returning: deque[PoolLease] = deque()
        self._waiting: deque[PoolLease] = deque()
        self._queues = (self._resuming, self._returning, self._waiting)
        # Leases whose worker may be taken back, the least recently used first.
        self._idle_leases: dict[PoolLease, None] = {}
        self.is_closed = False
        self._trips = 0
        watch_process(self)

    def stats(self) -> PoolStats:
        """Return the counts of this moment."""
        with self._lock:
            return PoolStats(
                threads=len(self._workers),
                idle=len(self._idle),
                leased=len(self._workers) - len(self._idle),
                running=self._running,
                waiting=sum(map(len, self._queues)),
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
            RuntimeError: the pool is a parent process's; its threads are not here.
        """
        if self.is_parents:
            raise RuntimeError(
                f"these worker threads are those of process {self.pid}, and this "
                f"is its forked child {os.getpid()}: run code of the child in a "
                "context of its own, contextvars.Context().run(function)."
            )
        # Each request comes by here and by `job_done()`: "with" would take 0.2 us more.
        self._lock.acquire()
        try:
            is_busy = lease.is_waiting or lease.active is not None
            if is_busy or not (job.resumes is None or lease.may_run(job)):
                lease.queue(job)
                return lease.is_waiting
            # What is pending may not run yet: this job is the next one.
            if self._start(lease, job):
                return False
            is_new = lease.worker is None and not lease.gave_way
            if is_new and len(self._waiting) >= self.max_queue and not job.is_patient:
                raise PoolBusy(
                    f"{len(self._waiting)} requests wait for a worker thread "
                    f"already; ASGI_BRIDGE['MAX_QUEUE'] allows {self.max_queue}."
                )
            lease.queue(job)
            self._enqueue(lease)
            return True
        finally:
            self._lock.release()

    def withdraw(self, lease: PoolLease, job: Job) -> bool:
        """Take back a job that has not started; tell whether that was still so."""
        with self._lock:
            if not lease.unqueue(job):
                return False
            if lease.is_waiting and lease.next_job() is None:
                lease.is_waiting = False
                self._queue_of(lease).remove(lease)
                self._let_go(lease)
            return True

    def close(self, lease: PoolLease) -> None:
        """Give the lease's worker back, after what it still has to run.

        A job that is submitted later, by a task that outlived its request,
        leases a worker for itself alone.
        """
        lease.is_closed = True
        worker = lease.worker
        if worker is None:
            # One that it gets from now on goes back by itself, after its job.
            return
        with self._lock:
            if lease.worker is not worker or lease.parked:
                return
            is_free = lease.active is None and not lease.is_waiting
            if is_free and (lease.on_detach is None or lease.is_clean()):
                worker = self._take_from(lease)
                if self.is_closed:
                    worker.inbox.put(None)
                else:
                    self._idle.append(worker)
                self._start_waiting()
            if lease.on_detach is None or lease.worker is None:
                return
            farewell = Farewell()
            if is_free and self._start(lease, farewell):
                return
            lease.queue(farewell)
            if is_free:
                self._enqueue(lease)

    def park(self, lease: PoolLease, awaited: object) -> None:
        """Wait on the lease's worker for a resume job, running nested jobs meanwhile.

        Called on the worker itself, from inside a job; the slot is free meanwhile.

        Args:
            awaited: what the resume job names in ``resumes``.
        """
        worker = lease.worker
        if worker is None:  # pragma: no cover - a worker always holds its lease
            raise RuntimeError("only the worker of a lease can be parked")
        with self._lock:
            outer = lease.active
            lease.parked = (*lease.parked, awaited)
            self._running -= 1
            lease.active = None
            self._start_next(lease)
            self._start_waiting()
        worker.serve_until_resumed()
        with self._lock:
            lease.parked = lease.parked[:-1]
            lease.active = outer

    def shutdown(self, timeout: float = 5.0) -> None:
        """End the idle workers, and the others after their lease; then wait.

        Args:
            timeout: seconds to wait for each thread.
        """
        with self._lock:
            self.is_closed = True
            ending, self._idle = self._idle, []
        for worker in ending:
            worker.inbox.put(None)
        for worker in ending:
            if worker is not threading.current_thread():
                worker.join(timeout)

    def reopen(self) -> None:
        """Keep workers again, after a ``shutdown()`` that turned out not to be last."""
        if self.is_closed:
            with self._lock:
                self.is_closed = False

    # What a worker reports; the lock is not held.

    def job_done(self, lease: PoolLease, *, has_detached: bool) -> Job | None:
        """Note that a job ended; return the next one that the same worker runs."""
        self._lock.acquire()
        try:
            if lease.is_closed and not has_detached:
                lease.queue_farewell()
            following = lease.next_job() if lease.pending else None
            if following is not None and not self._resuming:
                self._trips += following.resumes is None
                lease.unqueue(following)
                lease.active = following
                return following
            lease.active = None
            self._running -= 1
            if following is not None:
                self._enqueue(lease)
            else:
                self._let_go(lease)
            if self._resuming or self._returning or self._waiting:
                self._start_waiting()
            return None
        finally:
            self._lock.release()

    def woke(self, worker: Worker) -> None:
        """Note that a worker has got what it was called for."""
        if self._sleepers.waking is worker:
            with self._lock:
                self._sleepers.woke()

    def retire(self, worker: Worker) -> bool:
        """Let an idle worker end; tell whether it still was idle."""
        with self._lock:
            if worker not in self._idle:
                return False
            self._idle.remove(worker)
            return True

    def ended(self, worker: Worker) -> None:
        """Forget a thread that is about to end."""
        with self._lock:
            self._workers.discard(worker)
            self._start_waiting()

    # The scheduler; the lock is held.

    def _enqueue(self, lease: PoolLease) -> None:
        lease.is_waiting = True
        self._queue_of(lease).append(lease)

    def _queue_of(self, lease: PoolLease) -> deque[PoolLease]:
        if lease.worker is not None:
            return self._resuming
        return self._returning if lease.gave_way else self._waiting

    def _start(self, lease: PoolLease, job: Job) -> bool:
        """Give a job, which is not queued, to the lease's worker; tell if one could."""
        if self._running >= self.threads:
            return False
        worker = lease.worker
        is_asleep = False
        if worker is not None:
            self._idle_leases.pop(lease, None)
        else:
            is_asleep = bool(self._idle)
            worker = self._idle.pop() if is_asleep else self._another_worker()
            if worker is None:
                return False
            worker.has_to_attach = True
            lease.worker = worker
        self._running += 1
        self._trips += job.resumes is None
        lease.active = job
        if is_asleep:
            self._sleepers.give(worker, lease, job)
        else:
            worker.inbox.put((lease, job))
        return True

    def _start_next(self, lease: PoolLease) -> bool:
        """Start the first of a lease's jobs that may run; tell whether it was."""
        job = lease.next_job()
        if job is None or not self._start(lease, job):
            return False
        lease.unqueue(job)
        return True

    def _another_worker(self) -> Worker | None:
        """Return a worker where none is idle, if there may be one."""
        worker = None
        if len(self._workers) < self.max_threads:
            worker = self._start_thread()
        if worker is None and self._idle_leases:
            worker = self._take_from(next(iter(self._idle_leases)))
        return worker

    def _start_thread(self) -> Worker | None:
        worker = Worker(self, self._started + 1)
        try:
            worker.start()
        except RuntimeError:
            # The system has no thread left: go on as if the pool were full.
            logger.exception("a worker thread could not be started")
            return None
        self._started += 1
        self._workers.add(worker)
        return worker

    def _let_go(self, lease: PoolLease) -> None:
        if lease.worker is None or lease.parked:
            return
        gives_way = self._sleepers.unannounced and lease.may_move and lease.is_clean()
        if gives_way or lease.is_closed or not lease.keeps_worker():
            # Its next call may go elsewhere: that takes less than to wake a thread.
            lease.gave_way = lease.gave_way or bool(gives_way)
            worker = self._take_from(lease)
            if self.is_closed:
                worker.inbox.put(None)
            elif self._sleepers.unannounced:
                self._idle.append(self._sleepers.relieve(worker))
            else:
                self._idle.append(worker)
        elif not lease.is_held():
            self._idle_leases[lease] = None

    def _take_from(self, lease: PoolLease) -> Worker:
        worker = lease.worker
        if worker is None:  # pragma: no cover - callers test it
            raise RuntimeError("the lease has no worker")
        lease.worker = None
        lease.is_pinned = lease.has_open_work = False
        lease.cursors = ()
        self._idle_leases.pop(lease, None)
        return worker

    def _start_waiting(self) -> None:
        for queue in self._queues:
            while queue and self._running < self.threads:
                lease = queue[0]
                if not self._start_next(lease):
                    return
                lease.is_waiting = False
                queue.popleft()
