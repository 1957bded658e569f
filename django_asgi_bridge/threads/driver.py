"""Running a coroutine in a context of its own, with trips to a worker on the way.

``drive(context, coroutine)`` steps a coroutine inside ``context``, in the task
that awaits it. When the coroutine awaits a ``TripJob``, the driver leaves the
context and lets a worker thread enter that same ``Context`` object. So both
sides share one context: what a sync middleware sets, the async view sees, a token
made on one side is valid on the other, and nothing is copied.

While a worker is inside a context the driver must not step the coroutine. That
decides what a cancellation does:

- A trip that has not started is withdrawn.
- A running one is left when it does not end within ``detach_after`` seconds, or at
  the second cancellation: it runs on, and the coroutine sees the cancellation, in a
  copy of the context from then on. A trip that says ``is_leavable`` has a copy of
  its own from the start and is left at once.
- Clean-up waits for the calls that were left. After ``detach_after`` seconds the
  task leaves too, and the coroutine goes on in a background task.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import traceback
import types
from collections.abc import Callable, Coroutine, Generator
from typing import Any, Final

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.threads.hold import Hold
from django_asgi_bridge.threads.jobs import ResumeJob, TripJob, take_over
from django_asgi_bridge.threads.locals import rehome_locals
from django_asgi_bridge.threads.waking import bell_of_loop

__all__ = ("detached_here", "detached_tasks", "drive", "go_on")


class _Left(BaseException):
    """The coroutine does not wait for ``job`` any longer."""

    def __init__(
        self,
        job: TripJob,
        cancelled: BaseException | None,
        nested: asyncio.Task[None] | None = None,
    ) -> None:
        super().__init__()
        self.job = job
        self.cancelled = cancelled
        self.nested = nested


class _Detached(BaseException):
    """The task leaves; ``remainder`` finishes what it leaves behind."""

    def __init__(self, remainder: asyncio.Task[None]) -> None:
        super().__init__()
        self.remainder = remainder


logger = logging.getLogger("django_asgi_bridge.threads")

_NOTHING_YET: Final = object()

_STACK_LINES = 8
"""Innermost calls of a stuck thread that are logged."""

detached_tasks: set[asyncio.Task[None]] = set()
"""Background tasks that finish what cancelled requests left running."""


def detached_here() -> set[asyncio.Task[None]]:
    """Return the ``detached_tasks`` of the running loop.

    Those of a loop that was closed under them are forgotten: they never end.
    """
    loop = asyncio.get_running_loop()
    for task in list(detached_tasks):
        if task.get_loop().is_closed():
            detached_tasks.discard(task)
    return {task for task in detached_tasks if task.get_loop() is loop}


@types.coroutine
def drive(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    on_wait: Callable[[], None] | None = None,
    awaited: Any = _NOTHING_YET,
) -> Generator[Any, Any, Any]:
    """Run ``coroutine`` inside ``context`` and return what it returns.

    Args:
        context: entered for each step of the coroutine and by its trips.
        coroutine: it may await ``TripJob`` objects, directly or further down.
        on_wait: called once, before the coroutine waits for the first time.
        awaited: what it waits for, if its first step is done.

    Raises:
        asyncio.CancelledError: the task was cancelled; the coroutine did not recover.

    Returns:
        What the coroutine returns; None if its clean-up goes on in the background.
    """
    if awaited is _NOTHING_YET:
        try:
            awaited = context.run(coroutine.send, None)
        except StopIteration as stop:
            # It never waits: all of it has been done in this one step.
            return stop.value
        if on_wait is not None:
            on_wait()
    try:
        return (yield from go_on(context, coroutine, awaited))
    except _Detached:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise asyncio.CancelledError from None
        return None


@types.coroutine
def go_on(
    context: contextvars.Context,
    coroutine: Coroutine[Any, Any, Any],
    awaited: Any = _NOTHING_YET,
    *,
    error: BaseException | None = None,
    value: Any = None,
) -> Generator[Any, Any, Any]:
    """Step a coroutine to its end, inside ``context``, and return what it returns.

    Args:
        awaited: what it waits for; if that is nothing yet, ``error`` or ``value`` is
            what it gets first.
    """
    run: Callable[..., Any] = context.run
    send, throw = coroutine.send, coroutine.throw
    while True:
        if awaited is _NOTHING_YET:
            try:
                if error is None:
                    awaited = run(send, value)
                else:
                    error, thrown = None, error
                    try:
                        awaited = run(throw, thrown)
                    finally:
                        # Else its traceback would refer to itself.
                        del thrown
            except StopIteration as stop:
                return stop.value
        value = None
        try:
            if type(awaited) is TripJob:
                value = yield from _carry(context, awaited)
            else:
                value = yield awaited
        except _Left as left:
            context = _context_without(left, context, coroutine)
            run = context.run
            error = left.cancelled
        except GeneratorExit:
            # The task is thrown away: nothing can be awaited any more.
            coroutine.close()
            raise
        except BaseException as raised:
            error = raised
        awaited = _NOTHING_YET


def _context_without(
    left: _Left, context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]
) -> contextvars.Context:
    """Return the context in which ``coroutine`` goes on without a call that runs.

    Raises:
        _Detached: it does not go on in this task.
    """
    if left.job.is_patient:
        rest = _in_background(_finish(context, coroutine, left))
        raise _Detached(rest) from None
    if left.job.context is not context:
        _leave(left, left.job.lease.detach_after)
        return context
    _leave(left, 0.0)
    context = context.copy()
    context.run(rehome_locals, context)
    return context


def _carry(context: contextvars.Context, job: TripJob) -> Generator[Any, Any, Any]:
    """Take a trip to the worker and return what it brings back."""
    lease = job.lease
    loop = asyncio.get_running_loop()
    job.bell = bell_of_loop(loop)
    job.context = context.copy() if job.is_leavable else context
    job.waiter = loop.create_future()
    timer = None
    error: BaseException | None = None
    has_to_wait = lease.pool.submit(lease, job)
    if job.is_cleanup:
        if lease.is_left():
            timer = loop.call_at(lease.patience_ends, _lose_patience, job)
    elif has_to_wait and lease.is_refusable:
        timer = loop.call_later(lease.queue_timeout, _expire, job)
    try:
        try:
            yield from job.waiter
        except asyncio.CancelledError as cancelled:
            error = cancelled
        if error is not None or not job.is_done:
            error = yield from _wait(job, error)
        if job.is_leavable:
            context.run(take_over, job.context)
        context.run(rehome_locals, context)
        if error is None:
            error = job.error
        # Each refers to the other. Not in `finally`: a call that was left sets it later.
        job.error = None
        if error is not None:
            raise error
        return job.value
    finally:
        if timer is not None:
            timer.cancel()
        # It refers to this frame.
        error = None


def _wait(
    job: TripJob, raised: BaseException | None
) -> Generator[Any, Any, BaseException | None]:
    """Wait for a job's end, answer what it asks for; tell of a cancellation.

    Args:
        raised: a cancellation that came already.
    """
    lease, loop = job.lease, job.bell.loop
    cancelled: BaseException | None = None
    patience: asyncio.TimerHandle | None = None
    try:
        while True:
            if raised is not None:
                if not job.is_patient and lease.pool.withdraw(lease, job):
                    raise raised
                patience = _be_patient(job, raised, cancelled is not None)
                cancelled, raised = raised, None
            if job.is_done:
                return cancelled
            if job.callback is not None:
                try:
                    yield from _answer(job, cancelled)
                except _Detached as left:
                    reason = cancelled or asyncio.CancelledError()
                    raise _Left(job, reason, left.remainder) from None
            elif job.is_overdue:
                if not lease.is_reported:
                    _report(lease)
                raise _Left(job, cancelled)
            else:
                job.waiter = loop.create_future()
                try:
                    yield from job.waiter
                except asyncio.CancelledError as error:
                    raised = error
    finally:
        if patience is not None:
            patience.cancel()
        # They refer to this frame.
        raised = cancelled = None


def _be_patient(
    job: TripJob, cancelled: BaseException, is_second: bool
) -> asyncio.TimerHandle:
    """Give a running call of a cancelled request some time to end.

    Args:
        is_second: the request was cancelled before, during the same call.

    Raises:
        _Left: it is not waited for.
    """
    lease = job.lease
    # A sync view inside asgiref's async_to_sync: as asgiref does, cancel what it
    # waits for.
    for task in job.task_context[:1]:
        task.cancel()
    # Cancelled twice: whoever did it will not wait.
    is_second = is_second or (job.is_patient and lease.is_left())
    if (job.is_leavable or is_second) and not job.is_done:
        raise _Left(job, cancelled) from None
    return job.bell.loop.call_later(lease.detach_after, _lose_patience, job)


def _report(lease: Hold) -> None:
    """Log once what a worker does whose request was cancelled long ago."""
    lease.is_reported = True
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


def _leave(left: _Left, patience: float) -> None:
    """Let a running call end by itself; clean-up waits for it so many seconds."""
    job = left.job
    lease = job.lease
    job.is_left = True
    if not patience:
        # It was told when the time was over; at a second cancellation nobody asks.
        lease.is_reported = True
    end = _in_background(_await_end(job, left.nested))
    lease.leave(end, job.bell.loop.time() + patience)


def _answer(job: TripJob, cancelled: BaseException | None) -> Generator[Any, Any, None]:
    """Run the coroutine that the worker asks for and give it the result."""
    call, job.callback = job.callback, None
    if call is None:  # pragma: no cover - the caller tested it
        return
    call.context.run(rehome_locals, call.context)
    try:
        call.value = yield from go_on(call.context, call.coroutine, error=cancelled)
    except _Detached:
        job.callback = call
        raise
    except BaseException as error:
        call.error = error
    job.lease.pool.submit(job.lease, ResumeJob(call))


async def _await_end(job: TripJob, nested: asyncio.Task[None] | None = None) -> None:
    """Wait in the background for a trip that its task has left."""
    if nested is not None:
        await asyncio.wait([nested])
        _refuse_callback(job)
    while True:
        waiter = job.waiter = asyncio.get_running_loop().create_future()
        if job.is_done:
            return
        if job.callback is not None:
            _refuse_callback(job)
        await waiter


def _refuse_callback(job: TripJob) -> None:
    call, job.callback = job.callback, None
    if call is not None:
        call.coroutine.close()
        call.error = asyncio.CancelledError()
        job.lease.pool.submit(job.lease, ResumeJob(call))


async def _finish(
    context: contextvars.Context, coroutine: Coroutine[Any, Any, Any], left: _Left
) -> None:
    """Go on in the background with a coroutine that waits for a clean-up call."""
    await _await_end(left.job, left.nested)
    try:
        await _resumed(context, coroutine, left)
    except (asyncio.CancelledError, PoolBusy):
        # Told to the server already, when its task left.
        return


@types.coroutine
def _resumed(
    context: contextvars.Context, coroutine: Coroutine[Any, Any, Any], left: _Left
) -> Generator[Any, Any, Any]:
    context.run(rehome_locals, context)
    error = left.cancelled or left.job.error
    return (yield from go_on(context, coroutine, error=error, value=left.job.value))


def _expire(job: TripJob) -> None:
    lease = job.lease
    if lease.pool.withdraw(lease, job):
        job.refuse(lease.busy_error())


def _in_background(coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    task = asyncio.get_running_loop().create_task(coroutine)
    detached_tasks.add(task)
    task.add_done_callback(detached_tasks.discard)
    return task
