"""A real server beside a test."""

import json
from urllib.request import urlopen

import pytest
from django.contrib.auth import get_user_model
from django.test import override_settings

from django_asgi_bridge.testing import (
    ASGILiveServerTestCase,
    ChannelsLiveServerTestCase,
)

pytest.importorskip("uvicorn")
websockets = pytest.importorskip("websockets.sync.client")


@override_settings(ROOT_URLCONF="tests.live_urls", STATIC_URL="/static/", DEBUG=True)
class LiveTests(ASGILiveServerTestCase):
    """HTTP, WebSockets and static files, with a database in memory."""

    def test_pages_see_the_tests_data(self):
        get_user_model().objects.create_user("bob")

        with urlopen(f"{self.live_server_url}/users/") as response:
            assert json.load(response) == ["bob"]

    def test_sockets_see_the_tests_data_and_write_their_own(self):
        get_user_model().objects.create_user("bob")

        with websockets.connect(f"{self.live_server_ws_url}/ws/users/") as socket:
            socket.send("eve")
            assert json.loads(socket.recv()) == ["bob", "eve"]

        assert get_user_model().objects.count() == 2

    def test_static_files_are_served(self):
        with urlopen(f"{self.live_server_url}/static/admin/css/base.css") as response:
            assert response.status == 200


class NamedTests(ChannelsLiveServerTestCase):
    """Under the name that Channels has for it."""

    def test_it_serves_the_project(self):
        with urlopen(self.live_server_url) as response:
            assert response.status == 200


@override_settings(ROOT_URLCONF="tests.live_urls", STATIC_URL=None)
class WithoutStaticTests(ASGILiveServerTestCase):
    """A project that has no static files needs no setting for them."""

    def test_it_serves_the_project(self):
        with urlopen(f"{self.live_server_url}/users/") as response:
            assert json.load(response) == []
