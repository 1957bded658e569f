"""The examples about WebSockets run, as the files of a project of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples" / "websockets"

SETTINGS = """
SECRET_KEY = "x"
USE_TZ = True
ROOT_URLCONF = "chat.urls"
INSTALLED_APPS = [
    "django_asgi_bridge", "django.contrib.contenttypes", "django.contrib.auth",
    "django.contrib.sessions",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
CHANNEL_LAYERS = {
    "default": {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}
}
"""

MORE = '''
"""What the pages say of the other examples."""

import types

import pytest

from chat.overflow import PricesConsumer
from chat.refusing import MembersConsumer
from django_asgi_bridge.layers import get_channel_layer
from django_asgi_bridge.testing import WebsocketCommunicator

CAN = {"websocket.http.response": {}}


def member(query="", *, signed_in=True, staff=True, **options):
    client = WebsocketCommunicator(MembersConsumer.as_asgi(), f"/?{query}", **options)
    client.scope["user"] = types.SimpleNamespace(
        is_authenticated=signed_in, is_staff=staff
    )
    return client


@pytest.mark.asyncio
async def test_refusals():
    answers = [
        await client.connect()
        for client in (
            member(signed_in=False, extensions=CAN),
            member(staff=False, extensions=CAN),
            member("again", extensions=CAN),
            member("again"),
            member(),
        )
    ]
    assert answers == [
        (False, 302), (False, 403), (False, 429), (True, None), (True, None)
    ]


@pytest.mark.asyncio
async def test_latest_price_counts():
    client = WebsocketCommunicator(PricesConsumer.as_asgi(), "/")
    await client.connect()
    layer = get_channel_layer()
    for price in range(200):
        for symbol in ("A", "B"):
            await layer.group_send(
                "prices", {"type": "price.changed", "symbol": symbol, "price": price}
            )
    seen = [await client.receive_json_from() for _ in range(3)]
    assert seen == [
        {"skipped": 398},
        {"symbol": "A", "price": 199},
        {"symbol": "B", "price": 199},
    ]
    await client.disconnect()
'''


def test_examples_run(tmp_path):
    package = tmp_path / "chat"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("consumers", "urls", "refusing", "overflow"):
        shutil.copy(EXAMPLES / f"{name}.py", package)
    shutil.copy(EXAMPLES / "test_chat.py", tmp_path)
    (tmp_path / "test_more.py").write_text(MORE, "utf-8")
    (tmp_path / "site_settings.py").write_text(SETTINGS, "utf-8")
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            ".",
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONPATH": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
    )

    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_layer_settings_make_a_layer():
    pytest.importorskip("redis")
    import runpy

    from django.utils.module_loading import import_string

    layers = runpy.run_path(str(EXAMPLES / "layer_settings.py"))["CHANNEL_LAYERS"]
    options = layers["default"]

    layer = import_string(options["BACKEND"])(**options["CONFIG"])

    assert layer.prefix == "shop"
