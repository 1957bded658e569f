"""Fixtures for pytest, loaded by itself where pytest is.

With pytest-asyncio the test's thread runs the event loop. ``asgi_worker`` then lets
all sync code, that of the requests and that behind the test's own
``await Model.objects.acreate()``, run on one worker with the test's database
connections. Async fixtures that use the database ask for it too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.test import modify_settings

from django_asgi_bridge.testing.client import AsyncClient
from django_asgi_bridge.testing.live import (
    ASGILiveServerTestCase,
    LiveServer,
    serve_static_files,
)
from django_asgi_bridge.testing.websocket import WebsocketCommunicator
from django_asgi_bridge.testing.worker import borrowed_connections

__all__ = ("asgi_client", "asgi_worker", "live_asgi_server", "websocket")


@pytest.fixture
def asgi_worker() -> Iterator[None]:
    """Let the sync code behind a test's awaits have the test's connections.

    Does nothing for tests that run below ``async_to_sync``.
    """
    with borrowed_connections():
        yield


@pytest.fixture
def asgi_client(asgi_worker: None) -> AsyncClient:
    """Give a client whose requests see the data of the test, and the other way."""
    return AsyncClient()


@pytest.fixture
def websocket(asgi_worker: None) -> Iterator[Callable[..., Any]]:
    """Give a function that makes clients of WebSockets.

    It takes the arguments of ``WebsocketCommunicator``; without an application, the
    first is the path and the project's own application serves it. Applications that
    still run at the test's end are cancelled.
    """
    made: list[WebsocketCommunicator] = []

    def make(*args: Any, **kwargs: Any) -> WebsocketCommunicator:
        if args and isinstance(args[0], str):
            args = (_project(), *args)
        client = WebsocketCommunicator(*args, **kwargs)
        made.append(client)
        return client

    yield make
    for client in made:
        client.stop(exceptions=False)


@pytest.fixture
def live_asgi_server(transactional_db: None) -> Iterator[Any]:
    """Give a running server of the project, with static files.

    It has ``url`` and ``ws_url``. It needs pytest-django and uvicorn; the test's data
    is committed, so that the server sees it.
    """
    with modify_settings(ALLOWED_HOSTS={"append": "localhost"}):
        server = LiveServer(serve_static_files(_project()))
        server.start()
        try:
            yield server
        finally:
            server.stop()


def _project() -> Any:
    """Return what a live server test case serves."""
    return ASGILiveServerTestCase.get_application()
