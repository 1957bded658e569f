"""Where the sync code of a test's requests runs: with the test's own connections.

Under ``async_to_sync`` (Django's async test methods) asgiref brings sync code to the
test's thread by itself. Where the test's thread runs the event loop instead
(pytest-asyncio, ``IsolatedAsyncioTestCase``), it cannot run sync code meanwhile. Then
one worker borrows the thread's database connections, and with them the transaction
that the test is in.
"""

import asyncio
import inspect
import threading
import weakref
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from asgiref.current_thread_executor import CurrentThreadExecutor
from asgiref.sync import AsyncToSync
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connections

__all__ = ("borrowed_connections", "connections_of_test", "kept_connections")


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
        worker = _workers[threading.get_ident()] = _Worker()
        worker.start()
    worker.users += 1
    executors.current = worker.executor.result()
    try:
        yield
    finally:
        worker.users -= 1
        if worker.users == 0:
            # Not before: asgiref 3.8 shares the value between contexts.
            _ended.add(worker.executor.result())
            if hasattr(executors, "current"):
                del executors.current
            del _workers[threading.get_ident()]
            worker.end()


@contextmanager
def connections_of_test() -> Iterator[None]:
    """Let sync code of the current task see what the test's transaction holds.

    Under ``async_to_sync`` asgiref brings it to the test's thread. Where the test's
    thread runs the loop, and is inside a transaction, see ``borrowed_connections``;
    outside one, any worker's connection sees the same.
    """
    is_brought = asyncio.get_running_loop() in AsyncToSync.loop_thread_executors
    if is_brought or not any(
        connection.in_atomic_block for connection in _connections_of_thread().values()
    ):
        yield
        return
    with borrowed_connections():
        yield


class _Worker(threading.Thread):
    """Runs sync code, one call after the other, on another thread's connections."""

    def __init__(self) -> None:
        super().__init__(name="django-asgi-bridge-test", daemon=True)
        # asgiref's own class, since nested calls of async_to_sync look into it.
        self.executor: Future[CurrentThreadExecutor] = Future()
        self.users = 0
        self._is_over: Future[None] = Future()
        self._lent = _connections_of_thread()

    def start(self) -> None:
        for connection in self._lent.values():
            connection.inc_thread_sharing()
        super().start()

    def run(self) -> None:
        for alias, connection in self._lent.items():
            connections[alias] = connection
        # asgiref 3.8 takes no argument, later releases the executor outside.
        parameters = inspect.signature(CurrentThreadExecutor).parameters
        executor = CurrentThreadExecutor(*[None for _ in parameters])
        self.executor.set_result(executor)
        executor.run_until_future(self._is_over)
        for alias in self._lent:
            del connections[alias]

    def end(self) -> None:
        """Let the queued calls run, then give the connections back."""
        self._is_over.set_result(None)
        self.join()
        for connection in self._lent.values():
            connection.dec_thread_sharing()


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

_ended: "weakref.WeakSet[CurrentThreadExecutor]" = weakref.WeakSet()
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
