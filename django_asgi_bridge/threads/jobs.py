"""The calls that workers make, and how their outcomes reach who waits.

Three kinds: a ``TripJob`` is a step of a request, made inside that request's own
context and awaited by its driver; a ``FutureJob`` is what asgiref's
``sync_to_async`` submits, mostly an ``AwaitedJob``; a ``ResumeJob`` ends the wait
of a parked worker.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import threading
from collections.abc import Callable, Coroutine, Generator
from concurrent import futures
from typing import Any

from asgiref.sync import SyncToAsync

from django_asgi_bridge.threads.hold import Hold
from django_asgi_bridge.threads.locals import rehome_locals
from django_asgi_bridge.threads.waking import LoopBell, bell_of_loop
from django_asgi_bridge.threads.worker import PINS_NOTHING

__all__ = (
    "AwaitedJob",
    "CallBack",
    "FutureJob",
    "ResumeJob",
    "TripJob",
    "current_trip",
    "take_over",
    "was_left",
)


class CallBack:
    """A coroutine that code on a worker needs run on the event loop meanwhile."""

    __slots__ = ("context", "coroutine", "error", "value")

    def __init__(
        self, context: contextvars.Context, coroutine: Coroutine[Any, Any, Any]
    ) -> None:
        self.context = context
        self.coroutine = coroutine
        self.value: Any = None
        self.error: BaseException | None = None


class TripJob:
    """One trip of a request to its worker and back.

    A driven coroutine awaits it, once: the driver sends it on its way. The function
    runs inside the request's own ``Context`` object, so that a token made in one
    trip can be reset in another one. The driver does not enter that context while
    the trip is under way.

    Args:
        lease: on whose worker the call is made.
        fn: what is called, with ``args``.
        pins: what it may leave on its thread.
        is_cleanup: see ``Lease.run``.
        is_leavable: see ``Lease.run``.
    """

    __slots__ = (
        "args",
        "bell",
        "callback",
        "context",
        "error",
        "fn",
        "is_cleanup",
        "is_done",
        "is_leavable",
        "is_left",
        "is_overdue",
        "is_patient",
        "lease",
        "pins",
        "task_context",
        "value",
        "waiter",
    )

    resumes = None
    is_cursor_open = None

    # What the driver gives it.
    bell: LoopBell
    context: contextvars.Context
    waiter: asyncio.Future[None]

    def __init__(
        self,
        lease: Hold,
        fn: Callable[..., Any],
        args: tuple[Any, ...],
        pins: int,
        is_cleanup: bool = False,
        is_leavable: bool = False,
    ) -> None:
        self.lease = lease
        self.fn = fn
        self.args = args
        self.pins = pins
        self.is_cleanup = is_cleanup
        self.is_leavable = is_leavable
        self.is_patient = is_cleanup or lease.is_patient
        self.callback: CallBack | None = None
        self.is_done = False
        # The request was cancelled and has waited long enough.
        self.is_overdue = False
        # It goes on without this call.
        self.is_left = False
        self.value: Any = None
        self.error: BaseException | None = None
        self.task_context: list[asyncio.Task[Any]] = []

    def __await__(self) -> Generator[TripJob, Any, Any]:
        return (yield self)

    def execute(self) -> None:
        """Make the call; what it returns or raises is kept."""
        # asgiref's async_to_sync finds the loop to run on through these.
        of_asgiref = vars(SyncToAsync.threadlocal)
        of_asgiref["main_event_loop"] = self.bell.loop
        of_asgiref["main_event_loop_pid"] = self.lease.pool.pid
        of_asgiref["task_context"] = self.task_context
        outer = _here.trip
        _here.trip = self
        try:
            self.value = self.context.run(self._call)
        except BaseException as error:
            self.error = error
        finally:
            _here.trip = outer

    def deliver(self) -> None:
        """Wake the driver with the outcome."""
        self.is_done = True
        self.bell.call(self.wake)

    def refuse(self, error: BaseException) -> None:
        """Let the driver raise ``error`` instead of making the call."""
        self.error = error
        self.deliver()

    def wake_driver(self) -> None:
        """Wake the driver: the call needs a coroutine's result."""
        self.bell.call(self.wake)

    def wake(self) -> None:
        """Wake the driver, from the event loop's own thread."""
        waiter = self.waiter
        if not waiter.done():
            waiter.set_result(None)

    def _call(self) -> Any:
        rehome_locals(self.context)
        return self.fn(*self.args)


