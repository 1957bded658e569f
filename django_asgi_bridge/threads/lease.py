"""One request's hold on a worker thread.

``Lease.run`` makes a call on the worker; ``Lease.call_async`` lets code on the
worker run a coroutine on the event loop and wait for it. asgiref's
``sync_to_async(thread_sensitive=True)`` lands on the same worker, on every
asgiref from 3.8.1: one ``ThreadSensitiveContext`` that is never entered stands in
``SyncToAsync.thread_sensitive_context`` of each request, and the executor under
it finds the request's lease by a context variable.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Executor, Future
from types import GeneratorType
from typing import Any, TypeVar

from asgiref.sync import (
    AsyncToSync,
    SyncToAsync,
    ThreadSensitiveContext,
    async_to_sync,
    sync_to_async,
)

from django_asgi_bridge.threads.hold import Hold
from django_asgi_bridge.threads.jobs import (
    AwaitedJob,
    CallBack,
    FutureJob,
    TripJob,
    current_trip,
    take_over,
)
from django_asgi_bridge.threads.locals import (
    IS_SHARED,
    LocalView,
    rehome_locals,
    unshare_locals,
)
from django_asgi_bridge.threads.worker import (
    PINS_CURSOR,
    PINS_NOTHING,
    PINS_STATE,
)

__all__ = ("Lease", "LeaseOfCaller", "current_lease", "lease_of_context")

_R = TypeVar("_R")


class Lease(Hold):
    """A request's worker: taken at its first sync call, given back at its end.

    Made as a ``Hold`` is.
    """

    __slots__ = ()

    def enter(self, *, follows_loop: bool = False) -> None:
        """Make this the lease of the current context, for asgiref too.

        Where a sync caller waits further up (``async_to_sync``, Django's async
        test cases), sync code belongs on that caller's thread: then this lease
        stays without a worker and calls go through asgiref.

        Args:
            follows_loop: look for that caller by the running loop too. Tasks of a
                test's communicator have an empty context, where nothing else
                tells.
        """
        if IS_SHARED:
            unshare_locals()
        current_lease.set(self)
        if _executors.get("current") is not None or (
            follows_loop
            and asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
        ):
            self.is_direct = False
            return
        SyncToAsync.thread_sensitive_context.set(
            _shared[0] if _shared else _thread_sensitive_context()
        )
        # A tool that watches SyncToAsync must see every call.
        call = SyncToAsync.__call__
        self.is_direct = call is _ASGIREFS_CALL or _is_asgirefs_own(call)

    def run(
        self,
        fn: Callable[..., _R],
        *args: Any,
        pins: int = PINS_STATE,
        is_cleanup: bool = False,
        is_leavable: bool = False,
    ) -> Awaitable[_R]:
        """Call ``fn(*args)`` on this lease's worker, inside the request's context.

        Args:
            pins: what ``fn`` may leave on its thread, one of the ``PINS_*``
                numbers; decides whether the lease must keep this worker.
            is_cleanup: wait for a worker as long as it takes, and make the call
                even if the request is cancelled.
            is_leavable: a cancellation does not wait for the call: the coroutine
                sees it at once, as with asgiref, and the call runs on to its end.
                It runs in a copy of the context; what it sets there is carried
                over when it ends, unless it was left.

        Raises:
            PoolBusy: no worker came free in time.
        """
        if self.is_direct:
            return TripJob(self, fn, args, pins, is_cleanup, is_leavable)
        return sync_to_async(fn, thread_sensitive=True)(*args)

    def run_promptly(self, fn: Callable[..., _R], *args: Any) -> Awaitable[_R]:
        """Call ``fn(*args)`` as ``run()`` does, elsewhere if the worker is busy.

        For code that needs no particular thread, after a call that the request
        no longer waits for.

        Raises:
            PoolBusy: no worker came free in time.
        """
        if not self.is_direct or self.active is None:
            return self.run(fn, *args)
        spare = Hold(
            self.pool,
            self.queue_timeout,
            self.detach_after,
            self.on_attach,
            self.on_detach,
        )
        # It gives its worker back after the call.
        spare.is_closed = True
        return TripJob(spare, fn, args, PINS_NOTHING)

    def go_per_call(self) -> None:
        """Give the worker back after each call, from this one on.

        What views and middleware left on the thread is theirs no longer, unless
        it is a transaction.
        """
        self.is_per_call = True
        self.is_pinned = False

    def call_async(
        self, make: Callable[..., Coroutine[Any, Any, _R]], *args: Any
    ) -> _R:
        """Run a coroutine on the event loop and wait for it, from a worker.

        The worker's running slot is free meanwhile, and other sync code of the
        same request runs on this same thread.

        Raises:
            RuntimeError: the loop was closed meanwhile.
        """
        trip = current_trip()
        if not self.is_direct or trip is None:
            return async_to_sync(make)(*args)
        if trip.bell.loop.is_closed():
            raise RuntimeError(
                "the event loop of this connection or request is closed: nothing can "
                "be sent or awaited any more."
            )
        context = contextvars.copy_context()
        call = CallBack(context, make(*args))
        asgiref_thread: Any = SyncToAsync.threadlocal
        kept = dict(vars(asgiref_thread))
        trip.callback = call
        trip.wake_driver()
        self.pool.park(self, call)
        vars(asgiref_thread).update(kept)
        take_over(context)
        rehome_locals(contextvars.copy_context())
        if call.error is not None:
            raise call.error
        result: _R = call.value
        return result

    def submit_call(self, call: Callable[[], Any]) -> Any:
        """Queue a call that asgiref makes; see ``concurrent.futures.Executor``.

        Returns:
            On an event loop's thread a future of that loop, which
            ``asyncio.wrap_future()`` takes as it is; else a
            ``concurrent.futures.Future``.
        """
        if self.atomic_task is not None:
            self.require_atomic_task()
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            job = FutureJob(call, Future(), *_pins(call))
            job.is_patient = self.is_patient
            self.pool.submit(self, job)
            return job.future
        job = AwaitedJob(call, loop, *_pins(call))
        job.is_patient = self.is_patient
        if self.pool.submit(self, job) and self.is_refusable:
            timer = loop.call_later(self.queue_timeout, _expire, self, job)
            settled = functools.partial(_settled, self, job, timer)
            job.future.add_done_callback(settled)
        return job.future

    def require_atomic_task(self) -> None:
        """Refuse tasks other than the one inside an ``async with atomic()`` block.

        Raises:
            RuntimeError: the calling task is another one.
        """
        owner = self.atomic_task
        if owner is not None and asyncio.current_task() is not owner:
            raise RuntimeError(
                "a second task used the database inside an 'async with atomic()' "
                f"block of task {owner.get_name()!r}: a transaction belongs to one "
                "task; run the queries one after the other in that task, or start "
                "the other task outside the block."
            )


current_lease: contextvars.ContextVar[Lease] = contextvars.ContextVar(
    "django_asgi_bridge.lease"
)


class LeaseOfCaller:
    """Keeps in mind whose lease the current context has, to give it back.

    For applications that run in their caller's own context: it may go on, with other
    connections or none.
    """

    __slots__ = ("_context", "_lease")

    def __init__(self) -> None:
        self._lease = current_lease.get(None)
        self._context = SyncToAsync.thread_sensitive_context.get(None)

    def restore(self) -> None:
        """Make the caller's lease the current one again."""
        # Set, not reset: a task that is thrown away is closed in another context.
        current_lease.set(self._lease)  # type: ignore[arg-type] # None: as if unset
        sensitive: Any = SyncToAsync.thread_sensitive_context
        sensitive.set(self._context)


