"""The chat, the board, the search and the closed door of the testproject."""

import asyncio
import os
import socket as sockets
import subprocess
import sys
import uuid
from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.test import TestCase, TransactionTestCase, override_settings
from django.urls import reverse

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.layers import channel_layers
from django_asgi_bridge.testing import ASGILiveServerTestCase, WebsocketCommunicator
from testproject.notes.models import Note
from testproject.talk.models import Line, Room
from tests.browser import Browser

ROOT = Path(__file__).resolve().parent.parent
LAYER = {"default": {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}}


def socket(path, **options):
    return WebsocketCommunicator(get_asgi_application(), path, **options)


async def joined(path):
    """Return a visitor's socket and the name it was given."""
    client = socket(path)
    assert (await client.connect())[0]
    first = await client.receive_json_from()
    assert await client.receive_json_from() == {"here": first["you"]}
    return client, first


@override_settings(CHANNEL_LAYERS=LAYER)
class TalkTests(TestCase):
    """In the test's transaction, and without a server."""

    def setUp(self):
        self.room = Room.objects.create(name="Hide", slug="hide")
        Line.objects.create(room=self.room, author="ada", text="anybody there?")

    async def test_newcomer_sees_history_and_who_is_there(self):
        one, first = await joined("/ws/rooms/hide/")
        two, second = await joined("/ws/rooms/hide/")

        assert [line["text"] for line in first["history"]] == ["anybody there?"]
        assert await one.receive_json_from() == {"here": second["you"]}
        assert await two.receive_json_from() == {"here": first["you"]}
        await one.disconnect()
        assert await two.receive_json_from() == {"left": first["you"]}
        await two.disconnect()
        assert channel_layers["default"].groups == {}

    async def test_what_is_said_is_kept_and_told_to_all(self):
        one, first = await joined("/ws/rooms/hide/")
        two, _ = await joined("/ws/rooms/hide/")
        await one.receive_json_from()
        await two.receive_json_from()

        await one.send_json_to({"text": " hello "})
        await one.send_json_to({"text": "   "})
        await one.send_json_to(["nonsense"])
        told = [await client.receive_json_from() for client in (one, two)]

        assert told[0] == told[1]
        assert told[0]["line"]["text"] == "hello"
        assert told[0]["line"]["author"] == first["you"]
        assert await Line.objects.acount() == 2
        await one.disconnect()
        await two.disconnect()

    async def test_room_that_does_not_exist_is_a_404(self):
        client = socket("/ws/rooms/no/", extensions={"websocket.http.response": {}})

        assert await client.connect() == (False, 404)
        await client.disconnect(1006)

    async def test_search_is_a_sync_consumer(self):
        author = await get_user_model().objects.acreate_user("ada")
        for title in ("Ospreys", "Otters", "Bats"):
            await Note.objects.acreate(title=title, body="", author=author)
        client = socket("/ws/search/")
        await client.connect()

        await client.send_json_to({"q": "o"})
        answer = await client.receive_json_from()

        assert {note["title"] for note in answer["notes"]} == {"Ospreys", "Otters"}
        await client.disconnect()

    async def test_door_gives_its_reason_in_both_ways(self):
        offers = {"websocket.http.response": {}}
        response = socket("/ws/door/?how=response", extensions=offers)
        assert await response.connect() == (False, 403)
        assert b"ospreys" in response.denial["body"]
        await response.disconnect(1006)
        close = socket("/ws/door/?how=close")
        assert await close.connect() == (True, None)
        event = await close.receive_output()

        assert (event["code"], "ospreys" in event["reason"]) == (4403, True)
        await close.disconnect()

    def test_pages_show_and_rooms_open(self):
        for name in ("rooms", "board", "search", "door"):
            assert self.client.get(reverse(name)).status_code == 200
        answer = self.client.post(reverse("rooms"), {"name": "Río Duero"})
        assert answer["Location"] == "/rooms/rio-duero/"
        page = self.client.get(answer["Location"]).content.decode()

        assert "Río Duero" in page
        assert "needs an ASGI server" in page
        assert (
            "letter or digit"
            in self.client.post(reverse("rooms"), {"name": "!!"}).content.decode()
        )


