"""Messages that nobody asks for are not made; all others are as with Django's handler.

What is stored and shown, by every mix of middleware and views, is compared with WSGI
in ``test_parity``.
"""

import copy
import functools
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.contrib import messages
from django.contrib.messages import middleware as messages_middleware
from django.contrib.messages.storage.cookie import CookieStorage
from django.core.exceptions import ImproperlyConfigured
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.core.signing import TimestampSigner
from django.http import HttpRequest, HttpResponse
from django.test import override_settings
from django.urls import path
from django.utils.decorators import sync_and_async_middleware, sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.http import messages as late
from django_asgi_bridge.http.handler import ASGIHandler, ASGIRequest
from tests.http.support import Answer, Request, by_asgi, fresh_pool, run

SESSION = "django.contrib.sessions.middleware.SessionMiddleware"
MESSAGES = "django.contrib.messages.middleware.MessageMiddleware"
HERE = __name__
PATIENCE = 20.0
"""Seconds after which a test that waits for something is stuck."""


def quiet(request: HttpRequest) -> HttpResponse:
    """Have nothing to tell."""
    return HttpResponse("quiet")


async def aquiet(request: HttpRequest) -> HttpResponse:
    """Have nothing to tell."""
    return HttpResponse("quiet")


def tell(request: HttpRequest) -> HttpResponse:
    """Leave a message for the next page."""
    messages.success(request, "saved")
    return HttpResponse("told")


async def atell(request: HttpRequest) -> HttpResponse:
    """Leave a message for the next page."""
    await sync_to_async(messages.success)(request, "saved")
    return HttpResponse("told")


def tell_on_a_copy(request: HttpRequest) -> HttpResponse:
    """Leave a message on a copy, as code does that changes a request for a while."""
    messages.success(copy.copy(request), "saved")
    return HttpResponse("told")


def tell_on_a_twin(request: HttpRequest) -> HttpResponse:
    """Leave a message on an object with the same attributes."""
    twin: Any = object.__new__(type(request))
    twin.__dict__.update(request.__dict__)
    messages.success(twin, "saved")
    return HttpResponse("told")


def on_a_strange_copy(request: HttpRequest) -> HttpResponse:
    """Leave a message on a copy that has no cookies and no session any more."""
    twin = copy.copy(request)
    twin.COOKIES, twin.session = {}, {}  # type: ignore[assignment]
    messages.success(twin, "saved")
    return HttpResponse("told" if twin._messages.request is request else "strange")  # type: ignore[attr-defined]


def forget(request: HttpRequest) -> HttpResponse:
    """Leave a message, and think better of it."""
    messages.success(request, "saved")
    del request._messages  # type: ignore[attr-defined]
    return HttpResponse("still there" if hasattr(request, "_messages") else "told")


def show(request: HttpRequest) -> HttpResponse:
    """Show what was left."""
    return HttpResponse(", ".join(map(str, messages.get_messages(request))))


def tell_if_possible(request: HttpRequest) -> HttpResponse:
    """Say whether there are messages at all."""
    messages.success(request, "saved", fail_silently=True)
    return HttpResponse(f"{hasattr(request, '_messages')}")


def insist(request: HttpRequest) -> HttpResponse:
    """Say what is wrong where there are none."""
    try:
        messages.success(request, "saved")
    except messages.MessageFailure as error:
        return HttpResponse(f"{type(error).__name__}: {error}")
    return HttpResponse("told")


urlpatterns = [
    path(f"{view.__name__}/", view)
    for view in (
        quiet,
        aquiet,
        tell,
        atell,
        tell_on_a_copy,
        tell_on_a_twin,
        on_a_strange_copy,
        forget,
        show,
        tell_if_possible,
        insist,
    )
]


class OwnStorage(MiddlewareMixin):
    """Put a storage of one's own in place of the one that nobody asked for yet."""

    def process_request(self, request: HttpRequest) -> None:
        """Replace it, and add a message."""
        request._messages = CookieStorage(request)
        messages.info(request, "by hand")


class Looks(MiddlewareMixin):
    """Look at the messages after their middleware, as debug panels do."""

    def process_response(self, request: HttpRequest, response: Any) -> Any:
        """Say how many there are to show."""
        response["X-Shown"] = str(len(messages.get_messages(request)))  # type: ignore[arg-type]
        return response


@sync_only_middleware
def again(get_response: Any) -> Any:
    """Ask for the response a second time, as code does that retries."""

    def middleware(request: HttpRequest) -> Any:
        get_response(request)
        return get_response(request)

    return middleware


