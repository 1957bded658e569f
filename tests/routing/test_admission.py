"""Layers that are asked one after the other, before the application they are around."""

import asyncio
import functools
import sys
from unittest import mock

import pytest
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
)
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import TestCase
from django.urls import path

from django_asgi_bridge.auth import AuthMiddleware, get_user
from django_asgi_bridge.consumer import AsyncConsumer
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.routing import URLRouter
from django_asgi_bridge.sessions import (
    CookieMiddleware,
    SessionMiddleware,
    SessionMiddlewareStack,
)
from django_asgi_bridge.threads import lease_of_context

pytestmark = pytest.mark.asyncio


class Guest(AsyncConsumer):
    """Notes its scope and its lease, and that is all."""

    scopes: list = []
    leases: list = []

    async def websocket_connect(self, message):
        self.scopes.append(self.scope)
        self.leases.append(lease_of_context())
        raise StopConsumer


class Other(Guest):
    """Another route's."""


@pytest.fixture(autouse=True)
def engine(settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
    Guest.scopes.clear()
    Guest.leases.clear()


class Named(AuthMiddleware):
    """Finds its user without a database."""

    async def resolve_scope(self, scope):
        scope["user"]._wrapped = AnonymousUser()


def stack(inner, user_layer=Named):
    return CookieMiddleware(SessionMiddleware(user_layer(inner)))


ROUTES = [path("guest/<int:number>", Guest.as_asgi()), path("other", Other.as_asgi())]


async def connect(application, where="/guest/1", **scope):
    """Serve one handshake; return the scope as the server had it."""
    own = {"type": "websocket", "path": where, "headers": [], **scope}
    events = [{"type": "websocket.connect"}]

    async def receive():
        return events.pop() if events else await asyncio.Future()

    await application(own, receive, mock.AsyncMock())
    return own


async def test_consumer_behind_all_layers_gets_what_each_has_added():
    """What the server has of the connection stays as it was."""
    own = await connect(stack(URLRouter(ROUTES)))

    (scope,) = Guest.scopes
    assert own == {"type": "websocket", "path": "/guest/1", "headers": []}
    assert scope["url_route"] == {"args": (), "kwargs": {"number": 1}}
    assert scope["path_remaining"] == ""
    assert scope["cookies"] == {}
    assert not scope["user"].is_authenticated
    assert scope["session"].is_empty()


@pytest.mark.skipif(sys.version_info < (3, 12), reason="each has one around it there")
@pytest.mark.parametrize("make", [stack, SessionMiddlewareStack])
async def test_one_coroutine_serves_a_consumer_with_its_layers(make):
    """Each one more takes its memory as long as the connection lives."""
    router = make(URLRouter(ROUTES))
    serving = router({"type": "websocket", "path": "/other", "headers": []}, None, None)
    serving.close()

    assert serving.__name__ == "serve"


async def test_consumer_takes_the_lease_of_its_layers_over():
    """A second one would take its memory as long as the connection lives."""
    seen = []

    class Looking(Named):
        async def resolve_scope(self, scope):
            seen.append(lease_of_context())
            await super().resolve_scope(scope)

    await connect(stack(URLRouter(ROUTES), Looking))

    assert Guest.leases == seen
    assert lease_of_context() is None


async def test_consumer_behind_a_layer_of_others_has_a_lease_of_its_own():
    """That layer's tasks may use the first one beside it."""
    seen = []

    def others(inner):
        async def serve(scope, receive, send):
            seen.append(lease_of_context())
            await inner(scope, receive, send)

        return serve

    await connect(stack(others(URLRouter(ROUTES))))

    assert seen[0] is not None
    assert seen != Guest.leases
    assert lease_of_context() is None


@pytest.mark.parametrize(
    "application",
    [
        stack(URLRouter([])),
        CookieMiddleware(AuthMiddleware(URLRouter(ROUTES))),
        SessionMiddleware(URLRouter(ROUTES)),
    ],
    ids=["no route", "no session", "no cookies"],
)
async def test_connection_that_is_not_admitted_leaves_no_lease(application):
    with pytest.raises(ValueError, match=r"for path|find session|No cookie"):
        await connect(application)

    assert lease_of_context() is None
    assert Guest.scopes == []


async def test_layer_that_changes_the_path_leads_to_the_other_route():
    class Moving(Named):
        def populate_scope(self, scope):
            super().populate_scope(scope)
            scope["path"] = "/other"

    await connect(stack(URLRouter(ROUTES), Moving))

    assert Guest.scopes[0]["path"] == "/other"
    assert Guest.scopes[0]["url_route"]["kwargs"] == {}


async def test_wrapped_application_is_not_passed_by():
    """``functools.wraps()`` gives the wrapper every attribute of a consumer's."""
    called = []
    consumer = Guest.as_asgi()

    @functools.wraps(consumer)
    async def wrapper(scope, receive, send):
        called.append(scope["path"])
        await consumer(scope, receive, send)

    await connect(stack(wrapper))
    await connect(stack(URLRouter([path("guest/<int:number>", wrapper)])))

    assert called == ["/guest/1", "/guest/1"]
    assert len(Guest.scopes) == 2


async def test_mock_is_called_as_any_application_is():
    """A mock has every attribute that it is asked for."""
    inner = mock.AsyncMock(return_value="its own")

    assert await stack(inner)({"type": "http", "headers": []}, None, None) == "its own"


@pytest.mark.parametrize("layer", [SessionMiddleware, AuthMiddleware, URLRouter, Guest])
async def test_overridden_call_is_called(layer, monkeypatch):
    """In a subclass, or where a tool has replaced the method."""
    called = []
    original = layer.__call__

    async def call(self, scope, receive, send):
        called.append(scope["path"])
        await original(self, scope, receive, send)

    monkeypatch.setattr(layer, "__call__", call)
    monkeypatch.setattr(AuthMiddleware, "resolve_scope", Named.resolve_scope)
    around = CookieMiddleware(AuthMiddleware(SessionMiddleware(URLRouter(ROUTES))))
    monkeypatch.setattr(AuthMiddleware, "populate_scope", _populate_without_session)

    await connect(around)
    await connect(stack(URLRouter(ROUTES), AuthMiddleware))

    assert called == ["/guest/1", "/guest/1"]
    assert len(Guest.scopes) == 2


def _populate_without_session(self, scope):
    scope["user"] = mock.Mock()


class SharedWordsTests(TestCase):
    """What is the same in the sessions of all users is in memory once."""

    def setUp(self):
        user = get_user_model().objects.create_user("bob")
        self.session = SessionStore()
        self.session["cart"] = [1]
        self.session[SESSION_KEY] = str(user.pk)
        self.session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
        self.session[HASH_SESSION_KEY] = user.get_session_auth_hash()
        self.session.save()
        self.user = user

    async def test_session_that_is_loaded_for_its_user_shares_words(self):
        loaded = [SessionStore(self.session.session_key) for _ in range(2)]
        for session in loaded:
            assert await get_user({"session": session}) == self.user

        first, second = (session._session_cache for session in loaded)
        assert first == self.session._session_cache
        assert not loaded[0].modified
        assert all(a is b for a, b in zip(first, second, strict=True) if a[0] == "_")
        assert first[BACKEND_SESSION_KEY] is second[BACKEND_SESSION_KEY]

    async def test_session_that_was_loaded_before_keeps_its_data(self):
        """Somebody else may have them in hand."""
        session = SessionStore(self.session.session_key)
        await session.aget("cart")
        data = session._session_cache

        await get_user({"session": session})

        assert session._session_cache is data

    async def test_name_of_the_session_cookie_is_shared(self):
        names = []

        async def inner(scope, receive, send):
            names.extend(scope["cookies"])

        for _ in range(2):
            headers = [(b"cookie", b"a=1; sessionid=x; b=2")]
            await CookieMiddleware(inner)({"headers": headers}, None, None)

        assert names == ["a", "sessionid", "b"] * 2
        assert names[1] is names[4]
