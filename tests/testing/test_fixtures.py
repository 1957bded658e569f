"""The fixtures for WebSockets and for a real server."""

import json
from urllib.request import urlopen

import pytest
from django.contrib.auth import get_user_model

from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer

URLS = "tests.live_urls"


class Echo(AsyncWebsocketConsumer):
    """Says what it hears."""

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=text_data)


@pytest.mark.asyncio
async def test_websocket_makes_clients_of_an_application(websocket):
    client = websocket(Echo.as_asgi(), "/")

    assert await client.connect() == (True, None)
    await client.send_to(text_data="hello")
    assert await client.receive_from() == "hello"
    await client.disconnect()


@pytest.mark.asyncio
@pytest.mark.django_db
async def test_websocket_serves_the_project_when_given_a_path(websocket, settings):
    settings.ROOT_URLCONF = URLS
    await get_user_model().objects.acreate_user("bob")
    client = websocket("/ws/users/")

    assert await client.connect() == (True, None)
    await client.send_to(text_data="eve")
    assert await client.receive_json_from() == ["bob", "eve"]
    await client.disconnect()


def test_live_server_sees_the_tests_data(live_asgi_server, settings):
    pytest.importorskip("uvicorn")
    settings.ROOT_URLCONF = URLS
    get_user_model().objects.create_user("bob")

    with urlopen(f"{live_asgi_server.url}/users/") as response:
        assert json.load(response) == ["bob"]
    assert live_asgi_server.ws_url.startswith("ws://localhost:")
