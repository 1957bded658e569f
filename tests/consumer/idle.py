"""A process that tells what an idle connection takes, in bytes.

``python -m tests.consumer.idle`` prints what a consumer takes over a bare ASGI function,
its membership in a group included. It is a process of its own: what other tests leave in
the tables of asyncio decides when these grow, and the one that grows them would pay.
"""

import asyncio
import contextlib
import contextvars
import gc
import tracemalloc

SOCKETS = 200


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


async def main():
    from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers
    from tests.consumer.consumers import Echo

    class Quiet(Echo):
        async def disconnect(self, code):
            """Do nothing."""

    channel_layers.set("default", InMemoryChannelLayer())
    print(await taken(Quiet.as_asgi()) - await taken(bare))


if __name__ == "__main__":
    import django
    from django.conf import settings

    settings.configure(
        SECRET_KEY="only for tests", INSTALLED_APPS=["django_asgi_bridge"]
    )
    django.setup()
    asyncio.run(main())
