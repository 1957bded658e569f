"""WebSocket routes in the URLconf, and what stands in front of them."""

import logging

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.template import Context, Template
from django.test import RequestFactory
from django.urls import NoReverseMatch, Resolver404, path

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.layers import InMemoryChannelLayer, channel_layers
from django_asgi_bridge.routing import URLRouter, reverse
from django_asgi_bridge.routing.urlconf import WebSocketURLconf
from django_asgi_bridge.testing import WebsocketCommunicator
from tests.routing.consumers import Echo

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db]

CAN_REFUSE = {"websocket.http.response": {}}


@pytest.fixture(autouse=True)
def urlconf(settings):
    settings.ROOT_URLCONF = "tests.routing.urls"
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"


def client(target, headers=(), **options):
    options.setdefault("extensions", CAN_REFUSE)
    return WebsocketCommunicator(
        get_asgi_application(), target, headers=headers, **options
    )


async def test_route_of_an_included_module_serves_its_consumer():
    socket = client("/ws/acme/room/3/")

    assert await socket.connect() == (True, None)
    said = await socket.receive_json_from()
    assert said["kwargs"] == {"org": "acme", "pk": 3}
    assert said["user"] == "AnonymousUser"
    await socket.disconnect()


@pytest.mark.parametrize("extensions", [CAN_REFUSE, None])
async def test_unknown_path_is_a_404_with_one_line_in_the_log(extensions, caplog):
    """C6."""
    socket = client("/ws/nothing/", extensions=extensions)

    with caplog.at_level(logging.INFO):
        is_open, code = await socket.connect()

    assert not is_open
    assert extensions is None or code == 404
    (record,) = [each for each in caplog.records if each.name == "django.request"]
    assert record.getMessage() == "Not Found: /ws/nothing/ (WebSocket)"
    assert record.exc_info is None


@pytest.mark.parametrize("extensions", [CAN_REFUSE, None])
async def test_router_in_middleware_that_knows_no_route_is_a_404(extensions, caplog):
    """It is an inner router there: its error is one for an outer one."""
    socket = client("/ws/router/", extensions=extensions)

    with caplog.at_level(logging.INFO):
        is_open, code = await socket.connect()
    await socket.wait()

    assert not is_open
    assert extensions is None or code == 404
    (record,) = [each for each in caplog.records if each.name == "django.request"]
    assert record.getMessage() == "Not Found: /ws/router/ (WebSocket)"


async def test_consumer_in_middleware_is_served():
    socket = client("/ws/wrapped/")

    assert await socket.connect() == (True, None)
    assert (await socket.receive_json_from())["user"] == "AnonymousUser"
    await socket.disconnect()


async def test_path_that_a_consumer_does_not_find_is_its_own_error(caplog):
    """The handshake was answered long ago."""
    socket = client("/ws/looking/")
    await socket.connect()
    await socket.send_json_to("nowhere")

    with pytest.raises(Resolver404, match="nowhere"):
        await socket.wait()

    assert "Not Found" not in caplog.text


async def test_site_without_routes_answers_404(settings):
    settings.ROOT_URLCONF = "tests.http.urls"

    assert await client("/ws/plain/").connect() == (False, 404)


async def test_mounted_path_is_resolved_below_its_root():
    socket = client("/site/ws/plain/")
    socket.scope["root_path"] = "/site"

    assert await socket.connect() == (True, None)
    said = await socket.receive_json_from()
    assert said["urls"] == ["/site/", "/site/ws/plain/"]
    await socket.disconnect()


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([(b"host", b"a"), (b"host", b"b")], 400),
        ([(b"origin", b"http://a"), (b"origin", b"http://a")], 400),
        ([(b"x", b"a\x00b")], 400),
        ([(b"host", b"a"), (b"origin", b"http://b")], 403),
    ],
)
async def test_bad_handshake_is_refused(headers, status, caplog):
    assert await client("/ws/plain/", headers).connect() == (False, status)


async def test_headers_with_underscores_reach_no_consumer():
    """1.10: they would pass for others with hyphens."""
    socket = client("/ws/plain/", [(b"x_forwarded_for", b"evil"), (b"x-a", b"b")])
    await socket.connect()

    assert (await socket.receive_json_from())["headers"] == ["x-a"]
    await socket.disconnect()


async def test_consumers_from_the_urlconf_have_strict_events(caplog):
    layer = InMemoryChannelLayer()
    channel_layers.set("default", layer)
    try:
        socket = client("/ws/plain/")
        await socket.connect()
        await socket.receive_json_from()
        (name,) = layer._mailboxes
        await layer.send(name, {"type": "close"})
        await layer.send(name, {"type": "fail"})
        await socket.disconnect()
    finally:
        channel_layers.backends.pop("default")

    assert "'close'" in caplog.text


# Names.


@pytest.mark.parametrize(
    ("name", "options", "expected"),
    [
        ("plain", {}, "/ws/plain/"),
        ("chat:room", {"kwargs": {"org": "a", "pk": 1}}, "/ws/a/room/1/"),
        ("chat:room", {"args": ["a", 1]}, "/ws/a/room/1/"),
        ("plain", {"query": {"q": ["1", "2"]}}, "/ws/plain/?q=1&q=2"),
    ],
)
async def test_names_resolve(name, options, expected):
    assert reverse(name, **options) == expected


async def test_unknown_name_is_djangos_error():
    with pytest.raises(NoReverseMatch):
        reverse("nobody")


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        (None, "/ws/a/room/1/"),
        (RequestFactory().get("/"), "ws://testserver/ws/a/room/1/"),
        (RequestFactory().get("/", secure=True), "wss://testserver/ws/a/room/1/"),
    ],
)
async def test_template_tag_gives_the_address(request_, expected):
    template = Template(
        "{% load websockets %}{% websocket_url 'chat:room' org='a' pk=1 %}"
    )
    content = {} if request_ is None else {"request": request_}

    assert template.render(Context(content)) == expected


async def test_routes_follow_the_setting(settings):
    assert reverse("plain") == "/ws/plain/"
    settings.ROOT_URLCONF = "tests.routing.chat_urls"

    assert reverse("room", args=[1]) == "/room/1/"
    with pytest.raises(NoReverseMatch):
        reverse("plain")


@pytest.mark.parametrize("entry", [path("a/", URLRouter([])), "nonsense"])
async def test_entry_that_is_no_route_is_named(entry):
    with pytest.raises(ImproperlyConfigured, match="websocket_urlpatterns"):
        WebSocketURLconf([entry])


async def test_class_in_the_place_of_an_application_is_named():
    """Forgotten ``as_asgi()``: else each handshake would be a TypeError."""
    with pytest.raises(ImproperlyConfigured, match=r"write Echo\.as_asgi\(\)"):
        WebSocketURLconf([path("a/", Echo)])
