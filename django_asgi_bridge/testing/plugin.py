"""Fixtures for pytest, loaded by itself where pytest is.

With pytest-asyncio the test's thread runs the event loop. ``asgi_worker`` then lets
all sync code, that of the requests and that behind the test's own
``await Model.objects.acreate()``, run on one worker with the test's database
connections. Async fixtures that use the database ask for it too.
"""

from collections.abc import Iterator

import pytest

from django_asgi_bridge.testing.client import AsyncClient
from django_asgi_bridge.testing.worker import borrowed_connections

__all__ = ("asgi_client", "asgi_worker")


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
