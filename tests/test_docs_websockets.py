"""The examples about WebSockets run, as the files of a project of their own."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import types
import uuid
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from asgiref.sync import sync_to_async
from django.contrib.auth.models import User
from django.contrib.auth.signals import user_logged_out
from django.core.cache import cache
from django.core.management import call_command
from django.test import Client, TestCase

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.auth import AuthMiddlewareStack
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers import InMemoryChannelLayer, get_channel_layer
from django_asgi_bridge.testing import WebsocketCommunicator
from django_asgi_bridge.worker import Worker
from tests.test_docs import PLUGIN, ROOT, load

EXAMPLES = Path(__file__).resolve().parent.parent / "docs" / "examples" / "websockets"

WATCHDOG = 20.0
IN_MEMORY = {"default": {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}}

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


@pytest.fixture
def project(tmp_path):
    """Give the folder of a project with the app of the examples."""
    package = tmp_path / "chat"
    package.mkdir()
    (package / "__init__.py").touch()
    for name in ("consumers", "urls", "refusing", "overflow", "visitor"):
        shutil.copy(EXAMPLES / f"{name}.py", package)
    (tmp_path / "site_settings.py").write_text(SETTINGS, "utf-8")
    return tmp_path


def said_of(folder, *names):
    """Return what pytest says of tests of the examples."""
    for name in names:
        if not (folder / name).exists():
            shutil.copy(EXAMPLES / name, folder)
    options = ["-q", "-p", "no:cacheprovider", "--rootdir", "."]
    if PLUGIN not in [each.value for each in entry_points(group="pytest11")]:
        # A checkout that is not installed has no entry points.
        options += ["-p", PLUGIN]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *names],
        cwd=folder,
        env={
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "site_settings",
            "PYTHONPATH": os.pathsep.join([str(folder), str(ROOT)]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stdout + done.stderr


def test_examples_run(project):
    """The pages' own tests pass, and so does what the pages say besides."""
    (project / "test_more.py").write_text(MORE, "utf-8")

    said = said_of(
        project,
        "test_more.py",
        "test_chat.py",
        "test_visitor.py",
        "test_events.py",
        "test_fixtures.py",
    )

    assert "7 passed" in said, said


def test_live_example_passes(project):
    pytest.importorskip("uvicorn")
    pytest.importorskip("websockets")

    said = said_of(project, "test_live.py")

    assert "1 passed" in said, said


def test_own_layer_example_is_held_to_the_rules(project):
    said = said_of(project, "test_own_layer.py")

    assert re.search(r"\d+ passed, 2 xfailed", said), said


# Authentication.


@pytest.fixture
def example(settings):
    """Give a function that imports an example and makes its URLs the site's."""
    loaded = []

    def use(name):
        module = load(EXAMPLES / f"{name}.py")
        loaded.append(module.__name__)
        if hasattr(module, "websocket_urlpatterns"):
            settings.ROOT_URLCONF = module.__name__
        return module

    yield use
    for name in loaded:
        sys.modules.pop(name, None)


async def signed_in(user):
    """Return the headers of a browser in which a user has signed in."""
    browser = Client()
    await browser.aforce_login(user)
    session = browser.cookies["sessionid"].value
    return [
        (b"host", b"testserver"),
        (b"origin", b"http://testserver"),
        (b"cookie", f"sessionid={session}".encode()),
    ]


def consumer_of(module, name, headers=()):
    """Return a client of an example's consumer, behind session and user."""
    application = AuthMiddlewareStack(getattr(module, name).as_asgi())
    return WebsocketCommunicator(application, "/", headers)


