"""Where the sync code of a test's requests runs: with the test's own connections.

Under ``async_to_sync`` (Django's async test methods) asgiref brings sync code to the
test's thread by itself. Where the test's thread runs the event loop instead
(pytest-asyncio, ``IsolatedAsyncioTestCase``), it cannot run sync code meanwhile. Then
one worker borrows the thread's database connections, and with them the transaction
that the test is in.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import logging
import threading
import weakref
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import AsyncToSync
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections

__all__ = ("borrowed_connections", "connections_of_test", "kept_connections")

_logger = logging.getLogger("django_asgi_bridge.testing")


@contextmanager
def borrowed_connections() -> Iterator[None]:
    """Give thread-sensitive sync code of the current context a thread.

    Does nothing where there is one. Otherwise a worker has the calling thread's
    database connections until the block ends; the calling thread must not use them
    meanwhile. Blocks that overlap, as those of requests at the same time, share it.
    """
    executors: Any = AsyncToSync.executors
    worker = _workers.get(threading.get_ident())
    current = getattr(executors, "current", None)
    if worker is None and current is not None and current not in _ended:
        yield
        return
    if worker is None:
        worker = _Worker()
        worker.start()
    worker.users += 1
    executors.current = worker.executor.result()
    try:
        yield
    finally:
        worker.users -= 1
        if worker.users == 0:
            # Not before: asgiref 3.8 shares the value between contexts.
            if hasattr(executors, "current"):
                del executors.current
            worker.end_if_unused()


@contextmanager
def connections_of_test() -> Iterator[None]:
    """Let sync code of the current task see what the test's transaction holds.

    Under ``async_to_sync`` asgiref brings it to the test's thread. Where the test's
    thread runs the loop, and is inside a transaction, see ``borrowed_connections``;
    outside one, any worker's connection sees the same.

    From the first such block to the loop's end the test's own sync code is brought
    to that worker too. Elsewhere it would have a connection outside the transaction,
    and neither side would see what the other writes. There callbacks of ``on_commit``
    run as if the test's transaction were none, see ``_Worker.commit``.
    """
    loop = asyncio.get_running_loop()
    worker = _workers.get(threading.get_ident())
    if worker is not None and worker.is_orphan:
        worker.leave_loop()
        worker = None
    is_brought = worker is None and loop in AsyncToSync.loop_thread_executors
    if is_brought or not any(
        connection.in_atomic_block for connection in _connections_of_thread().values()
    ):
        yield
        return
    with borrowed_connections():
        started = _workers.get(threading.get_ident())
        if started is not None and started is not worker:
            started.serve(loop)
        yield


class _Worker(threading.Thread):
    """Runs sync code, one call after the other, on another thread's connections."""

    def __init__(self) -> None:
        super().__init__(name="django-asgi-bridge-test", daemon=True)
        # asgiref's own class, since nested calls of async_to_sync look into it.
        self.executor: Future[CurrentThreadExecutor] = Future()
        self.users = 0
        self._is_over: Future[None] = Future()
        self._lender = threading.get_ident()
        self._lent = _connections_of_thread()
        self._waiting = {
            alias: len(connection.run_on_commit)
            for alias, connection in self._lent.items()
        }
        self._depths = {
            alias: len(connection.savepoint_ids)
            for alias, connection in self._lent.items()
        }
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end_of_loop: AsyncGenerator[None] | None = None

    def start(self) -> None:
        _workers[self._lender] = self
        for connection in self._lent.values():
            connection.inc_thread_sharing()
        super().start()

    def serve(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run all sync code of the running loop that has no other thread."""
        self._loop = loop
        executors: Any = AsyncToSync.loop_thread_executors
        executors[loop] = self.executor.result()
        # Closed by the loop's shutdown_asyncgens(), a part of every runner's end.
        self._end_of_loop = self._until_end_of_loop()
        with contextlib.suppress(StopIteration):
            self._end_of_loop.asend(None).send(None)

    async def _until_end_of_loop(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            self.leave_loop()

    @property
    def is_orphan(self) -> bool:
        """Whether its loop was closed without the steps of ``asyncio.run()``."""
        return self._loop is not None and self._loop.is_closed()

    def leave_loop(self) -> None:
        """Stop to serve the loop; does nothing the second time."""
        if self._loop is None:
            return
        AsyncToSync.loop_thread_executors.pop(self._loop, None)
        self._loop = None
        self.end_if_unused()

    def run(self) -> None:
        for alias, connection in self._lent.items():
            connections[alias] = connection
        # asgiref 3.8 takes no argument, later releases the executor outside.
        parameters = inspect.signature(CurrentThreadExecutor).parameters
        executor = _Executor(*[None for _ in parameters])
        executor.after = self.commit
        self.executor.set_result(executor)
        executor.run_until_future(self._is_over)
        for alias in self._lent:
            del connections[alias]

    def commit(self) -> None:
        """Run the callbacks of what would be committed without the test's transaction.

        Code that serves a loop is written for connections of its own, where an
        ``on_commit`` callback runs once its outermost block is left; the transaction
        of the test never is. Callbacks from before the connections were lent stay.
        """
        if self._loop is None:
            return
        for alias, connection in self._lent.items():
            first = self._waiting[alias]
            while (
                len(connection.run_on_commit) > first
                and len(connection.savepoint_ids) <= self._depths[alias]
                and not connection.needs_rollback
            ):
                _, callback, is_robust = connection.run_on_commit.pop(first)
                try:
                    callback()
                except Exception:
                    if not is_robust:
                        raise
                    _logger.exception("on_commit() callback %r failed", callback)

    def end_if_unused(self) -> None:
        """Let the queued calls run, then give the connections back."""
        if self.users or self._loop is not None:
            return
        _ended.add(self.executor.result())
        del _workers[self._lender]
        self._is_over.set_result(None)
        self.join()
        for connection in self._lent.values():
            connection.dec_thread_sharing()


class _Executor(CurrentThreadExecutor):
    """Does one more thing after each call, in the context that it was made from."""

    after: Callable[[], None]

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Queue a call."""
        context = contextvars.copy_context()

        def call() -> Any:
            returned = fn(*args, **kwargs)
            context.run(self.after)
            return returned

        return super().submit(call)


def _connections_of_thread() -> dict[str, Any]:
    """Return the connections that sync code of this thread has.

    Under a running event loop ``connections`` has others, of the current context:
    the loop is put aside for a moment, in which nothing is awaited.
    """
    loop = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        return {alias: connections[alias] for alias in connections}
    finally:
        asyncio._set_running_loop(loop)


_workers: dict[int, _Worker] = {}
"""The worker that has the connections of a thread, by the thread's number."""

_ended: weakref.WeakSet[CurrentThreadExecutor] = weakref.WeakSet()
"""Executors of workers that ended; a context may still hold one."""

_lock = threading.Lock()
_users = 0


@contextmanager
def kept_connections() -> Iterator[None]:
    """Keep Django's receiver that closes database connections from doing so.

    They are the test's. Other receivers of the two request signals stay.
    """
    global _users
    with _lock:
        _users += 1
        if _users == 1:
            request_started.disconnect(close_old_connections)
            request_finished.disconnect(close_old_connections)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                request_started.connect(close_old_connections)
                request_finished.connect(close_old_connections)
