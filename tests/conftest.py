"""Services and temporary files that more than one test module asks for."""

import importlib.util
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from django_asgi_bridge import threads

# With it, a test that finds no service fails instead of skipping.
REQUIRE_SERVICES = "BRIDGE_REQUIRE_SERVICES"
DEFAULT_REDIS_URL = "redis://127.0.0.1:6379/0"
DEFAULT_POSTGRES_URL = "postgres://postgres@127.0.0.1:5432/postgres"
# The asserts of modules that tests share hold as well, also under `python -O`.
pytest.register_assert_rewrite(
    "tests.browser",
    *(
        f"tests.{each.parent.name}"
        for each in Path(__file__).parent.glob("*/__init__.py")
    ),
)

SERVERS = ("daphne", "granian", "gunicorn", "hypercorn", "uvicorn", "uvicorn_worker")


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests whose servers or services are not here, or fail them."""
    if item.get_closest_marker("servers") and os.environ.get(REQUIRE_SERVICES):
        missing = [name for name in SERVERS if importlib.util.find_spec(name) is None]
        if missing:
            pytest.fail(f"not installed: {', '.join(missing)}", pytrace=False)
    if item.get_closest_marker("postgres") and not _postgres_answers():
        _unavailable("no PostgreSQL server at BRIDGE_POSTGRES_URL")


@pytest.fixture(autouse=True, scope="module")
def _no_worker_outlives_its_module() -> Iterator[None]:
    """End the worker threads, whose connections the next module may not touch."""
    yield
    threads.get_pool().shutdown()


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """Give the URL of a PostgreSQL database that a test may write to.

    For tests marked `postgres`; those are skipped when no server answers.
    """
    return os.environ.get("BRIDGE_POSTGRES_URL", DEFAULT_POSTGRES_URL)


@pytest.fixture(scope="session")
def redis_url() -> str:
    """Give the URL of a Redis server; a test without one is skipped.

    Tests share it with others: they use a key prefix of their own.
    """
    url = os.environ.get("BRIDGE_REDIS_URL", DEFAULT_REDIS_URL)
    parts = urlsplit(url)
    if not _answers(parts.hostname or "127.0.0.1", parts.port or 6379):
        _unavailable("no Redis server at BRIDGE_REDIS_URL")
    return url


@pytest.fixture
def media(settings, tmp_path: Path) -> Path:
    """Give the folder that uploaded files of this test go to."""
    settings.MEDIA_ROOT = tmp_path
    return tmp_path


def _postgres_answers() -> bool:
    if importlib.util.find_spec("psycopg") is None:
        return False
    url = urlsplit(os.environ.get("BRIDGE_POSTGRES_URL", DEFAULT_POSTGRES_URL))
    return _answers(url.hostname or "127.0.0.1", url.port or 5432)


def _answers(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def _unavailable(reason: str) -> None:
    if os.environ.get(REQUIRE_SERVICES):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)