class VisitorTests(TestCase):
    """What a consumer knows and changes of its visitor."""

    @pytest.fixture(autouse=True)
    def _example(self, example):
        self.example = example

    def setUp(self):
        self.user = User.objects.create_user("ada", password="x")

    async def test_visitor_example_keeps_what_the_session_has(self):
        module = self.example("visitor")
        headers = await signed_in(self.user)
        for has in (["tea"], ["tea", "tea"]):
            client = consumer_of(module, "BasketConsumer", headers)
            await client.connect()
            await client.send_json_to("tea")
            assert await client.receive_json_from() == {"of": "ada", "has": has}
            await client.disconnect()

    async def test_visitor_example_refuses_strangers(self):
        client = consumer_of(self.example("visitor"), "BasketConsumer")

        assert (await client.connect())[0] is False

    async def test_signing_in_example_signs_in_and_out(self):
        module = self.example("signing_in")
        client = consumer_of(module, "TerminalConsumer", await signed_in(self.user))
        await client.connect()
        answers = []
        for frame in (
            {"leave": True},
            {"name": "ada", "password": "wrong"},
            {"name": "ada", "password": "x"},
        ):
            await client.send_json_to(frame)
            answers.append(await client.receive_json_from())
        await client.disconnect()

        assert [each["you"] for each in answers] == ["", "", "ada"]

    async def test_ending_example_closes_when_the_user_signs_out(self):
        module = self.example("ending")
        browser = Client()
        await browser.aforce_login(self.user)
        client = consumer_of(module, "AccountConsumer", await signed_in(self.user))
        assert (await client.connect())[0]

        await sync_to_async(browser.logout)()

        event = await client.receive_output()
        assert (event["type"], event["code"]) == ("websocket.close", 4401)
        await client.disconnect(4401)
        user_logged_out.disconnect(module.end_sockets)

    async def test_ticket_example_opens_once(self):
        module = self.example("tickets")
        application = get_asgi_application()
        browser = Client()
        await browser.aforce_login(self.user)
        answer = await sync_to_async(browser.get)("/ticket/")
        ticket = answer.json()["ticket"]
        answers = []
        for offered in (["prices", ticket], ["prices", ticket], ["prices"]):
            client = WebsocketCommunicator(
                application, "/ws/prices/", subprotocols=offered
            )
            answers.append(await client.connect())
            if answers[-1][0]:
                await client.disconnect()

        assert answers == [(True, "prices"), (False, 1000), (False, 1000)]
        assert module.SECONDS == 30

    async def test_explicit_example_serves_the_same_route(self):
        tickets = self.example("tickets")
        package = types.ModuleType("chat")
        with mock.patch.dict(sys.modules, {"chat": package, "chat.tickets": tickets}):
            application = self.example("explicit_asgi").application
        ticket = tickets.ticket_of(self.user.pk)
        client = WebsocketCommunicator(
            application,
            "/ws/prices/",
            headers=[(b"origin", b"http://testserver")],
            subprotocols=["prices", ticket],
        )

        assert await client.connect() == (True, "prices")
        await client.disconnect()


def test_origins_example_lets_a_page_in(settings, example):
    settings.ASGI_BRIDGE = example("origins").ASGI_BRIDGE

    assert "https://app.example.com" in get_config().websocket_origins


# Layers.


@pytest.mark.parametrize(
    ("name", "aliases"),
    [
        ("layer_settings", ["default"]),
        ("redis_hosts", ["default", "pair", "tls", "sentinel"]),
        ("redis_limits", ["default"]),
        ("redis_keys", ["default"]),
    ],
)
def test_settings_example_makes_layers(settings, monkeypatch, name, aliases):
    """The options of the example are options; no server is asked."""
    pytest.importorskip("redis")
    pytest.importorskip("cryptography")
    monkeypatch.setenv("LAYER_KEY", "new")
    monkeypatch.setenv("LAYER_KEY_BEFORE", "old")
    settings.CHANNEL_LAYERS = load(EXAMPLES / f"{name}.py").CHANNEL_LAYERS

    layers = [get_channel_layer(alias) for alias in aliases]

    assert list(settings.CHANNEL_LAYERS) == aliases
    assert {type(layer).__name__ for layer in layers} == {"RedisChannelLayer"}


@pytest.mark.asyncio
async def test_limits_example_has_room_for_jobs(settings):
    pytest.importorskip("redis")
    settings.CHANNEL_LAYERS = load(EXAMPLES / "redis_limits.py").CHANNEL_LAYERS
    layer = get_channel_layer()

    assert layer.prefix == "shop"
    assert layer.get_capacity("thumbnails") == 10_000
    assert layer.get_capacity("other") == 100


