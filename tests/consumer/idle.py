"""A process that tells what an idle connection takes, in bytes.

``python -m tests.consumer.idle`` prints what a consumer takes over a bare ASGI function,
its membership in a group included. With the argument ``routes`` it is a consumer without
a group, in ``websocket_urlpatterns``, of a visitor who has a session and is signed in;
with ``stack`` so is one behind ``AuthMiddlewareStack`` and ``URLRouter``.

It is a process of its own: what other tests leave in the tables of asyncio decides when
these grow, and the one that grows them would pay.
"""

import asyncio
import contextlib
import contextvars
import gc
import sys
import tempfile
import tracemalloc
import types
from pathlib import Path

SOCKETS = 200

turned_idle = asyncio.Event()


class Server:
    """Connects, and then has nothing more to say."""

    def __init__(self, application, rest=None, **scope):
        self._rest = rest
        self._events = [{"type": "websocket.connect"}]
        self.is_idle = False
        scope = {"type": "websocket", "path": "/", "headers": [], **scope}
        # Empty: asgiref before 3.12 has each connection copy what other tests set.
        self.task = asyncio.create_task(
            application(scope, self._receive, self._send),
            context=contextvars.Context(),
        )

    async def _receive(self):
        if self._events:
            return self._events.pop()
        self.is_idle = True
        turned_idle.set()
        return await (self._rest or asyncio.get_running_loop().create_future())

    async def _send(self, event):
        """Take it."""


async def opened(application, make_scope=None):
    if make_scope is None:
        servers = [Server(application) for _ in range(SOCKETS)]
        await until_idle(servers)
        return servers
    servers = []
    for _ in range(SOCKETS):
        # One by one: each further worker thread has a connection to the database.
        servers.append(Server(application, **make_scope()))
        await until_idle(servers[-1:])
    return servers


async def until_idle(servers):
    """Wait without turning the loop: worker threads need the interpreter meanwhile."""
    while not all(server.is_idle for server in servers):
        turned_idle.clear()
        for server in servers:
            if server.task.done():
                raise AssertionError("refused", server.task.result())
        # One that is refused does not turn idle.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(turned_idle.wait(), 1)


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


async def taken(application, make_scope=None):
    """Return the bytes that one idle connection takes."""
    for _ in range(1 if make_scope is None else 4):
        # What others keep for a while, such as references to cursors, is at its most.
        await closed(await opened(application, make_scope))
    gc.collect()
    tracemalloc.start(1)
    try:
        before = tracemalloc.get_traced_memory()[0]
        servers = await opened(application, make_scope)
        gc.collect()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    await closed(servers)
    return (after - before) / SOCKETS


async def plain():
    from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers
    from tests.consumer.consumers import Echo

    class Quiet(Echo):
        async def disconnect(self, code):
            """Do nothing."""

    channel_layers.set("default", InMemoryChannelLayer())
    print(await taken(Quiet.as_asgi()) - await taken(bare))


def sign_in():
    """Return what makes scopes of a visitor, as a server does."""
    from django.contrib.auth import (
        BACKEND_SESSION_KEY,
        HASH_SESSION_KEY,
        SESSION_KEY,
        get_user_model,
    )
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create_user("visitor")
    session = SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()

    def make_scope():
        cookie = f"sessionid={session.session_key}".encode()
        return {
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "ws",
            "server": ("localhost", 80),
            "client": ("127.0.0.1", 1234),
            "root_path": "",
            "path": "/visitor",
            "raw_path": b"/visitor",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"origin", b"http://localhost"),
                (b"cookie", cookie),
            ],
            "subprotocols": [],
            "state": {},
            "extensions": {"websocket.http.response": {}},
        }

    return make_scope


async def signed_in(kind, make_scope):
    from django.urls import path

    from django_asgi_bridge.asgi import get_asgi_application
    from django_asgi_bridge.auth import AuthMiddlewareStack
    from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
    from django_asgi_bridge.routing import URLRouter

    class Visitor(AsyncWebsocketConsumer):
        async def connect(self):
            if self.scope["user"].is_authenticated:
                await self.accept()

    urls.websocket_urlpatterns = [path("visitor", Visitor.as_asgi())]
    applications = {
        "routes": get_asgi_application(),
        "stack": AuthMiddlewareStack(URLRouter(urls.websocket_urlpatterns)),
    }
    taken_by_bare = await taken(bare, make_scope)
    print(await taken(applications[kind], make_scope) - taken_by_bare)


if __name__ == "__main__":
    import django
    from django.conf import settings

    sys.modules["idle_urls"] = urls = types.ModuleType("idle_urls")
    urls.urlpatterns = []
    with tempfile.TemporaryDirectory() as folder:
        name = str(Path(folder, "idle.sqlite3"))
        settings.configure(
            SECRET_KEY="only for tests",
            INSTALLED_APPS=[
                "django_asgi_bridge",
                "django.contrib.contenttypes",
                "django.contrib.auth",
                "django.contrib.sessions",
            ],
            DATABASES={
                "default": {"ENGINE": "django.db.backends.sqlite3", "NAME": name}
            },
            DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
            ROOT_URLCONF="idle_urls",
            ALLOWED_HOSTS=["localhost"],
            # A thread that is started while it is measured would count, with its
            # connection to the database.
            ASGI_BRIDGE={"THREADS": 1, "MAX_THREADS": 1},
        )
        django.setup()
        if kinds := sys.argv[1:]:
            asyncio.run(signed_in(kinds[0], sign_in()))
        else:
            asyncio.run(plain())