@sync_and_async_middleware
def replaced(get_response: Any) -> Any:
    """Go on with a request of Django's class that has the attributes of ours."""

    def middleware(request: HttpRequest) -> Any:
        twin = object.__new__(DjangoASGIRequest)
        twin.__dict__.update(request.__dict__, META=request.META)
        return get_response(twin)

    return middleware


class BrokenSigner:
    """A signer that cannot be made."""

    def __init__(self, **kwargs: Any) -> None:
        raise AttributeError("no signer")


class OwnSigner(TimestampSigner):
    """A signer of the site's."""


class Eager(CookieStorage):
    """A storage that does something for each response."""

    def update(self, response: Any) -> Any:
        """Leave a trace."""
        response["X-Updated"] = "1"
        return super().update(response)


class OwnResponseHook(messages_middleware.MessageMiddleware):
    """A subclass that puts a function in the place of a hook."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        self.process_response = self.noted  # type: ignore[method-assign]

    def noted(self, request: HttpRequest, response: Any) -> Any:
        """Leave a trace."""
        response["X-Seen"] = "1"
        return response


class Wrapping(messages_middleware.MessageMiddleware):
    """The middleware as a monitoring tool leaves it that wraps one hook."""

    hook: str

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        method = getattr(self, self.hook)

        @functools.wraps(method)
        def wrapper(*args: Any) -> Any:
            spans.append(self.hook)
            return method(*args)

        setattr(self, self.hook, wrapper)


class WrapsRequestHook(Wrapping):
    """The tool looks at requests."""

    hook = "process_request"


class WrapsResponseHook(Wrapping):
    """The tool looks at responses."""

    hook = "process_response"


spans: list[str] = []
"""The hooks that were called through a wrapper."""


class OwnMiddleware(messages_middleware.MessageMiddleware):
    """A subclass that does something of its own."""

    def process_request(self, request: HttpRequest) -> None:
        """Make the storage, and add a message."""
        super().process_request(request)
        messages.info(request, "from the subclass")


class Inheriting(messages_middleware.MessageMiddleware):
    """A subclass that changes nothing."""


class DjangosRequests(ASGIHandler):
    """A handler whose requests are Django's own, which cannot make anything late."""

    request_class = DjangoASGIRequest  # type: ignore[assignment]


class PlainRequest(ASGIRequest):
    """A request whose class says that there are messages."""

    _messages: Any = None


class SlottedRequest(ASGIRequest):
    """A request that keeps its messages elsewhere."""

    __slots__ = ("_messages",)


class WithoutDoor(ASGIHandler):
    """A handler of such requests."""

    request_class = PlainRequest


class WithSlot(ASGIHandler):
    """A handler of such requests."""

    request_class = SlottedRequest


@pytest.fixture(autouse=True)
def _world(monkeypatch: pytest.MonkeyPatch, django_db_blocker: Any) -> Iterator[None]:
    with (
        django_db_blocker.unblock(),
        fresh_pool(monkeypatch),
        override_settings(
            ROOT_URLCONF=HERE,
            MESSAGE_STORAGE="django.contrib.messages.storage.fallback.FallbackStorage",
            SESSION_ENGINE="django.contrib.sessions.backends.signed_cookies",
        ),
    ):
        yield


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return the requests that a storage was made for."""
    requests: list[Any] = []
    original = messages_middleware.default_storage  # type: ignore[attr-defined]

    def default_storage(request: Any) -> Any:
        requests.append(request)
        return original(request)

    monkeypatch.setattr(messages_middleware, "default_storage", default_storage)
    return requests


def answer(
    url: str,
    *middleware: str,
    handler: Callable[[], Any] = ASGIHandler,
    headers: tuple[tuple[str, str], ...] = (),
) -> Answer:
    with override_settings(MIDDLEWARE=[*middleware] or [SESSION, MESSAGES]):
        answer: Answer = run(by_asgi(handler(), Request(url, headers=headers)))
        return answer


def cookie_of(given: Answer) -> tuple[tuple[str, str], ...]:
    return (("Cookie", given["Set-Cookie"].partition(";")[0]),)


@pytest.mark.parametrize("url", ["/quiet/", "/aquiet/"])
@pytest.mark.parametrize("name", [MESSAGES, f"{HERE}.Inheriting"])
def test_a_request_that_asks_for_no_messages_has_no_storage(url, name, made):
    """Most requests have nothing to tell, and no three objects for it."""
    given = answer(url, SESSION, name)

    assert (given.status, given.body, made) == (200, b"quiet", [])


@pytest.mark.parametrize(
    "url", ["/tell/", "/atell/", "/tell_on_a_copy/", "/tell_on_a_twin/"]
)
def test_messages_are_stored_and_shown_once(url, made):
    """As with Django's handler, by whatever object the request was reached."""
    told = answer(url)
    shown = answer("/show/", headers=cookie_of(told))
    theirs = answer("/show/", handler=DjangoASGIHandler, headers=cookie_of(told))

    assert shown.body == theirs.body == b"saved"
    assert shown["Set-Cookie"].startswith("messages=")
    assert "expires=Thu, 01 Jan 1970" in shown["Set-Cookie"]
    assert len(made) == 3


