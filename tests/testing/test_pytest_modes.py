"""pytest-asyncio's two modes and both databases, each in a pytest of its own."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).absolute().parent.parent.parent

SUITE = """
import pytest
import pytest_asyncio
from django.contrib.auth.models import User
from django.db import connection

from django_asgi_bridge.testing import AsyncClient

{mark}


@pytest.fixture
def sync_user(db):
    return User.objects.create(username="ada")


@pytest_asyncio.fixture
async def async_user(db, asgi_worker):
    return await User.objects.acreate(username="bob")


async def names(client, url):
    return (await client.get(url)).json()["users"]


@pytest.mark.parametrize("url", ["/users/", "/users/async/"])
async def test_fixtures_data_is_seen(sync_user, async_user, asgi_client, url):
    assert await names(asgi_client, url) == ["ada", "bob"]


@pytest.mark.parametrize("url", ["/users/add/?name=eve", "/users/add/async/?name=eve"])
async def test_requests_data_is_seen(sync_user, asgi_client, url):
    await asgi_client.get(url)
    assert await User.objects.acount() == 2


async def test_plain_client_sees_data(sync_user):
    assert await names(AsyncClient(), "/users/") == ["ada"]


@pytest.mark.django_db(transaction=True)
async def test_committed_data_is_seen(asgi_client):
    await User.objects.acreate(username="kim")
    await asgi_client.get("/users/add/?name=lea")
    assert await names(asgi_client, "/users/async/") == ["kim", "lea"]


@pytest.mark.django_db
async def test_nothing_was_left(asgi_client):
    assert await names(asgi_client, "/users/") == []


async def test_database_is_refused_without_a_mark(asgi_client):
    with pytest.raises(RuntimeError, match="Database access not allowed"):
        await asgi_client.get("/users/")


@pytest.mark.django_db
def test_sync_tests_still_use_their_thread(asgi_client):
    from asgiref.sync import async_to_sync

    User.objects.create(username="max")
    assert async_to_sync(names)(asgi_client, "/users/") == ["max"]
"""

SETTINGS = """
from tests import settings as suite

globals().update({name: value for name, value in vars(suite).items() if name.isupper()})
ROOT_URLCONF = "tests.testing.site"
"""


def run_pytest(folder: Path, mode: str, **environment: str) -> None:
    """Run the suite in a folder with an ini file of its own."""
    mark = "pytestmark = pytest.mark.asyncio" if mode == "strict" else ""
    # A mark on a sync test is a warning of pytest-asyncio's, so it gets none.
    suite = SUITE.format(mark="")
    if mark:
        suite = suite.replace(
            "async def test_", "@pytest.mark.asyncio\nasync def test_"
        )
    (folder / "test_suite.py").write_text(suite)
    (folder / "inner_settings.py").write_text(SETTINGS)
    (folder / "pytest.ini").write_text(
        "[pytest]\n"
        f"asyncio_mode = {mode}\n"
        "asyncio_default_fixture_loop_scope = function\n"
        "DJANGO_SETTINGS_MODULE = inner_settings\n"
        "filterwarnings = error\n"
    )
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"),
            *(("-p", PLUGIN) if not _is_installed() else ()),
        ],
        cwd=folder,
        env={
            **os.environ,
            **environment,
            "DJANGO_SETTINGS_MODULE": "inner_settings",
            "PYTHONPATH": os.pathsep.join([str(ROOT), str(folder)]),
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


PLUGIN = "django_asgi_bridge.testing.plugin"


def _is_installed() -> bool:
    """Tell whether pytest finds the plugin by its entry point."""
    from importlib.metadata import entry_points

    return any(each.value == PLUGIN for each in entry_points(group="pytest11"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_client_works_in_the_mode(tmp_path, mode):
    """With in-memory SQLite."""
    run_pytest(tmp_path, mode)


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_client_works_on_postgresql(tmp_path, postgres_url, mode):
    """With PostgreSQL."""
    run_pytest(tmp_path, mode, DATABASE_URL=postgres_url)
