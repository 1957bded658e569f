"""Waking an event loop from other threads."""

import asyncio
import functools
import threading
from typing import Any

from django_asgi_bridge.threads.waking import bell_of_loop
from tests.threads.support import run, wait


def test_bell_calls_what_it_is_told_on_the_loops_thread_in_order():
    """Nothing that a thread tells a loop gets lost, however many tell at once."""
    told: list[Any] = []
    count = 8
    all_told = asyncio.Event()

    def note(number, i):
        told.append((number, i, threading.get_ident()))
        if len(told) == count * 500:
            all_told.set()

    async def main():
        bell = bell_of_loop(asyncio.get_running_loop())

        def tell(number):
            for i in range(500):
                bell.call(functools.partial(note, number, i))

        threads = [threading.Thread(target=tell, args=(n,)) for n in range(count)]
        for thread in threads:
            thread.start()
        await all_told.wait()
        for thread in threads:
            thread.join()

    run(main())

    assert {thread for *_, thread in told} == {threading.get_ident()}
    for number in range(count):
        assert [i for n, i, _ in told if n == number] == list(range(500))


def test_bell_of_a_busy_loop_rings_once(monkeypatch):
    """What is told before the loop comes to look shares one handle."""
    rings: list[Any] = []
    told: list[Any] = []

    async def main():
        loop = asyncio.get_running_loop()
        original = loop.call_soon_threadsafe

        def counted(*args, **kwargs):
            rings.append(args)
            return original(*args, **kwargs)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        bell = bell_of_loop(loop)
        is_told = threading.Event()

        def tell():
            for i in range(10):
                bell.call(functools.partial(told.append, i))
            is_told.set()

        thread = threading.Thread(target=tell)
        thread.start()
        wait(is_told)
        thread.join()
        while len(told) < 10:  # noqa: ASYNC110 - the bell has no event
            await asyncio.sleep(0)

    run(main())

    assert told == list(range(10))
    assert len(rings) == 1


def test_bell_of_a_closed_loop_is_silent():
    """A thread that comes back late finds nobody, and goes on."""
    bells = []

    async def main():
        bells.append(bell_of_loop(asyncio.get_running_loop()))

    run(main())

    bells[0].call(lambda: None)
    bells[0].call(lambda: None)


def test_each_loop_of_a_thread_has_a_bell_of_its_own():
    """A bell never rings for a loop that ran on the thread before."""

    async def main():
        loop = asyncio.get_running_loop()
        bell = bell_of_loop(loop)
        return bell.loop is loop, bell is bell_of_loop(loop)

    assert run(main()) == (True, True)
    assert run(main()) == (True, True)
