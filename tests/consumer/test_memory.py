"""What an idle connection takes, in bytes: a count that does not flicker."""

import asyncio
import contextlib
import contextvars
import gc
import sys
import tracemalloc
import weakref

import pytest

from tests.consumer.consumers import Echo

SOCKETS = 200
BUDGET = 1920
"""Bytes of one, its scope not counted; to measure anew: ``pytest -rP``."""

IS_MEASURED_ON = sys.version_info[:2] == (3, 13)


class Server:
    """Connects, and then has nothing more to say."""

    def __init__(self, application, rest=None):
        self._rest = rest
        self._events = [{"type": "websocket.connect"}]
        self.is_idle = False
        scope = {"type": "websocket", "path": "/", "headers": []}
        # Empty: asgiref before 3.12 has each connection copy what other tests set.
        self.task = asyncio.create_task(
            application(scope, self._receive, self._send),
            context=contextvars.Context(),
        )

    async def _receive(self):
        if self._events:
            return self._events.pop()
        self.is_idle = True
        return await (self._rest or asyncio.get_running_loop().create_future())

    async def _send(self, event):
        """Take it."""


async def opened(application):
    servers = [Server(application) for _ in range(SOCKETS)]
    while not all(server.is_idle for server in servers):  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    return servers


async def closed(servers):
    for server in servers:
        server.task.cancel()
    for server in servers:
        with contextlib.suppress(asyncio.CancelledError):
            await server.task


async def bare(scope, receive, send):
    await receive()
    await send({"type": "websocket.accept"})
    await receive()


async def taken(application):
    """Return the bytes that one idle connection takes."""
    await closed(await opened(application))
    gc.collect()
    tracemalloc.start(1)
    try:
        before = tracemalloc.get_traced_memory()[0]
        servers = await opened(application)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    await closed(servers)
    return (after - before) / SOCKETS


@pytest.mark.asyncio
async def test_idle_consumer_stays_in_its_budget_of_bytes(layer):
    """That is what it takes over a bare ASGI function, a membership included."""

    class Quiet(Echo):
        async def disconnect(self, code):
            """Do nothing."""

    over = await taken(Quiet.as_asgi()) - await taken(bare)

    print(f"{over:.0f} bytes")
    assert over <= (BUDGET if IS_MEASURED_ON else BUDGET * 1.2)


@pytest.mark.asyncio
@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_closed_connection_is_freed_without_the_collector(is_cancelled, layer):
    """What the server has of it is large, and full collections are rare."""
    application = Echo.as_asgi()
    waiting = asyncio.get_running_loop().create_future()
    server = Server(application, waiting)
    while not server.is_idle:  # noqa: ASYNC110 - no event
        await asyncio.sleep(0)
    kept = weakref.ref(server)
    gc.disable()
    try:
        task = server.task
        del server.task
        if is_cancelled:
            task.cancel()
        else:
            waiting.set_result({"type": "websocket.disconnect", "code": 1000})
        await asyncio.wait([task])
        del server, task, waiting, Echo.last

        assert kept() is None
    finally:
        gc.enable()
