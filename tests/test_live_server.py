"""A real server beside a test."""

import json
from urllib.error import HTTPError
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


async def APPLICATION(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": scope.get("note", b"")})


class Wrapped:
    """A wrapper for static files that wraps nothing."""

    def __init__(self, application):
        self.application = application

    async def __call__(self, scope, receive, send):
        await self.application({**scope, "note": b"named, wrapped"}, receive, send)


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

    def test_it_has_the_attributes_of_channels(self):
        case = ChannelsLiveServerTestCase

        assert (case.host, case.serve_static) == ("localhost", True)
        assert case.static_wrapper is not None
        assert hasattr(case, "ProtocolServerProcess")
        assert self.live_server_url.startswith("http://localhost:")
        assert self.live_server_ws_url.startswith("ws://localhost:")


@override_settings(ROOT_URLCONF="tests.live_urls", STATIC_URL="/static/", DEBUG=True)
class NoStaticTests(ChannelsLiveServerTestCase):
    """Without static files, and with an application of its own."""

    serve_static = False

    def test_static_files_are_the_projects_business(self):
        with pytest.raises(HTTPError, match="404"):
            urlopen(f"{self.live_server_url}/static/admin/css/base.css")


@override_settings(ASGI_APPLICATION="tests.test_live_server.APPLICATION")
class NamedApplicationTests(ChannelsLiveServerTestCase):
    """What ``ASGI_APPLICATION`` names is what is served."""

    static_wrapper = Wrapped

    def test_application_of_the_setting_is_served_inside_the_wrapper(self):
        with urlopen(self.live_server_url) as response:
            assert response.read() == b"named, wrapped"
