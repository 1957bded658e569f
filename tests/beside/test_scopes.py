"""Routes, cookies, sessions and users: what Channels does wrong with a scope.

Rows C6, C7, C8, C10, C11, C15, C16 and C22.
"""

import datetime
from typing import Any

import pytest
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.sessions.backends.cache import SessionStore
from django.core.exceptions import PermissionDenied
from django.http import Http404
from django.test import override_settings
from django.urls import path

from tests.beside.sides import OURS, on_both
from tests.consumer.wire import Wire

pytestmark = pytest.mark.asyncio

CAN_REFUSE = {"websocket.http.response": {}}

websocket_urlpatterns: list[Any] = []
urlpatterns: list[Any] = []


@pytest.fixture(autouse=True)
def engine(settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"


def site(side, settings):
    """Return the application that a project of that side's documentation serves."""
    if side is OURS:
        settings.ROOT_URLCONF = __name__
        return side("asgi").get_asgi_application()
    routing = side("routing")
    return routing.ProtocolTypeRouter({"websocket": routing.URLRouter([])})


# Routes.


@on_both("C6: a wrong address is an error of the server's", ValueError)
@pytest.mark.parametrize("extensions", [CAN_REFUSE, {}], ids=["can refuse", "cannot"])
async def test_unknown_path_is_refused(side, settings, extensions):
    wire = Wire(site(side, settings), path="/ws/nothing/", extensions=extensions)
    wire.push("connect")
    await wire.end()

    first = wire.sent[0]
    expected = "websocket.http.response.start" if extensions else "websocket.close"
    assert first["type"] == expected
    assert first.get("status", 404) == 404


@on_both(
    "C6, C8: what means a status in a view is an error", (Http404, PermissionDenied)
)
@pytest.mark.parametrize(("error", "status"), [(Http404, 404), (PermissionDenied, 403)])
@pytest.mark.parametrize("kind", ["AsyncWebsocketConsumer", "WebsocketConsumer"])
async def test_connect_may_refuse_as_a_view_does(side, kind, error, status):
    def connect(self):
        raise error

    async def connect_async(self):
        raise error

    method = connect_async if kind.startswith("Async") else connect
    base = getattr(side("generic.websocket"), kind)
    refusing = type("Refusing", (base,), {"connect": method})
    wire = await Wire(refusing.as_asgi(), extensions=CAN_REFUSE).open()
    await wire.leave()

    assert wire.sent[0]["type"] == "websocket.http.response.start"
    assert wire.sent[0]["status"] == status


@on_both("C7: it serves no lifespan", ValueError)
async def test_protocol_router_answers_lifespan(side):
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return events.pop(0)

    async def send(event):
        sent.append(event["type"])

    router = side("routing").ProtocolTypeRouter({})
    await router({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@on_both("C22: it puts patterns of its own into the routes", AssertionError)
async def test_url_router_leaves_its_routes_as_they_are(side):
    router = side("routing").URLRouter
    route = path("a/", router([]))
    pattern = route.pattern

    router([route])

    assert route.pattern is pattern


# Cookies and sessions.


@on_both("C10: it reads the first header alone", AssertionError)
async def test_cookies_of_all_headers_count(side):
    async def inner(scope, receive, send):
        return scope["cookies"]

    headers = [(b"cookie", b"a=1"), (b"cookie", b"b=2")]
    middleware = side("sessions").CookieMiddleware(inner)

    assert await middleware({"headers": headers}, None, None) == {"a": "1", "b": "2"}


@on_both("C11: it asks for a time zone that Django has no longer", AttributeError)
async def test_cookie_may_end_at_an_aware_moment(side):
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    message: dict[str, Any] = {}

    side("sessions").CookieMiddleware.set_cookie(message, "k", "v", expires=moment)

    ((_, field),) = message["headers"]
    assert b"Max-Age=3600" in field


async def answered(side, event, change, cookies=b""):
    """Return what is sent where a consumer changes its session, then answers."""
    sent = []

    async def application(scope, receive, send):
        change(scope["session"])
        await send(dict(event))

    async def send(message):
        sent.append(message)

    scope = {"type": "websocket", "headers": [(b"cookie", cookies)]}
    stack = side("sessions").SessionMiddlewareStack(application)
    await stack(scope, None, send)
    return sent


def put(session):
    session["a"] = 1


@on_both("C11: the cookie is deleted under another SameSite", AssertionError)
async def test_deleted_cookie_says_the_samesite_of_the_setting(side, settings):
    settings.SESSION_COOKIE_SAMESITE = "None"
    event = {"type": "http.response.start", "status": 200}

    (sent,) = await answered(
        side, event, lambda session: session.flush(), b"sessionid=old"
    )

    ((_, field),) = sent["headers"]
    assert b"SameSite=None" in field


@on_both("C16: a WebSocket's session is never saved", AssertionError)
async def test_session_is_saved_when_the_handshake_is_answered(side):
    (sent,) = await answered(side, {"type": "websocket.accept"}, put)

    assert [name for name, _ in sent.get("headers", ())] == [b"Set-Cookie"]


@on_both("C16: it saves with every failure but 500", AssertionError)
async def test_session_is_not_saved_when_the_server_failed(side):
    event = {"type": "http.response.start", "status": 503}

    (sent,) = await answered(side, event, put)

    assert "headers" not in sent


# Users.


class Backend:
    """Knows one user, without a database."""

    def get_user(self, pk):
        return get_user_model()(pk=pk, password="unchanged")


@on_both("C15: a new SECRET_KEY ends all sessions", AssertionError)
async def test_rotated_secret_key_flushes_no_session(side):
    backend = f"{__name__}.Backend"
    user = Backend().get_user(1)
    session = SessionStore()
    session[SESSION_KEY] = "1"
    session[BACKEND_SESSION_KEY] = backend
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()

    with override_settings(
        AUTHENTICATION_BACKENDS=[backend],
        SECRET_KEY="new",
        SECRET_KEY_FALLBACKS=["tests only"],
    ):
        found = await side("auth").get_user({"session": session})

    assert found == user
    assert SESSION_KEY in session