class FutureJob:
    """A call whose outcome goes to a ``concurrent.futures.Future``."""

    __slots__ = (
        "call",
        "future",
        "is_cursor_open",
        "is_patient",
        "outcome",
        "pins",
    )

    resumes = None

    def __init__(
        self,
        call: Callable[[], Any],
        future: Any,
        pins: int,
        is_cursor_open: Callable[[], bool] | None = None,
    ) -> None:
        self.call = call
        self.future = future
        self.pins = pins
        self.is_cursor_open = is_cursor_open
        self.is_patient = False
        # What the call returned, and what it raised.
        self.outcome: tuple[Any, BaseException | None] | None = None

    def execute(self) -> None:
        """Make the call unless its future was cancelled; keep its outcome."""
        if not self._begin():
            return
        outer = _here.trip
        _here.trip = None
        try:
            self.outcome = (self.call(), None)
        except BaseException as error:
            self.outcome = (None, error)
        finally:
            _here.trip = outer

    def deliver(self) -> None:
        """Tell whoever waits for the future, now that the worker is free."""
        outcome, self.outcome = self.outcome, None
        if outcome is not None:
            self._tell(*outcome)

    def refuse(self, error: BaseException) -> None:
        """Let whoever waits for the future see ``error``."""
        if self._begin():
            self._tell(None, error)

    def _begin(self) -> bool:
        """Tell whether anybody waits for the outcome."""
        is_wanted: bool = self.future.set_running_or_notify_cancel()
        return is_wanted

    def _tell(self, value: Any, error: BaseException | None) -> None:
        if error is None:
            self.future.set_result(value)
        else:
            self.future.set_exception(error)


class AwaitedJob(FutureJob):
    """A call whose outcome goes to a future of an event loop.

    The loop is told as it is of trips, and with them; a ``concurrent.futures.Future``
    chained to one of the loop's is a lock, two callbacks and a wake-up of its own.
    Made on the loop's thread.
    """

    __slots__ = ("bell",)

    future: asyncio.Future[Any]

    def __init__(
        self,
        call: Callable[[], Any],
        loop: asyncio.AbstractEventLoop,
        pins: int,
        is_cursor_open: Callable[[], bool] | None = None,
    ) -> None:
        super().__init__(call, loop.create_future(), pins, is_cursor_open)
        self.bell = bell_of_loop(loop)

    def _begin(self) -> bool:
        return not self.future.cancelled()

    def _tell(self, value: Any, error: BaseException | None) -> None:
        self.bell.call(functools.partial(_settle, self.future, value, error))


def _settle(
    future: asyncio.Future[Any], value: Any, error: BaseException | None
) -> None:
    """Give a future its outcome, on its loop's thread, unless it was cancelled."""
    if future.done():
        return
    if error is None:
        future.set_result(value)
    else:
        future.set_exception(_raisable(error))


def _raisable(error: BaseException) -> BaseException:
    """Return what an asyncio future may raise, as ``asyncio.wrap_future`` would."""
    if isinstance(error, StopIteration):
        # Before Python 3.13 a future refuses it, and who waits would wait for ever.
        failure = RuntimeError("a call on a worker thread raised StopIteration")
        failure.__cause__ = error
        return failure
    twin = _TWINS.get(type(error))
    return (
        error if twin is None else twin(*error.args).with_traceback(error.__traceback__)
    )


_TWINS: dict[type[BaseException], type[BaseException]] = {
    futures.CancelledError: asyncio.CancelledError,
    futures.InvalidStateError: asyncio.InvalidStateError,
}
"""Errors that asyncio has under the same name as ``concurrent.futures``."""


class ResumeJob:
    """The end of a parked worker's wait; needs a running slot as any job does."""

    __slots__ = ("resumes",)

    is_patient = True
    pins = PINS_NOTHING
    is_cursor_open = None

    def __init__(self, call: CallBack) -> None:
        self.resumes = call

    def execute(self) -> None:
        """Do nothing: the parked worker goes on by itself."""

    def deliver(self) -> None:
        """Do nothing: the parked worker takes the answer itself."""

    def refuse(self, error: BaseException) -> None:
        """Do nothing: a resume is never refused."""


def current_trip() -> TripJob | None:
    """Return the trip whose function is running on this thread, innermost first."""
    return _here.trip


def was_left() -> bool:
    """Tell whether the request has gone on without the call that asks this."""
    trip = current_trip()
    return trip is not None and trip.is_left


def take_over(context: contextvars.Context) -> None:
    """Set what changed in ``context`` in the current one too."""
    for variable, value in context.items():
        if variable.get(_MISSING) is not value:
            variable.set(value)


_MISSING: Any = object()


class _Here(threading.local):
    trip: TripJob | None = None


_here = _Here()
