"""Cookies and sessions of scopes, as the contract with Channels tells them."""

import datetime
import time

import pytest
from django.contrib.sessions.backends.cache import SessionStore
from django.contrib.sessions.backends.signed_cookies import (
    SessionStore as SignedStore,
)
from django.core.exceptions import SuspiciousOperation

from django_asgi_bridge.sessions import (
    CookieMiddleware,
    InstanceSessionWrapper,
    SessionMiddlewareStack,
)

pytestmark = pytest.mark.asyncio


@pytest.fixture(autouse=True)
def engine(settings):
    settings.SESSION_ENGINE = "django.contrib.sessions.backends.cache"


async def cookies_of(*headers):
    async def inner(scope, receive, send):
        return scope["cookies"]

    return await CookieMiddleware(inner)({"headers": list(headers)}, None, None)


async def test_cookies_of_all_headers_count():
    """C10: an HTTP/2 client sends one for each cookie."""
    assert await cookies_of() == {}
    assert await cookies_of((b"cookie", b"a=1; b=2")) == {"a": "1", "b": "2"}
    assert await cookies_of(
        (b"cookie", b"a=1; "), (b"x", b"y"), (b"cookie", b"b=2")
    ) == {
        "a": "1",
        "b": "2",
    }


async def test_scope_without_headers_is_an_error():
    with pytest.raises(ValueError, match="did not have a headers key"):
        await CookieMiddleware(None)({}, None, None)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({}, b"k=v; Path=/; SameSite=lax"),
        ({"value": 5}, b"k=5; Path=/; SameSite=lax"),
        ({"value": b"v"}, b"k=v; Path=/; SameSite=lax"),
        ({"value": 'a "b"'}, b'k="a \\"b\\""; Path=/; SameSite=lax'),
        ({"samesite": None, "path": None}, b"k=v"),
        (
            {"domain": "a.com", "secure": True, "httponly": True, "samesite": "Strict"},
            b"k=v; Domain=a.com; HttpOnly; Path=/; SameSite=Strict; Secure",
        ),
        (
            {"expires": "Thu, 01 Jan 2026 00:00:00 GMT"},
            b"k=v; expires=Thu, 01 Jan 2026 00:00:00 GMT; Path=/; SameSite=lax",
        ),
    ],
)
async def test_set_cookie_writes_these_bytes(arguments, expected):
    message = {}

    CookieMiddleware.set_cookie(message, "k", **{"value": "v", **arguments})

    assert message == {"headers": [(b"Set-Cookie", expected)]}


@pytest.mark.parametrize("is_aware", [True, False])
async def test_expires_may_be_a_moment(is_aware):
    """C11."""
    moment = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    if not is_aware:
        moment = moment.replace(tzinfo=None)
    message = {}

    CookieMiddleware.set_cookie(message, "k", "v", expires=moment)

    (field,) = [value for _, value in message["headers"]]
    assert b"Max-Age=3600" in field


async def test_cookie_that_ends_after_some_time_says_so_twice(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: 0.0)
    message = {"headers": [(b"a", b"b")]}

    CookieMiddleware.set_cookie(message, "k", "v", max_age=60)

    field = (
        b"k=v; expires=Thu, 01 Jan 1970 00:01:00 GMT; Max-Age=60; Path=/; SameSite=lax"
    )
    assert message["headers"] == [(b"a", b"b"), (b"Set-Cookie", field)]


async def test_deleted_cookie_has_these_bytes():
    message = {}

    CookieMiddleware.delete_cookie(message, "k", path="/a", domain="a.com")

    field = (
        b'k=""; Domain=a.com; expires=Thu, 01-Jan-1970 00:00:00 GMT; Max-Age=0;'
        b" Path=/a; SameSite=lax"
    )
    assert message["headers"] == [(b"Set-Cookie", field)]


async def test_samesite_has_three_values():
    with pytest.raises(AssertionError, match="samesite must be"):
        CookieMiddleware.set_cookie({}, "k", samesite="some")


async def test_deleted_cookie_says_the_same_samesite():
    message = {}

    CookieMiddleware.delete_cookie(message, "k", samesite="none")

    ((_, field),) = message["headers"]
    assert b"SameSite=none" in field
    assert b"Secure" in field
    assert b"Max-Age=0" in field


# Sessions.


class Connection:
    """What an application behind the middleware does with its session."""

    def __init__(self, work, *, cookies=b"", **scope):
        self.sent = []
        self.work = work
        self.scope = {"type": "websocket", "headers": [(b"cookie", cookies)], **scope}

    async def run(self):
        async def send(event):
            self.sent.append(event)

        await SessionMiddlewareStack(self.work)(self.scope, None, send)
        return self.sent


def answering(event, change=lambda session: None):
    async def work(scope, receive, send):
        change(scope["session"])
        await send(event)

    return work


def set_a(session):
    session["a"] = 1