@override_settings(CHANNEL_LAYERS=LAYER)
class BoardTests(TransactionTestCase):
    """With commits, which the board waits for."""

    async def test_new_note_reaches_every_board(self):
        clients = [socket("/ws/board/") for _ in range(3)]
        for client in clients:
            await client.connect()
        author = await get_user_model().objects.acreate_user("ada")

        await Note.objects.acreate(title="Ospreys", body="", author=author)
        frames = [await client.receive_json_from() for client in clients]

        assert [frame["title"] for frame in frames] == ["Ospreys"] * 3
        for client in clients:
            await client.disconnect()


@override_settings(CHANNEL_LAYERS=LAYER, DEBUG=True)
class BrowserTests(ASGILiveServerTestCase):
    """Two pages of a real browser."""

    @pytest.fixture(autouse=True)
    def _browser(self, tmp_path):
        pytest.importorskip("websockets")
        self.browser = Browser(tmp_path / "profile")
        yield
        self.browser.close()

    def test_two_visitors_see_each_other_and_what_they_say(self):
        Room.objects.create(name="Hide", slug="hide")
        url = f"{self.live_server_url}/rooms/hide/"
        pages = [self.browser.open(url), self.browser.open(url)]
        for page in pages:
            page.until("document.getElementById('here')?.textContent.includes(', ')")

        pages[0].run(
            "document.getElementById('text').value = 'hello <b>there</b>';"
            "document.querySelector('#say button').click()"
        )
        for page in pages:
            page.until("!!document.querySelector('#lines li')")
            assert "hello <b>there</b>" in page.text()
        picture = pages[1].screenshot()
        kept = os.environ.get("BRIDGE_SCREENSHOTS")
        if kept:
            Path(kept, "room.png").write_bytes(picture)
        pages[0].close()

        assert picture.startswith(b"\x89PNG")
        pages[1].close()

    def test_closed_door_tells_the_browser_why(self):
        page = self.browser.open(f"{self.live_server_url}/door/")
        page.until("!!document.querySelector('[data-how=close]')")
        seen = "document.getElementById('seen')?.textContent"

        page.until(
            "(document.querySelector('[data-how=close]').click(),"
            f" {seen}.includes('4403'))"
        )
        assert "ospreys" in page.run(seen)
        page.until(
            "(document.querySelector('[data-how=response]').click(),"
            f" {seen}.includes('1006'))"
        )
        page.close()


# Two processes.


def free_port():
    with sockets.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def serve(port, environment):
    return subprocess.Popen(
        [
            sys.executable, "-m", "uvicorn", "testproject.asgi:application",
            "--port", str(port), "--log-level", "error",
        ],
        cwd=ROOT,
        env=environment,
    )  # fmt: skip


@pytest.mark.servers
def test_visitors_of_two_processes_meet_over_redis(redis_url, tmp_path):
    from websockets.asyncio.client import connect

    environment = {
        **os.environ,
        "REDIS_URL": redis_url,
        "DATABASE_URL": "",
        "DJANGO_SETTINGS_MODULE": "tests.talk_settings",
        "TALK_DATABASE": str(tmp_path / "db.sqlite3"),
        "TALK_PREFIX": f"t{uuid.uuid4().hex[:12]}",
    }
    subprocess.run(
        [sys.executable, "testproject/manage.py", "setup_demo"],
        cwd=ROOT,
        env=environment,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    ports = [free_port(), free_port()]
    servers = [serve(port, environment) for port in ports]

    async def talk():
        async def visit(port):
            async with asyncio.timeout(60):
                while True:
                    try:
                        return await connect(f"ws://127.0.0.1:{port}/ws/rooms/hide/")
                    except OSError:
                        await asyncio.sleep(0.1)

        one, two = [await visit(port) for port in ports]
        async with asyncio.timeout(30):
            for visitor in (one, two):
                # Before that they are not in the group.
                while "here" not in await visitor.recv():
                    pass
            await one.send('{"text": "from one"}')
            while "from one" not in await two.recv():
                pass
            await two.send('{"text": "from two"}')
            while "from two" not in await one.recv():
                pass
        await one.close()
        await two.close()

    try:
        asyncio.run(talk())
    finally:
        for server in servers:
            server.terminate()
        for server in servers:
            server.wait(20)