def test_messages_stay_until_a_page_shows_them(made):
    """A request that does not look leaves the cookie as it is."""
    told = answer("/tell/")
    made.clear()

    quiet = answer("/quiet/", headers=cookie_of(told))

    assert [name for name, _ in quiet.headers if name == "Set-Cookie"] == []
    assert made == []


def test_a_storage_of_ones_own_takes_the_place(made):
    """What other middleware puts there is asked at the end."""
    given = answer("/quiet/", SESSION, MESSAGES, f"{HERE}.OwnStorage")

    shown = answer("/show/", headers=cookie_of(given))

    assert shown.body == b"by hand"
    assert len(made) == 1


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
def test_middleware_outside_may_look_too(handler):
    told = answer("/tell/")

    given = answer(
        "/quiet/",
        SESSION,
        f"{HERE}.Looks",
        MESSAGES,
        handler=handler,
        headers=cookie_of(told),
    )

    assert given["X-Shown"] == "1"


def test_a_subclass_that_changes_something_is_called():
    given = answer("/quiet/", SESSION, f"{HERE}.OwnMiddleware")

    assert answer("/show/", headers=cookie_of(given)).body == b"from the subclass"


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
@pytest.mark.parametrize("url", ["/quiet/", "/aquiet/"])
def test_a_response_hook_in_the_place_of_djangos_is_called(url, handler):
    given = answer(url, SESSION, f"{HERE}.OwnResponseHook", handler=handler)

    assert given["X-Seen"] == "1"


@pytest.mark.parametrize("name", ["WrapsRequestHook", "WrapsResponseHook"])
def test_wrapped_hooks_are_called_each_time(name, made):
    """A monitoring tool wants to see them."""
    spans.clear()
    answer("/quiet/", SESSION, f"{HERE}.{name}")

    assert spans == [globals()[name].hook]
    assert len(made) == 1


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
def test_a_request_that_comes_by_again_begins_anew(handler):
    """What the first response stored is not stored by the second one too."""
    told = answer("/tell/", SESSION, f"{HERE}.again", MESSAGES, handler=handler)

    assert answer("/show/", headers=cookie_of(told)).body == b"saved"


def test_two_threads_that_ask_at_once_get_the_same_storage(monkeypatch):
    """Neither waits for the other while it makes one: that may be a site's own code."""
    together = threading.Barrier(2, timeout=PATIENCE)
    original = messages_middleware.default_storage  # type: ignore[attr-defined]

    def default_storage(request: Any) -> Any:
        together.wait()
        return original(request)

    monkeypatch.setattr(messages_middleware, "default_storage", default_storage)
    request = noted_request()
    stores: list[Any] = []
    threads = [
        threading.Thread(target=lambda: stores.append(request._messages))
        for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)

    assert stores[0] is stores[1] is request._messages


def test_a_thread_that_finds_the_note_gone_takes_what_is_there():
    """It began to look before another thread put the storage there."""
    request = noted_request()
    storage = request._messages
    door: Any = vars(ASGIRequest)["_messages"]

    assert door.__get__(request, ASGIRequest) is storage


def noted_request() -> Any:
    """Return a request that the middleware has left its note on."""
    request: Any = ASGIRequest({"type": "http", "method": "GET", "path": "/"}, None)
    request.session = {}
    middleware = messages_middleware.MessageMiddleware(quiet)
    hook, _ = late.postponed(middleware.process_request, middleware.process_response)
    hook(request)
    return request


