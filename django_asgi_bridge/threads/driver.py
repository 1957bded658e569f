"""Running a coroutine in a context of its own, with trips to a worker on the way.

``drive(context, coroutine)`` steps a coroutine inside ``context``, in the task
that awaits it. When the coroutine awaits a ``Trip``, the driver leaves the
context and lets a worker thread enter that same ``Context`` object. So both
sides share one context: what a sync middleware sets, the async view sees, a token
made on one side is valid on the other, and nothing is copied.

While a worker is inside a context the driver must not step the coroutine. That
decides what a cancellation does: a trip that has not started is withdrawn; for a
running one the driver waits, ``detach_after`` seconds at most, and then leaves
the rest of the coroutine to a background task.
"""

import asyncio
import contextvars
import logging
import sys
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.hold import Hold
from django_asgi_bridge.threads.jobs import ResumeJob, TripJob
from django_asgi_bridge.threads.locals import rehome_locals

__all__ = ("Trip", "detached_tasks", "drive")


class Trip:
    """Awaited by a driven coroutine: call ``fn`` on the lease's worker."""

    __slots__ = ("args", "fn", "is_cleanup", "lease", "pins")

    def __init__(
        self,
        lease: Hold,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        pins: int,
        is_cleanup: bool,
    ) -> None:
        self.lease = lease
        self.fn = fn
        self.args = args
        self.pins = pins
        self.is_cleanup = is_cleanup

    def __await__(self) -> Generator["Trip", Any, Any]:
        return (yield self)


class _Detached(BaseException):
    """The task leaves; ``remainder`` finishes what it leaves behind."""

    def __init__(self, remainder: "asyncio.Task[None]") -> None:
        super().__init__()
        self.remainder = remainder


logger = logging.getLogger("django_asgi_bridge.threads")

_STACK_LINES = 8
"""Innermost calls of a stuck thread that are logged."""

detached_tasks: "set[asyncio.Task[None]]" = set()
"""Background tasks that finish what cancelled requests left running."""


@types.coroutine
def drive(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    on_wait: Callable[[], None] | None = None,
) -> Generator[Any, Any, Any]:
    """Run ``coroutine`` inside ``context`` and return what it returns.

    Args:
        context: entered for each step of the coroutine and by its trips.
        coroutine: it may await ``Trip`` objects, directly or further down.
        on_wait: called once, before the coroutine waits for the first time.

    Raises:
        asyncio.CancelledError: the task was cancelled. The coroutine has seen it,
            or will see it in a background task once its running trip ends.
    """
    try:
        return (yield from _steps(context, coroutine, None, on_wait))
    except _Detached:
        raise asyncio.CancelledError from None


def _steps(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    error: BaseException | None,
    on_wait: Callable[[], None] | None,
) -> Generator[Any, Any, Any]:
    run: Callable[..., Any] = context.run
    send, throw = coroutine.send, coroutine.throw
    value: Any = None
    while True:
        try:
            if error is None:
                awaited = run(send, value)
            else:
                error, thrown = None, error
                awaited = run(throw, thrown)
                del thrown
        except StopIteration as stop:
            return stop.value
        value = None
        if on_wait is not None:
            on_wait()
            on_wait = None
        try:
            if type(awaited) is Trip:
                value = yield from _carry(context, awaited)
                run(rehome_locals)
            else:
                value = yield awaited
        except _Detached as left:
            raise _leave(_finish(context, coroutine, left.remainder)) from None
        except GeneratorExit:
            # The task is thrown away: nothing can be awaited any more.
            coroutine.close()
            raise
        except BaseException as raised:
            error = raised


def _carry(context: contextvars.Context, trip: Trip) -> Generator[Any, Any, Any]:
    """Take a trip to the worker and return what it brings back."""
    lease = trip.lease
    loop = asyncio.get_running_loop()
    is_patient = trip.is_cleanup or lease.is_patient
    job = TripJob(trip.fn, trip.args, context, loop, trip.pins, is_patient)
    job.waiter = loop.create_future()
    timer = None
    if lease.pool.submit(lease, job) and not is_patient:
        timer = loop.call_later(lease.queue_timeout, _expire, lease, job)
    try:
        cancelled = yield from _wait(lease, job)
    finally:
        if timer is not None:
            timer.cancel()
    if cancelled is not None:
        raise cancelled
    if job.error is not None:
        try:
            raise job.error
        finally:
            job.error = None
    return job.value


