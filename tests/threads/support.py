"""What the tests of the worker threads share."""

import asyncio
import contextvars
import threading
from collections.abc import Callable, Coroutine
from typing import Any

from django_asgi_bridge.threads.driver import drive
from django_asgi_bridge.threads.lease import Lease
from django_asgi_bridge.threads.pool import WorkerPool
from django_asgi_bridge.threads.worker import PINS_STATE

# Seconds after which a test that hangs fails; nothing waits for it to pass.
WATCHDOG = 20.0

__all__ = (
    "WATCHDOG",
    "Call",
    "make_lease",
    "make_pool",
    "run",
    "served",
    "until",
    "wait",
    "wait_until_idle",
)


def wait(event: threading.Event) -> None:
    """Wait for ``event``, or fail."""
    assert event.wait(WATCHDOG), "the watchdog bit"


class Call:
    """A job whose start and end a test decides.

    Args:
        fn: what it does.
        is_gated: it does not end before ``gate`` is set.
    """

    def __init__(
        self,
        fn: Callable[[], Any] = lambda: None,
        *,
        is_gated: bool = False,
        pins: int = PINS_STATE,
        is_patient: bool = False,
        is_cursor_open: Callable[[], bool] | None = None,
        resumes: object | None = None,
    ) -> None:
        self.fn = fn
        self.pins = pins
        self.is_patient = is_patient
        self.is_cursor_open = is_cursor_open
        self.resumes = resumes
        self.gate = threading.Event()
        if not is_gated:
            self.gate.set()
        self.started = threading.Event()
        self.delivered = threading.Event()
        self.refusal: BaseException | None = None
        self.thread: threading.Thread | None = None
        self.executions = 0
        self.value: Any = None

    def execute(self) -> None:
        self.executions += 1
        self.thread = threading.current_thread()
        self.started.set()
        wait(self.gate)
        self.value = self.fn()

    def deliver(self) -> None:
        self.delivered.set()

    def refuse(self, error: BaseException) -> None:
        self.refusal = error


def make_pool(**options: Any) -> WorkerPool:
    """Return a pool of two running jobs and four threads, unless told otherwise."""
    defaults: dict[str, Any] = {
        "threads": 2,
        "max_threads": 4,
        "max_queue": 100,
        "idle_timeout": 600.0,
    }
    return WorkerPool(**{**defaults, **options})


def make_lease(pool: WorkerPool, **options: Any) -> Lease:
    """Return a lease that waits long."""
    defaults: dict[str, Any] = {"queue_timeout": WATCHDOG, "detach_after": WATCHDOG}
    return Lease(pool, **{**defaults, **options})


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop run until ``condition`` holds; the test's watchdog ends it."""
    while not condition():  # noqa: ASYNC110 - what is awaited has no event
        await asyncio.sleep(0)


def wait_until_idle(pool: WorkerPool) -> None:
    """Wait until no worker is leased: a job's outcome is told a moment earlier."""
    deadline = threading.Event()
    timer = threading.Timer(WATCHDOG, deadline.set)
    timer.start()
    try:
        while True:
            stats = pool.stats()
            if (stats.running, stats.waiting, stats.leased) == (0, 0, 0):
                return
            assert not deadline.is_set(), stats
    finally:
        timer.cancel()


def run(coroutine: Coroutine[Any, Any, Any], **options: Any) -> Any:
    """Run a coroutine to its end, under a watchdog."""

    async def watched() -> Any:
        async with asyncio.timeout(WATCHDOG):
            return await coroutine

    with asyncio.Runner(**options) as runner:
        return runner.run(watched())


async def served(
    pool: WorkerPool,
    request: Callable[[Lease], Coroutine[Any, Any, Any]],
    **options: Any,
) -> Any:
    """Do for ``request(lease)`` what the handler does for a request."""
    lease = make_lease(pool, **options)

    async def answer() -> Any:
        lease.enter()
        try:
            return await request(lease)
        finally:
            pool.close(lease)

    return await drive(contextvars.copy_context(), answer())