def test_a_note_keeps_no_request_alive():
    """One that nobody asked needs no garbage collector; a copy asks for itself."""
    request = noted_request()
    left, kept = weakref.ref(request), copy.copy(request)
    gc.disable()
    try:
        del request
        assert left() is None
    finally:
        gc.enable()

    assert kept._messages.request is kept


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("MESSAGE_STORAGE", "django.contrib.messages.storage.cookie.Misspelt"),
        ("SIGNING_BACKEND", "nowhere.Signer"),
        ("SIGNING_BACKEND", f"{HERE}.BrokenSigner"),
        ("SECRET_KEY", ""),
    ],
)
def test_settings_that_are_wrong_are_wrong_at_once(setting, value, handler, caplog):
    """A site is told at its first request, not at its first message."""
    with override_settings(
        SESSION_ENGINE="django.contrib.sessions.backends.db", **{setting: value}
    ):
        given = answer("/quiet/", handler=handler)

    assert given.status == 500
    assert caplog.records[-1].exc_info[0] in {
        AttributeError,
        ImportError,
        ImproperlyConfigured,
        ModuleNotFoundError,
    }


def test_a_signer_of_ones_own_is_made_for_each_request(made):
    """It may do what it likes, where it likes: that is not for us to move."""
    with override_settings(SIGNING_BACKEND=f"{HERE}.OwnSigner"):
        given = answer("/quiet/")

    assert given.status == 200
    assert len(made) == 1


def test_a_storage_that_fails_does_not_look_as_if_there_was_none(monkeypatch, caplog):
    """An AttributeError would read as ``no such middleware`` to ``hasattr``."""

    def default_storage(request: Any) -> Any:
        raise AttributeError("broken")

    monkeypatch.setattr(messages_middleware, "default_storage", default_storage)
    given = answer("/tell_if_possible/")

    assert given.status == 500
    assert "no storage of messages was made: broken" in caplog.text


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
def test_a_storage_that_is_set_later_is_made_for_each_request(handler):
    """Tests override the setting around a handler that was loaded before."""
    with override_settings(MIDDLEWARE=[SESSION, MESSAGES]):
        loaded = handler()
        loaded.load_middleware(is_async=True)
        with override_settings(MESSAGE_STORAGE=f"{HERE}.Eager"):
            given: Answer = run(by_asgi(loaded, Request("/quiet/")))

    assert given["X-Updated"] == "1"


@pytest.mark.parametrize(
    ("url", "shown"), [("/on_a_strange_copy/", b"saved"), ("/forget/", b"")]
)
def test_odd_uses_are_as_with_djangos_handler(url, shown):
    """The storage is that of the middleware's request, and may be deleted."""
    for handler in (ASGIHandler, DjangoASGIHandler):
        given = answer(url, handler=handler)
        cookies = [value for name, value in given.headers if name == "Set-Cookie"]
        headers = (("Cookie", cookies[0].partition(";")[0]),) if cookies else ()

        assert given.body == b"told"
        assert answer("/show/", headers=headers).body == shown


@pytest.mark.parametrize("handler", ["WithoutDoor", "WithSlot"])
def test_requests_that_have_messages_of_their_own_are_left_alone(handler, made):
    """A class of the site's that declares the attribute cannot make it late."""
    told = answer("/tell/", handler=globals()[handler])

    assert answer("/show/", headers=cookie_of(told)).body == b"saved"
    assert len(made) == 2


def test_a_request_of_another_class_from_outside_is_left_alone():
    """Middleware may put a request of its own in the place of ours."""
    told = answer("/tell/", f"{HERE}.replaced", SESSION, MESSAGES)

    assert answer("/show/", headers=cookie_of(told)).body == b"saved"


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
def test_without_the_middleware_there_are_no_messages(handler):
    """``fail_silently`` and the error depend on the attribute."""
    given = answer("/tell_if_possible/", SESSION, handler=handler)
    refused = answer("/insist/", SESSION, handler=handler)

    assert given.body == b"False"
    assert refused.body.startswith(b"MessageFailure: You cannot add messages without")


@pytest.mark.parametrize("handler", [ASGIHandler, DjangoASGIHandler])
def test_sessions_that_are_missing_are_missed_at_once(handler, caplog):
    """A site without them is told at its first request, not at its first message."""
    given = answer("/quiet/", MESSAGES, handler=handler)

    assert given.status == 500
    assert "temporary message storage requires session middleware" in caplog.text


@pytest.mark.parametrize("url", ["/quiet/", "/tell/"])
def test_requests_of_djangos_own_class_have_a_storage_each(url, made):
    """They have no place to make it from."""
    given = answer(url, handler=DjangosRequests)

    assert given.status == 200
    assert len(made) == 1