def _wait(
    lease: Hold, job: TripJob
) -> Generator[Any, Any, asyncio.CancelledError | None]:
    """Wait for a job's end, answer what it asks for; tell of a cancellation."""
    cancelled: asyncio.CancelledError | None = None
    patience: asyncio.TimerHandle | None = None
    try:
        while not job.is_done:
            try:
                yield from job.waiter  # type: ignore[misc]
            except asyncio.CancelledError as raised:
                if not job.is_patient and lease.pool.withdraw(lease, job):
                    raise
                if cancelled is not None:
                    # Cancelled twice: whoever did it will not wait.
                    raise _leave(_await_end(lease, job)) from None
                cancelled = raised
                patience = _be_patient(lease, job)
            job.waiter = job.loop.create_future()
            if job.callback is not None:
                try:
                    yield from _answer(lease, job, cancelled)
                except _Detached as left:
                    raise _leave(_await_end(lease, job, left.remainder)) from None
            elif job.is_overdue and not job.is_done:
                _report(lease)
                raise _leave(_await_end(lease, job))
    finally:
        if patience is not None:
            patience.cancel()
    return cancelled


def _be_patient(lease: Hold, job: TripJob) -> asyncio.TimerHandle:
    """Give a running call of a cancelled request some time to end."""
    # A sync view inside asgiref's async_to_sync: as asgiref does, cancel what it
    # waits for.
    for task in job.task_context[:1]:
        task.cancel()
    return job.loop.call_later(lease.detach_after, _lose_patience, job)


def _report(lease: Hold) -> None:
    """Log once what a worker does whose request was cancelled long ago."""
    ident = None if lease.worker is None else lease.worker.ident
    frame = None if ident is None else sys._current_frames().get(ident)
    logger.warning(
        "%s was cancelled %g s ago and its thread still runs; it is left to end by "
        "itself. Where it is:\n%s",
        lease.owner or "a call",
        lease.detach_after,
        "".join(traceback.format_stack(frame)[-_STACK_LINES:]) if frame else "unknown",
    )


def _lose_patience(job: TripJob) -> None:
    job.is_overdue = True
    job.wake()


def _leave(rest: Coroutine[Any, Any, None]) -> _Detached:
    return _Detached(_in_background(rest))


def _answer(
    lease: Hold, job: TripJob, cancelled: BaseException | None
) -> Generator[Any, Any, None]:
    """Run the coroutine that the worker asks for and give it the result."""
    call, job.callback = job.callback, None
    if call is None:  # pragma: no cover - the caller tested it
        return
    call.context.run(rehome_locals)
    try:
        call.value = yield from _steps(call.context, call.coroutine, cancelled, None)
    except _Detached:
        job.callback = call
        raise
    except BaseException as error:
        call.error = error
    lease.pool.submit(lease, ResumeJob(call))


async def _await_end(
    lease: Hold, job: TripJob, nested: "asyncio.Task[None] | None" = None
) -> None:
    """Wait in the background for a trip that its task has left."""
    if nested is not None:
        await asyncio.wait([nested])
        _refuse_callback(lease, job)
    while True:
        waiter = job.waiter = asyncio.get_running_loop().create_future()
        if job.is_done:
            return
        if job.callback is not None:
            _refuse_callback(lease, job)
        await waiter


def _refuse_callback(lease: Hold, job: TripJob) -> None:
    call, job.callback = job.callback, None
    if call is not None:
        call.coroutine.close()
        call.error = asyncio.CancelledError()
        lease.pool.submit(lease, ResumeJob(call))


async def _finish(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    trip_ended: "asyncio.Task[None]",
) -> None:
    """Go on with a coroutine in the background: it sees the cancellation now."""
    await asyncio.wait([trip_ended])
    try:
        await _resumed(context, coroutine)
    except (asyncio.CancelledError, PoolBusy):
        # Told to the server already, when its task left.
        return


@types.coroutine
def _resumed(
    context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]
) -> Generator[Any, Any, Any]:
    return (yield from _steps(context, coroutine, asyncio.CancelledError(), None))


def _expire(lease: Hold, job: TripJob) -> None:
    if lease.pool.withdraw(lease, job):
        job.refuse(lease.busy_error())


def _in_background(coroutine: Coroutine[Any, Any, None]) -> "asyncio.Task[None]":
    task = asyncio.get_running_loop().create_task(coroutine)
    detached_tasks.add(task)
    task.add_done_callback(detached_tasks.discard)
    return task
