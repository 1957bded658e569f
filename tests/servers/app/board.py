"""A board of named marks: what one request posts, another waits for.

It lives in the process of the server, so it works where one process serves all
requests. Nothing here polls: a waiting thread or task is woken by the post.
"""

import asyncio
import threading
from collections import defaultdict

PATIENCE = 8.0
"""Seconds after which a wait gives up: a test that waits this long has failed."""


class _Mark:
    def __init__(self) -> None:
        self.posted = threading.Event()
        self.waiters: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []


_lock = threading.Lock()
_marks: defaultdict[str, _Mark] = defaultdict(_Mark)


def post(name: str) -> None:
    """Post a mark and wake all that wait for it."""
    with _lock:
        mark = _marks[name]
        mark.posted.set()
        waiters, mark.waiters = mark.waiters, []
    for loop, future in waiters:
        loop.call_soon_threadsafe(_wake, future)


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def wait(name: str) -> bool:
    """Block the thread until the mark is posted; false when patience ran out."""
    with _lock:
        mark = _marks[name]
    return mark.posted.wait(PATIENCE)


async def wait_async(name: str) -> bool:
    """Wait in a task until the mark is posted; false when patience ran out."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[None] = loop.create_future()
    with _lock:
        mark = _marks[name]
        if mark.posted.is_set():
            return True
        mark.waiters.append((loop, future))
    try:
        async with asyncio.timeout(PATIENCE):
            await future
    except TimeoutError:
        return False
    return True
