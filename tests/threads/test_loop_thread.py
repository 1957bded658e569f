"""The loop in a thread ends, and nobody waits on for what ran there."""

import asyncio
import threading

import pytest

from django_asgi_bridge.threads import loop_thread
from django_asgi_bridge.threads.loop_thread import LoopThread

WATCHDOG = 20.0


class Caller(threading.Thread):
    """Runs a coroutine there from a loop of its own, and keeps what came of it."""

    def __init__(self, thread, coroutine):
        super().__init__(daemon=True)
        self._there, self._coroutine = thread, coroutine
        self.outcome = None
        self.start()

    def run(self):
        try:
            self.outcome = asyncio.run(self._there.run(self._coroutine))
        except BaseException as error:
            self.outcome = error


async def waiting(event, is_there):
    is_there.set()
    await event.wait()
    return "came to its end"


async def nothing():
    """Have no last call to make."""


def test_what_runs_may_end_by_itself_after_the_last_call():
    released, is_there = asyncio.Event(), threading.Event()

    async def last():
        asyncio.get_running_loop().call_soon(released.set)

    thread = LoopThread("test", last)
    caller = Caller(thread, waiting(released, is_there))
    assert is_there.wait(WATCHDOG)

    thread.end()
    caller.join(WATCHDOG)

    assert caller.outcome == "came to its end"


def test_what_does_not_end_is_cancelled(monkeypatch):
    monkeypatch.setattr(loop_thread, "_PATIENCE", 0.01)
    is_there = threading.Event()
    thread = LoopThread("test", nothing)
    caller = Caller(thread, waiting(asyncio.Event(), is_there))
    assert is_there.wait(WATCHDOG)

    thread.end()
    caller.join(WATCHDOG)

    assert isinstance(caller.outcome, asyncio.CancelledError)


def test_it_can_be_used_again_after_its_end():
    thread = LoopThread("test", nothing)

    async def name():
        return threading.current_thread().name

    assert asyncio.run(thread.run(name())) == "test"
    thread.end()
    thread.end()
    assert asyncio.run(thread.run(name())) == "test"
    thread.end()
    assert "test" not in [each.name for each in threading.enumerate()]


def test_error_of_the_last_call_is_raised_and_the_thread_ends():
    async def last():
        raise LookupError("last")

    thread = LoopThread("test", last)
    asyncio.run(thread.run(nothing()))

    with pytest.raises(LookupError, match="last"):
        thread.end()

    assert "test" not in [each.name for each in threading.enumerate()]