@pytest.mark.asyncio
async def test_keys_change_without_a_lost_message(redis_url):
    """The steps of the page, with a process in each: all understand each other."""
    pytest.importorskip("cryptography")
    from django_asgi_bridge.layers import RedisChannelLayer

    prefix = uuid.uuid4().hex
    steps = [["old"], ["old", "new"], ["new", "old"], ["new"]]
    layers = [
        RedisChannelLayer([redis_url], prefix, symmetric_encryption_keys=keys)
        for keys in steps
    ]
    for sender, reader in [(0, 1), (1, 0), (1, 2), (2, 1), (2, 3), (3, 2)]:
        await layers[sender].send("jobs", {"type": "job.new"})
        async with asyncio.timeout(WATCHDOG):
            message = await layers[reader].receive("jobs")
        assert message == {"type": "job.new"}
    for layer in layers:
        await layer.close()


class Unavailable(InMemoryChannelLayer):
    """A layer whose server is away."""

    async def group_send(self, group, message):
        raise LayerUnavailable("away")


@pytest.mark.asyncio
async def test_gap_example_looks_again(example, settings):
    settings.CHANNEL_LAYERS = IN_MEMORY
    module = example("gap")
    await cache.aset("score", 1)
    client = WebsocketCommunicator(module.ScoreConsumer.as_asgi(), "/")
    await client.connect()
    assert await client.receive_json_from() == {"score": 1}

    await cache.aset("score", 2)
    (live,) = get_channel_layer()._mailboxes.values()
    live.mailbox.note_gap({"score": None})

    assert await client.receive_json_from() == {"score": 2}
    await client.disconnect()


@pytest.mark.asyncio
async def test_unavailable_example_goes_on(example, settings):
    module = example("unavailable")
    settings.CHANNEL_LAYERS = {"default": {"BACKEND": f"{__name__}.Unavailable"}}
    client = WebsocketCommunicator(module.LobbyConsumer.as_asgi(), "/")
    await client.connect()

    await client.send_json_to("hello")

    assert await client.receive_json_from() == {"error": "not sent, try again"}
    await client.disconnect()


@pytest.mark.asyncio
async def test_announce_example_reaches_the_room(example, settings):
    settings.CHANNEL_LAYERS = IN_MEMORY
    client = WebsocketCommunicator(example("consumers").ChatConsumer.as_asgi(), "/")
    client.scope["url_route"] = {"args": (), "kwargs": {"name": "hide"}}
    await client.connect()

    command = example("announce").Command()
    await sync_to_async(call_command)(command, "hide", "closing soon")

    assert await client.receive_json_from() == {"text": "closing soon"}
    await client.disconnect()


@pytest.mark.asyncio
async def test_jobs_example_is_served(example, settings):
    settings.CHANNEL_LAYERS = IN_MEMORY
    jobs = example("jobs")
    package = types.ModuleType("chat")
    with mock.patch.dict(sys.modules, {"chat": package, "chat.jobs": jobs}):
        application = example("jobs_asgi").application
    layer = get_channel_layer()
    worker = Worker(application, ["thumbnails"], layer)
    working = asyncio.create_task(worker.arun())
    for photo in range(8):
        await jobs.ask_for(photo)
    async with asyncio.timeout(WATCHDOG):
        while layer.stats().waiting:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    worker.stop()
    await working

    assert [cache.get(f"thumbnail:{photo}") for photo in range(8)] == ["made"] * 8


# Overflow.


@pytest.mark.asyncio
async def test_dropped_example_closes_and_says_so(example, caplog):
    module = example("dropped")
    going_on = asyncio.Event()

    consumer: Any = module.SensorConsumer

    class Slow(consumer):
        async def receive(self, text_data=None, bytes_data=None):
            await going_on.wait()

    client = WebsocketCommunicator(Slow.as_asgi(), "/")
    await client.connect()
    for _ in range(20):
        await client.send_to("21.5")
    event = await client.receive_output()
    going_on.set()
    await client.disconnect()

    assert (event["type"], event["code"]) == ("websocket.close", 1013)
    assert "closed with 1013" in caplog.text