_executors = LocalView(AsyncToSync.executors)


def lease_of_context() -> Lease | None:
    """Return the lease of the request that the caller belongs to, if any."""
    return current_lease.get(None)


class _LeaseExecutor(Executor):
    """What asgiref submits to; finds the lease of the calling context."""

    def submit(self, fn: Callable[..., _R], /, *args: Any, **kwargs: Any) -> Future[_R]:
        call = functools.partial(fn, *args, **kwargs) if args or kwargs else fn
        future: Future[_R] = current_lease.get().submit_call(call)
        return future


_shared: list[ThreadSensitiveContext] = []


def _thread_sensitive_context() -> ThreadSensitiveContext:
    if not _shared:
        # Never entered: asgiref only looks it up.
        shared = ThreadSensitiveContext()
        registry: Any = SyncToAsync.context_to_thread_executor
        registry[shared] = _LeaseExecutor()
        _shared.append(shared)
    return _shared[0]


@functools.lru_cache(maxsize=16)
def _is_asgirefs_own(function: Any) -> bool:
    return getattr(function, "__globals__", {}).get("__name__") == "asgiref.sync"


# A tool may have replaced it before this was imported: then nothing equals it.
_ASGIREFS_CALL: Any = (
    SyncToAsync.__call__ if _is_asgirefs_own(SyncToAsync.__call__) else None
)


def _expire(lease: Lease, job: FutureJob) -> None:
    if lease.pool.withdraw(lease, job):
        job.refuse(lease.busy_error())


def _settled(
    lease: Lease,
    job: FutureJob,
    timer: asyncio.TimerHandle,
    future: asyncio.Future[Any],
) -> None:
    if future.cancelled():
        # Nobody waits for it: it must not take a worker.
        lease.pool.withdraw(lease, job)
    timer.cancel()


def _pins(call: Callable[..., Any]) -> tuple[int, Callable[[], bool] | None]:
    """Tell what a call of asgiref's may leave on its thread.

    asgiref wraps the function: ``partial(handler, loop, exc, tasks, run, child)``
    where ``child`` is ``partial(function, *args)``. What does not look so is
    unknown code.
    """
    try:
        child = call.args[-1]  # type: ignore[attr-defined]
        function = child.func
        if hasattr(function, "__wrapped__"):
            function = inspect.unwrap(function)
        module: str = function.__module__ or ""
    except (AttributeError, IndexError):
        return PINS_STATE, None
    if not module.startswith(_ORM_MODULES):
        return PINS_STATE, None
    if hasattr(function, "__self__"):
        # A method is one query.
        return PINS_NOTHING, None
    # A closure of the ORM, such as the chunks of aiterator(), holds an open cursor
    # between its calls: as long as the generator it is given has not ended.
    generators = [each for each in child.args if isinstance(each, GeneratorType)]
    if not generators:
        return PINS_CURSOR, None
    return PINS_CURSOR, functools.partial(_is_under_way, weakref.ref(generators[0]))


def _is_under_way(reference: weakref.ref[GeneratorType[Any, Any, Any]]) -> bool:
    generator = reference()
    return generator is not None and generator.gi_frame is not None


_ORM_MODULES = ("django.db.models.", "django.contrib.sessions.backends.")