@pytest.mark.parametrize(
    "event",
    [
        {"type": "http.response.start", "status": 200},
        {"type": "websocket.accept"},
        {"type": "websocket.http.response.start", "status": 403},
    ],
)
async def test_changed_session_is_saved_with_the_answer(event, settings):
    """C16: for WebSockets too."""
    (sent,) = await Connection(answering(event, set_a)).run()

    ((name, field),) = sent["headers"]
    assert name == b"Set-Cookie"
    key = field.decode().split(";")[0].partition("=")[2]
    assert SessionStore(key).load() == {"a": 1}
    assert "headers" not in event


@pytest.mark.parametrize(
    "event",
    [
        {"type": "http.response.start", "status": 500},
        {"type": "http.response.start", "status": 503},
        {"type": "websocket.send", "text": "x"},
    ],
)
async def test_session_is_not_saved_with_other_events(event):
    assert await Connection(answering(event, set_a)).run() == [event]


async def test_unchanged_session_is_saved_only_if_the_setting_says(settings):
    event = {"type": "websocket.accept"}
    store = SessionStore()
    store["a"] = 1
    store.save()
    cookies = f"{settings.SESSION_COOKIE_NAME}={store.session_key}".encode()

    assert await Connection(answering(event), cookies=cookies).run() == [event]
    settings.SESSION_SAVE_EVERY_REQUEST = True
    (sent,) = await Connection(answering(event), cookies=cookies).run()
    assert store.session_key.encode() in sent["headers"][0][1]


async def test_cookie_of_the_session_follows_the_settings(settings):
    settings.SESSION_COOKIE_NAME = "sid"
    settings.SESSION_COOKIE_PATH = "/a"
    settings.SESSION_COOKIE_DOMAIN = "a.com"
    settings.SESSION_COOKIE_SECURE = True
    settings.SESSION_COOKIE_HTTPONLY = False
    settings.SESSION_COOKIE_SAMESITE = "Strict"
    settings.SESSION_COOKIE_AGE = 100

    (sent,) = await Connection(answering({"type": "websocket.accept"}, set_a)).run()

    ((_, field),) = sent["headers"]
    name, *parts = field.decode().split("; ")
    assert name.startswith("sid=")
    assert [part for part in parts if not part.startswith("expires=")] == [
        "Domain=a.com",
        "Max-Age=100",
        "Path=/a",
        "SameSite=Strict",
        "Secure",
    ]


async def test_cookie_ends_with_the_browser_when_the_session_does(settings):
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = True
    settings.SESSION_COOKIE_SAMESITE = False

    (sent,) = await Connection(answering({"type": "websocket.accept"}, set_a)).run()

    ((_, field),) = sent["headers"]
    assert field.decode().split("; ")[1:] == ["HttpOnly", "Path=/"]


async def test_types_of_events_that_save_can_be_added_to():
    assert InstanceSessionWrapper.save_message_types[0] == "http.response.start"
    assert [*InstanceSessionWrapper.save_message_types, "own"] == (
        InstanceSessionWrapper.save_message_types + ["own"]  # noqa: RUF005 - by users
    )
    assert (
        InstanceSessionWrapper.cookie_response_message_types
        == InstanceSessionWrapper.save_message_types
    )


async def test_flushed_session_deletes_the_cookie(settings):
    cookies = f"{settings.SESSION_COOKIE_NAME}=whatever".encode()
    event = {"type": "websocket.accept"}

    (sent,) = await Connection(
        answering(event, lambda session: session.flush()), cookies=cookies
    ).run()

    assert b"Max-Age=0" in sent["headers"][0][1]


@pytest.mark.parametrize("cookies", [b"", b"sessionid=whatever"])
async def test_empty_session_is_no_record(cookies, settings):
    """A visitor without one, or who signed out, leaves none that no cookie names."""
    settings.SESSION_SAVE_EVERY_REQUEST = True
    kept = []

    def change(session):
        session.flush()
        kept.append(session)

    event = {"type": "websocket.accept"}
    (sent,) = await Connection(answering(event, change), cookies=cookies).run()

    assert kept[0].session_key is None
    assert bool(sent.get("headers")) is bool(cookies)


async def test_session_that_was_deleted_meanwhile_is_suspicious(settings):
    store = SessionStore()
    store["a"] = 1
    store.save()
    cookies = f"{settings.SESSION_COOKIE_NAME}={store.session_key}".encode()

    def change(session):
        session["a"] = 2
        SessionStore().delete(store.session_key)

    with pytest.raises(SuspiciousOperation, match="deleted before"):
        await Connection(
            answering({"type": "websocket.accept"}, change), cookies=cookies
        ).run()


async def test_session_from_further_up_is_passed_on():
    session = SignedStore()

    async def work(scope, receive, send):
        assert scope["session"] is session

    await Connection(work, session=session).run()


async def test_session_needs_cookies():
    with pytest.raises(ValueError, match="No cookies in scope"):
        InstanceSessionWrapper({}, None)
