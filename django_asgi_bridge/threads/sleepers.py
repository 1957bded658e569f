"""In which order sleeping workers are woken for the jobs that they were given.

One after the other: a job that falls to a sleeper while another one is still waking
stays with it unannounced; the one that wakes wakes the next before it starts its own
job; and a worker that gets free first takes the job over. So a burst of short jobs
is done by few threads, and a job that blocks keeps nobody waiting.

Nothing here takes a lock: the pool holds its own.
"""

from collections import deque
from typing import TYPE_CHECKING

from django_asgi_bridge.threads.worker import PoolLease, Worker

if TYPE_CHECKING:
    from django_asgi_bridge.threads.worker import Job

__all__ = ("Sleepers",)


class Sleepers:
    """The workers that have a job and do not run yet.

    Attributes:
        waking: the one that was called and has not answered.
        unannounced: the others, with what they were given.
    """

    __slots__ = ("unannounced", "waking")

    def __init__(self) -> None:
        self.waking: Worker | None = None
        self.unannounced: deque[tuple[Worker, PoolLease, Job]] = deque()

    def give(self, worker: Worker, lease: PoolLease, job: "Job") -> None:
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

    def _call(self, worker: Worker, lease: PoolLease, job: "Job") -> None:
        self.waking = worker
        worker.inbox.put((lease, job))
