"""The user of a scope, as the contract with Channels tells it."""

from typing import Any

import pytest
from django.contrib.auth import (
    BACKEND_SESSION_KEY,
    HASH_SESSION_KEY,
    SESSION_KEY,
    get_user_model,
    user_logged_in,
    user_logged_out,
)
from django.contrib.auth.models import AnonymousUser
from django.contrib.sessions.backends.db import SessionStore
from django.test import TestCase, override_settings

from django_asgi_bridge.auth import (
    AuthMiddleware,
    AuthMiddlewareStack,
    UserLazyObject,
    get_user,
    login,
    logout,
)
from django_asgi_bridge.db import DatabaseSyncToAsync
from django_asgi_bridge.sessions import CookieMiddleware
from django_asgi_bridge.testing import WebsocketCommunicator

BACKEND = "django.contrib.auth.backends.ModelBackend"


class AuthTests(TestCase):
    """In the test's own transaction: sync code lands on the test's thread."""

    def setUp(self):
        self.user = get_user_model().objects.create_user("bob", password="old")
        self.scope: dict[str, Any] = {"session": SessionStore()}
        self.signals = []
        for name, signal in (("in", user_logged_in), ("out", user_logged_out)):

            def note(sender, request, user, name=name, **kwargs):
                self.signals.append((name, request, user))

            signal.connect(note)
            self.addCleanup(signal.disconnect, note)

    async def test_scope_without_a_session_is_an_error(self):
        for call in (get_user({}), login({}, self.user), logout({})):
            with pytest.raises(ValueError, match="annot find session in scope"):
                await call

    async def test_user_is_anonymous_without_a_login(self):
        assert isinstance(await get_user(self.scope), AnonymousUser)

    async def test_login_and_logout(self):
        await login(self.scope, self.user)

        assert self.scope["user"] == self.user
        assert await get_user(self.scope) == self.user
        await logout(self.scope)
        assert isinstance(self.scope["user"], AnonymousUser)
        assert isinstance(await get_user(self.scope), AnonymousUser)
        assert self.signals == [("in", None, self.user), ("out", None, self.user)]

    async def test_login_takes_the_user_of_the_scope(self):
        with pytest.raises(ValueError, match="User must be passed as an argument"):
            await login(self.scope, None)
        self.scope["user"] = self.user
        await login(self.scope, None)

        assert await get_user(self.scope) == self.user

    async def test_login_gives_the_session_a_new_key(self):
        """Who knew the visitor's key does not know the user's."""
        session = self.scope["session"]
        session["basket"] = 1
        await session.asave()
        before = session.session_key

        await login(self.scope, self.user)

        assert session.session_key != before
        assert not await session.aexists(before)
        assert session["basket"] == 1

    async def test_login_after_a_changed_password_flushes_the_session(self):
        await login(self.scope, self.user)
        self.scope["session"]["basket"] = 1
        self.user.set_password("new")
        await self.user.asave()

        await login(self.scope, self.user)

        assert "basket" not in self.scope["session"]
        assert await get_user(self.scope) == self.user

    async def test_session_without_a_hash_is_flushed(self):
        await login(self.scope, self.user)
        del self.scope["session"][HASH_SESSION_KEY]

        assert isinstance(await get_user(self.scope), AnonymousUser)
        assert SESSION_KEY not in self.scope["session"]

    async def test_login_keeps_own_data_and_flushes_another_users(self):
        session = self.scope["session"]
        session["basket"] = 1
        await login(self.scope, self.user)
        assert session["basket"] == 1
        other = await get_user_model().objects.acreate_user("eve")

        await login(self.scope, other)

        assert "basket" not in session
        assert await get_user(self.scope) == other

    @override_settings(
        AUTHENTICATION_BACKENDS=[
            BACKEND,
            "django.contrib.auth.backends.AllowAllUsersModelBackend",
        ]
    )
    async def test_several_backends_need_a_choice(self):
        with pytest.raises(ValueError, match="multiple authentication backends"):
            await login(self.scope, self.user)
        await login(self.scope, self.user, backend=BACKEND)

        assert self.scope["session"][BACKEND_SESSION_KEY] == BACKEND

    async def test_logout_of_nobody_sends_no_signal(self):
        await logout(self.scope)

        assert self.signals == []
        assert "user" not in self.scope

    async def test_logout_leaves_a_scope_without_a_user_without_one(self):
        await login(self.scope, self.user)
        del self.scope["user"]

        await logout(self.scope)

        assert "user" not in self.scope
        assert SESSION_KEY not in self.scope["session"]
        assert self.signals == [("in", None, self.user)]

    async def test_calls_are_awaitables_that_wrap_sync_code(self):
        for call in (get_user, login, logout):
            assert isinstance(call, DatabaseSyncToAsync)

    async def test_changed_password_flushes_the_session(self):
        await login(self.scope, self.user)
        self.user.set_password("new")
        await self.user.asave()

        assert isinstance(await get_user(self.scope), AnonymousUser)
        assert SESSION_KEY not in self.scope["session"]

    async def test_rotated_secret_key_flushes_no_session(self):
        """C15."""
        await login(self.scope, self.user)
        before = self.scope["session"][HASH_SESSION_KEY]

        with override_settings(SECRET_KEY="new", SECRET_KEY_FALLBACKS=["tests only"]):
            assert await get_user(self.scope) == self.user
        with override_settings(SECRET_KEY="new"):
            assert isinstance(await get_user(self.scope), AnonymousUser)
        assert before

    async def test_backend_that_is_gone_means_nobody(self):
        await login(self.scope, self.user)

        with override_settings(AUTHENTICATION_BACKENDS=["a.b.C"]):
            assert isinstance(await get_user(self.scope), AnonymousUser)

    async def test_middleware_loads_the_user_before_the_application(self):
        await login(self.scope, self.user)
        await self.scope["session"].asave()
        key = self.scope["session"].session_key
        seen = []

        async def application(scope, receive, send):
            seen.append(scope["user"])
            await receive()
            await send({"type": "websocket.accept"})

        client = WebsocketCommunicator(
            AuthMiddlewareStack(application),
            "/",
            headers=[(b"cookie", f"sessionid={key}".encode())],
        )
        await client.connect()
        await client.wait()

        assert seen == [self.user]

    async def test_middleware_needs_a_session(self):
        with pytest.raises(ValueError, match="SessionMiddleware must be above it"):
            await AuthMiddleware(None)({}, None, None)

    def test_user_may_not_be_touched_early(self):
        with pytest.raises(ValueError, match="Accessing scope user before"):
            str(UserLazyObject())

    def test_stack_begins_with_the_cookies(self):
        assert isinstance(AuthMiddlewareStack(None), CookieMiddleware)
