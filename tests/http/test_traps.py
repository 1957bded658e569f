"""What would break the promise of a drop-in, each with what it protects."""

import asyncio
import contextvars
import functools
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest
from asgiref.local import Local
from asgiref.sync import async_to_sync, sync_to_async
from django.core.cache import cache, caches
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import ImproperlyConfigured, MiddlewareNotUsed
from django.core.handlers.asgi import ASGIRequest as DjangoASGIRequest
from django.core.signals import request_finished, request_started
from django.dispatch import Signal
from django.http import HttpResponse, StreamingHttpResponse
from django.middleware.security import SecurityMiddleware
from django.urls import get_script_prefix, get_urlconf, set_script_prefix, set_urlconf
from django.urls import path as route
from django.utils import timezone, translation
from django.utils.decorators import sync_only_middleware
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.http.handler import ASGIHandler, ASGIRequest
from django_asgi_bridge.threads import get_pool
from tests.http.support import Connection, Request, by_asgi, cost_of, fresh_pool, run

HERE = __name__
PATIENCE = 20.0
"""Seconds after which a test that waits for something is stuck."""

seen: list[Any] = []
"""What views, middleware and receivers of a test noted, in order."""


@pytest.fixture(scope="module", autouse=True)
def _own_pool(django_db_blocker: Any) -> Iterator[None]:
    """Let receivers look at connections that other tests left on this thread."""
    with django_db_blocker.unblock(), fresh_pool(pytest.MonkeyPatch()):
        yield


@pytest.fixture(autouse=True)
def _nothing_seen() -> Iterator[None]:
    yield
    seen.clear()


class Urls:
    """A URLconf made of views."""

    def __init__(self, **views: Callable[..., Any]) -> None:
        self.urlpatterns = [route(f"{name}/", view) for name, view in views.items()]


@pytest.fixture
def serve(settings: Any) -> Callable[..., ASGIHandler]:
    """Give a function that makes a handler for middleware of this module and views."""

    def make(*middleware: str, **views: Callable[..., Any]) -> ASGIHandler:
        settings.MIDDLEWARE = [
            name if "." in name else f"{HERE}.{name}" for name in middleware
        ]
        settings.ROOT_URLCONF = Urls(**views)
        return ASGIHandler()

    return make


@pytest.fixture
def connect() -> Iterator[Callable[[Signal, Callable[..., Any]], None]]:
    """Give a function that connects a receiver for the time of the test."""
    connected: list[tuple[Signal, Callable[..., Any]]] = []

    def connect_one(signal: Signal, receiver: Callable[..., Any]) -> None:
        signal.connect(receiver)
        connected.append((signal, receiver))

    yield connect_one
    for signal, receiver in connected:
        signal.disconnect(receiver)


def _here() -> str:
    return threading.current_thread().name


def sync_thread(request: Any) -> HttpResponse:
    """Tell the thread of a sync view."""
    seen.append(("view", _here()))
    return HttpResponse(_here())


async def async_thread(request: Any) -> HttpResponse:
    """Tell the thread that an async view finds behind ``sync_to_async``."""
    return HttpResponse(await sync_to_async(_here)())


# Receivers of the two signals.


class TestReceivers:
    """Protects receivers that use connections, thread-locals and blocking."""

    def test_share_the_thread_of_the_view(self, serve, connect):
        """Started, view and finished: one worker, never the event loop's thread."""
        for name, signal in (("on", request_started), ("off", request_finished)):
            connect(signal, lambda name=name, **named: seen.append((name, _here())))
        handler = serve(a=sync_thread)

        run(by_asgi(handler, Request("/a/")))

        names, threads = zip(*seen, strict=True)
        assert names == ("on", "view", "off")
        assert len(set(threads)) == 1
        assert threads[0] != _here()

    def test_run_together_after_an_async_stream(self, serve, connect):
        """The stream gave the worker back: finished receivers share another one."""

        async def parts() -> Any:
            yield b"part"

        def view(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(parts())

        def first(**named: Any) -> None:
            seen.append(_here())

        def second(**named: Any) -> None:
            seen.append(_here())

        connect(request_finished, first)
        connect(request_finished, second)

        run(by_asgi(serve(a=view), Request("/a/")))

        assert len(seen) == 2
        assert len(set(seen)) == 1
        assert seen[0] != _here()

    def test_of_django_close_a_cache_that_was_used_on_the_loop(self, serve, settings):
        """No worker was used, but the cache must be closed all the same."""
        settings.CACHES = {"default": {"BACKEND": f"{HERE}.Cache"}}

        async def view(request: Any) -> HttpResponse:
            await cache.aset("key", 1)
            return HttpResponse()

        async def main() -> None:
            caches["default"]
            await by_asgi(handler, Request("/a/"))

        handler = serve(a=view)
        run(main())

        assert "closed" in seen

    def test_of_django_close_a_cache_whose_settings_changed(self, serve, settings):
        """What is known of the caches goes with their settings."""

        async def view(request: Any) -> HttpResponse:
            caches["default"].get("key")
            return HttpResponse()

        handler = serve(a=view)
        settings.CACHES = {"default": {"BACKEND": f"{HERE}.Cache"}}
        contextvars.Context().run(lambda: run(by_asgi(handler, Request("/a/"))))

        assert "closed" in seen

    def test_of_django_are_known_through_a_wrapper(self, serve, monkeypatch):
        """A tool that wraps every receiver sees them all; no trip is added."""

        async def view(request: Any) -> HttpResponse:
            return HttpResponse()

        _watch_receivers(monkeypatch)
        _, cost = cost_of(serve(a=view), Request("/a/"), is_warm=False)

        assert "close_old_connections" in seen
        assert cost.trips == 0

    def test_of_django_are_seen_by_a_tool_that_came_late(self, serve, monkeypatch):
        """Who listens is remembered, but not for longer than it is true."""

        async def view(request: Any) -> HttpResponse:
            return HttpResponse()

        handler = serve(a=view)
        run(by_asgi(handler, Request("/a/")))
        _watch_receivers(monkeypatch)
        run(by_asgi(handler, Request("/a/")))

        assert seen.count("close_old_connections") == 2


class Cache(LocMemCache):
    """A cache that notes its end."""

    def close(self, **kwargs: Any) -> None:
        seen.append("closed")


def _watch_receivers(monkeypatch: Any) -> None:
    """Wrap every receiver that a signal calls, as monitoring tools do."""
    original = Signal._live_receivers

    def live_receivers(self: Signal, sender: Any) -> Any:
        sync, asynchronous = original(self, sender)
        return [_spanned(each) for each in sync], asynchronous

    monkeypatch.setattr(Signal, "_live_receivers", live_receivers)


def _spanned(receiver: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(receiver)
    def span(*args: Any, **kwargs: Any) -> Any:
        seen.append(receiver.__name__)
        return receiver(*args, **kwargs)

    return span


# Which thread.


class TestThreads:
    """Protects requests from each other, and tests with their transactions."""

    def test_of_two_requests_at_once_differ(self, serve):
        """Each waits for the other, which only two threads can do."""
        handler = serve(a=self._meeting())

        first, second = run(self._two(handler))

        assert first.body != second.body

    def test_of_two_requests_differ_under_async_to_sync(self, serve):
        """Tasks with a context of their own do not belong to the waiting caller."""
        handler = serve(a=self._meeting())

        first, second = async_to_sync(self._two)(handler)

        assert first.body != second.body
        assert b"MainThread" not in (first.body, second.body)

    @staticmethod
    def _meeting() -> Callable[..., Any]:
        barrier = threading.Barrier(2, timeout=PATIENCE)

        def view(request: Any) -> HttpResponse:
            barrier.wait()
            return HttpResponse(_here())

        return view

    @staticmethod
    async def _two(handler: Any) -> Any:
        loop = asyncio.get_running_loop()
        return await asyncio.gather(
            *(
                loop.create_task(
                    by_asgi(handler, Request("/a/")), context=contextvars.Context()
                )
                for _ in range(2)
            )
        )

    @pytest.mark.parametrize("view", [sync_thread, async_thread])
    def test_is_the_callers_where_a_sync_caller_waits(self, view, serve):
        """As in Django's async test cases: the caller's transaction is there."""
        trips = get_pool().stats().trips_total

        answer = async_to_sync(by_asgi)(serve(a=view), Request("/a/"))

        assert answer.body.decode() == _here()
        assert get_pool().stats().trips_total == trips

    def test_is_the_same_for_nested_calls(self, serve):
        """Sync, async, sync again: on the parked worker, not on a second one."""

        async def nested() -> str:
            return await sync_to_async(_here)()

        def view(request: Any) -> HttpResponse:
            return HttpResponse(f"{_here()} {async_to_sync(nested)()}")

        outer, inner = run(by_asgi(serve(a=view), Request("/a/"))).body.split()

        assert outer == inner

    def test_is_there_for_a_task_that_outlives_its_request(self, serve):
        """asgiref 3.13's own executors raise then."""
        tasks = []

        async def late(over: asyncio.Event) -> str:
            await over.wait()
            return await sync_to_async(_here)()

        async def view(request: Any) -> HttpResponse:
            tasks.append(asyncio.create_task(late(over)))
            return HttpResponse()

        async def main() -> str:
            await by_asgi(handler, Request("/a/"))
            over.set()
            return await tasks[0]

        over = asyncio.Event()
        handler = serve(a=view)

        assert run(main()).startswith("django-asgi-bridge")


# The request class.


class TestRequestClass:
    """Protects code that asks ``isinstance`` or builds a request itself."""

    def test_is_a_subclass_of_djangos(self):
        assert issubclass(ASGIRequest, DjangoASGIRequest)
        assert ASGIHandler.request_class is ASGIRequest

    def test_is_made_without_a_body(self):
        request = ASGIRequest(Request("/a/", query="b=1").scope(), None)

        assert (request.path, request.GET["b"], request.method) == ("/a/", "1", "GET")

    def test_of_a_subclass_is_used(self, serve):
        """``request_class`` is the place to change the request."""

        class Special(ASGIRequest):
            special = True

        def view(request: Any) -> HttpResponse:
            return HttpResponse(f"{request.special} {type(request).__name__}")

        handler = serve(a=view)
        handler.request_class = Special

        assert run(by_asgi(handler, Request("/a/"))).body == b"True Special"


# What goes over the wire, and who sends the signals.


class TestWire:
    """Protects tests and proxies that know Django's messages."""

    def test_header_names_keep_their_case(self, serve):
        def view(request: Any) -> HttpResponse:
            return HttpResponse(headers={"X-CamelCase": "1", "x-lower": "2"})

        start = run(by_asgi(serve(a=view), Request("/a/"))).sent[0]

        assert {b"X-CamelCase", b"x-lower", b"Content-Type"} <= dict(
            start["headers"]
        ).keys()

    @pytest.mark.parametrize(
        ("size", "pieces"),
        [
            pytest.param(0, [0], id="empty"),
            pytest.param(65536, [65536], id="one"),
            pytest.param(65537, [65536, 1], id="one-byte-more"),
            pytest.param(200_000, [65536, 65536, 65536, 3392], id="many"),
        ],
    )
    def test_bodies_go_in_pieces_of_64_kib(self, size, pieces, serve):
        answer = run(
            by_asgi(serve(a=lambda request: HttpResponse(b"x" * size)), Request("/a/"))
        )

        bodies = answer.sent[1:]
        assert [len(each["body"]) for each in bodies] == pieces
        assert [each["more_body"] for each in bodies] == (
            [True] * (len(pieces) - 1) + [False]
        )

    def test_streams_end_with_an_empty_event(self, serve):
        async def parts() -> Any:
            yield b"x" * 70_000
            yield b"y"

        async def view(request: Any) -> StreamingHttpResponse:
            return StreamingHttpResponse(parts())

        *bodies, last = run(by_asgi(serve(a=view), Request("/a/"))).sent[1:]

        assert [len(each["body"]) for each in bodies] == [65536, 4464, 1]
        assert all(each["more_body"] for each in bodies)
        assert last == {"type": "http.response.body"}

    @pytest.mark.parametrize("scope_type", ["websocket", "lifespan", "gopher"])
    def test_other_scopes_raise_djangos_text(self, scope_type, serve):
        """Servers find out so that there is no lifespan (4)."""
        text = f"^Django can only handle ASGI/HTTP connections, not {scope_type}.$"

        with pytest.raises(ValueError, match=text):
            run(serve()({"type": scope_type}, None, None))

    def test_a_stray_event_raises_djangos_text(self, serve):
        """An event after the body that is no disconnect (28)."""

        async def view(request: Any) -> HttpResponse:
            await asyncio.Event().wait()
            raise RuntimeError("unreachable")

        async def main() -> None:
            connection = Connection(
                {"type": "http.request", "body": b"", "more_body": False},
                {"type": "http.not_a_real_event"},
            )
            async with asyncio.timeout(PATIENCE):
                await handler(
                    Request("/a/").scope(), connection.receive, connection.send
                )

        handler = serve(a=view)

        with pytest.raises(
            AssertionError,
            match=r"^Invalid ASGI message after request body: http.not_a_real_event$",
        ):
            run(main())

    def test_wrong_answers_raise_djangos_texts(self, serve, settings):
        """None and a coroutine in the place of a response (41)."""
        settings.DEBUG_PROPAGATE_EXCEPTIONS = True

        async def later() -> None:
            """Never awaited."""

        def nothing(request: Any) -> None:
            return None

        def coroutine(request: Any) -> Any:
            made.append(later())
            return made[0]

        made: list[Any] = []
        handler = serve(a=nothing, b=coroutine)

        with pytest.raises(ValueError, match="didn't return an HttpResponse") as none:
            run(by_asgi(handler, Request("/a/")))
        with pytest.raises(ValueError, match="unawaited coroutine") as unawaited:
            run(by_asgi(handler, Request("/b/")))
        made[0].close()

        assert str(none.value) == (
            f"The view {HERE}.nothing didn't return an HttpResponse object. It "
            "returned None instead."
        )
        assert str(unawaited.value) == (
            f"The view {HERE}.coroutine didn't return an HttpResponse object. It "
            "returned an unawaited coroutine instead. You may need to add an 'await' "
            "into your view."
        )

    @pytest.mark.parametrize("is_async", [False, True])
    def test_signals_come_from_the_handlers_class_once(self, is_async, serve, connect):
        """A subclass is its own sender, and the response says so."""

        async def aview(request: Any) -> HttpResponse:
            return HttpResponse()

        def view(request: Any) -> HttpResponse:
            return HttpResponse()

        class Special(ASGIHandler):
            """A project's own."""

        serve(a=aview if is_async else view)
        handler = Special()
        for signal in (request_started, request_finished):
            connect(signal, lambda sender, **named: seen.append(sender))

        run(by_asgi(handler, Request("/a/")))

        assert seen == [Special, Special]


# What belongs to a request's context.

variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable")
local = Local()
thread_local = threading.local()


class SetsToken(MiddlewareMixin):
    """Sets a context variable on the way in and takes it back on the way out."""

    def process_request(self, request: Any) -> None:
        request.token = variable.set("middleware")
        local.value = "middleware"
        thread_local.value = "middleware"

    def process_response(self, request: Any, response: Any) -> Any:
        seen.append((variable.get(), local.value, thread_local.value))
        variable.reset(request.token)
        response["X-Token"] = "ok"
        return response


@sync_only_middleware
def sets_around(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Do the same in one function."""

    def middleware(request: Any) -> Any:
        token = variable.set("middleware")
        local.value = "middleware"
        thread_local.value = "middleware"
        response = get_response(request)
        seen.append((variable.get(), local.value, thread_local.value))
        variable.reset(token)
        response["X-Token"] = "ok"
        return response

    return middleware


def _mark(where: str) -> None:
    seen.append((variable.get(None), local.value, getattr(thread_local, "value", None)))
    variable.set(where)
    local.value = where


def sync_marks(request: Any) -> HttpResponse:
    """See what the middleware set, and change it."""
    _mark("view")
    thread_local.value = "view"
    return HttpResponse()


async def async_marks(request: Any) -> HttpResponse:
    """See what the middleware set, also from sync code; and change it."""
    _mark("async view")
    await sync_to_async(sync_marks)(request)
    assert (variable.get(), local.value) == ("view", "view")
    return HttpResponse()


class TestContext:
    """Protects tenants, tokens, spans and thread-locals."""

    @pytest.mark.parametrize("middleware", ["SetsToken", "sets_around"])
    def test_is_shared_with_a_sync_view(self, middleware, serve):
        answer = run(by_asgi(serve(middleware, a=sync_marks), Request("/a/")))

        assert (answer.status, answer["X-Token"]) == (200, "ok")
        assert seen == [("middleware",) * 3, ("view",) * 3]

    @pytest.mark.parametrize("middleware", ["SetsToken", "sets_around"])
    def test_is_shared_with_an_async_view(self, middleware, serve):
        answer = run(by_asgi(serve(middleware, a=async_marks), Request("/a/")))

        assert (answer.status, answer["X-Token"]) == (200, "ok")
        assert seen == [
            ("middleware", "middleware", None),
            ("async view", "async view", "middleware"),
            ("view",) * 3,
        ]

    @pytest.mark.parametrize("view", [sync_marks, async_marks])
    def test_ends_with_the_request(self, view, serve):
        """Neither the caller nor the next request on the worker sees any of it."""

        async def main() -> Any:
            await by_asgi(handler, Request("/a/"))
            return variable.get(None), getattr(local, "value", None)

        handler = serve("SetsToken", a=view)

        assert run(main()) == (None, None)


# Loading middleware.

made: list[str] = []


class Counts(MiddlewareMixin):
    """Notes how often it is made."""

    def __init__(self, get_response: Any) -> None:
        super().__init__(get_response)
        made.append("made")


class Neither:
    """A middleware for nobody."""

    sync_capable = False
    async_capable = False


def returns_none(get_response: Any) -> None:
    """Forget to return the middleware."""


def leaves(get_response: Any) -> Any:
    """Ask not to be used."""
    raise MiddlewareNotUsed


class SlowSecurity(SecurityMiddleware):
    """One of Django's own that blocks."""

    def process_response(self, request: Any, response: Any) -> Any:
        seen.append(_here())
        return super().process_response(request, response)


class Catches(MiddlewareMixin):
    """Notes where exceptions are handled."""

    def process_exception(self, request: Any, exception: Exception) -> HttpResponse:
        seen.append(_here())
        return HttpResponse("caught")


class Kept(MiddlewareMixin):
    """Shows whether it is between its neighbours."""

    def process_response(self, request: Any, response: Any) -> Any:
        seen.append(type(self).__name__)
        return response


class KeptToo(Kept):
    """The second one."""


class TestLoading:
    """Traps 8 and 14 protect middleware that was written for Django's rules."""

    def test_makes_one_instance_for_both_kinds_of_view(self, serve):
        made.clear()
        handler = serve("Counts", a=sync_thread, b=async_thread)

        run(by_asgi(handler, Request("/a/")))
        run(by_asgi(handler, Request("/b/")))

        assert made == ["made"]

    def test_refuses_what_can_do_neither(self, serve):
        with pytest.raises(RuntimeError, match="at least one of"):
            serve("Neither")

    def test_refuses_a_factory_that_returns_none(self, serve):
        with pytest.raises(ImproperlyConfigured, match="returned None"):
            serve("returns_none")

    @pytest.mark.parametrize("view", [sync_thread, async_thread])
    def test_leaves_out_what_is_not_used(self, view, serve):
        handler = serve(
            "leaves", "Kept", "leaves", "leaves", "KeptToo", "leaves", a=view
        )

        answer = run(by_asgi(handler, Request("/a/")))

        assert answer.status == 200
        assert [each for each in seen if each in {"Kept", "KeptToo"}] == [
            "KeptToo",
            "Kept",
        ]

    def test_keeps_blocking_subclasses_off_the_loop(self, serve):
        run(by_asgi(serve("SlowSecurity", a=async_thread), Request("/a/")))

        assert seen != [_here()]
        assert len(seen) == 1

    def test_keeps_exception_hooks_off_the_loop(self, serve):
        async def view(request: Any) -> HttpResponse:
            raise ValueError("caught")

        answer = run(by_asgi(serve("Catches", a=view), Request("/a/")))

        assert answer.body == b"caught"
        assert seen != [_here()]


# Headers.


class TestHeaders:
    """Protects from forged headers and from slow joins."""

    def meta_of(self, *headers: tuple[bytes, bytes]) -> dict[str, Any]:
        scope = {**Request("/a/").scope(), "headers": list(headers)}
        return ASGIRequest(scope, None).META

    def test_with_underscores_are_dropped(self):
        """CVE-2026-3902: X_User must not pass for X-User."""
        meta = self.meta_of((b"x-user", b"real"), (b"x_user", b"forged"))

        assert meta["HTTP_X_USER"] == "real"

    def test_that_repeat_are_joined_in_one_pass(self):
        """Each value is looked at once, however many there are."""

        class Value(bytes):
            decoded = 0

            def decode(self, *args: Any, **kwargs: Any) -> str:
                Value.decoded += 1
                return super().decode(*args, **kwargs)

        meta = self.meta_of(*((b"x-many", Value(b"v")) for _ in range(1000)))

        assert meta["HTTP_X_MANY"] == ",".join("v" * 1000)
        assert Value.decoded == 1000

    def test_of_cookies_are_joined_as_one(self):
        """HTTP/2 clients send them apart."""
        meta = self.meta_of(
            (b"cookie", b"a=1; "), (b"cookie", b"b=2;"), (b"cookie", b"c=3")
        )

        assert meta["HTTP_COOKIE"] == "a=1; b=2; c=3"


# After a disconnect.


class TestDisconnect:
    """Protects a sync view that still runs when its client has left."""

    def test_leaves_body_and_worker_to_the_running_view(self, serve, connect):
        goes_on, signals = threading.Event(), []
        connect(request_finished, lambda **named: signals.append("finished"))

        def view(request: Any) -> HttpResponse:
            loops[0].call_soon_threadsafe(runs.set)
            goes_on.wait(PATIENCE)
            seen.append((request.body, list(signals)))
            return HttpResponse()

        async def main() -> None:
            loops.append(asyncio.get_running_loop())
            events = [{"type": "http.request", "body": b"kept", "more_body": False}]

            async def receive() -> dict[str, Any]:
                if events:
                    return events.pop()
                await runs.wait()
                left.set()
                return {"type": "http.disconnect"}

            connection = Connection()
            request = Request("/a/", method="POST", body=b"kept")
            served = asyncio.create_task(
                handler(request.scope(), receive, connection.send)
            )
            async with asyncio.timeout(PATIENCE):
                await left.wait()
                seen.append(get_pool().stats().leased)
                goes_on.set()
                await served
            seen.append(connection.sent)

        loops: list[asyncio.AbstractEventLoop] = []
        runs, left = asyncio.Event(), asyncio.Event()
        handler = serve(a=view)
        run(main())

        assert seen == [1, (b"kept", []), []]
        assert signals == ["finished"]
        assert get_pool().stats().leased == 0


# Scopes.


class TestScopes:
    """Protects servers that try what the application can do."""

    def test_that_nobody_knows_raise(self):
        text = "^Django can only handle ASGI/HTTP connections, not webtransport.$"

        with pytest.raises(ValueError, match=text):
            run(get_asgi_application()({"type": "webtransport"}, None, None))

    def test_of_lifespan_are_answered(self, monkeypatch):
        """At the end of it the pool ends its threads; other tests keep theirs."""

        async def main() -> list[dict[str, Any]]:
            connection = Connection(
                {"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}
            )
            scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
            async with asyncio.timeout(PATIENCE):
                await get_asgi_application()(scope, connection.receive, connection.send)
            return connection.sent

        with fresh_pool(monkeypatch):
            sent = run(main())

        assert [each["type"] for each in sent] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
        ]


# The context that the server calls in.


def _surroundings(request: Any) -> dict[str, Any]:
    return {
        "variable": variable.get(None),
        "language": translation.get_language(),
        "zone": timezone.get_current_timezone_name(),
        "prefix": get_script_prefix(),
        "urlconf": get_urlconf(),
    }


def _stain() -> None:
    variable.set("stained")
    translation.activate("de")
    timezone.activate("Asia/Tokyo")
    set_script_prefix("/stained/")
    set_urlconf("stained")


def sync_stains(request: Any) -> HttpResponse:
    """Look around, then leave everything changed."""
    seen.append(_surroundings(request))
    _stain()
    return HttpResponse()


async def async_stains(request: Any) -> HttpResponse:
    """Look around, then leave everything changed, here and on the worker."""
    seen.append(_surroundings(request))
    _stain()
    await sync_to_async(_stain)()
    return HttpResponse()


def streams_stains(request: Any) -> StreamingHttpResponse:
    """Leave everything changed after the response has started."""
    seen.append(_surroundings(request))

    async def parts() -> Any:
        _stain()
        yield b"part"
        _stain()

    return StreamingHttpResponse(parts())


class TestCallersContext:
    """Protects tools that set variables around us, and the next request."""

    @pytest.mark.parametrize("is_async", [False, True])
    def test_is_the_requests_context(self, is_async, serve):
        """Hooks, receivers and views see what a wrapper of the application set."""

        def view(request: Any) -> HttpResponse:
            return HttpResponse(variable.get())

        async def aview(request: Any) -> HttpResponse:
            return HttpResponse(variable.get())

        async def main() -> Any:
            token = variable.set("wrapper")
            answer = await by_asgi(handler, Request("/a/"))
            # What the middleware set is gone; the token is still good.
            value = variable.get()
            variable.reset(token)
            return answer.body, value

        handler = serve("SetsToken", a=aview if is_async else view)

        assert run(main()) == (b"middleware", "wrapper")

    @pytest.mark.parametrize("view", [sync_stains, async_stains, streams_stains])
    @pytest.mark.parametrize("middleware", [(), ("sets_around",)])
    def test_stays_clean_for_pipelined_requests(self, middleware, view, serve):
        """Three requests, one after the other in one task and context."""

        async def main() -> None:
            for _ in range(3):
                await by_asgi(handler, Request("/a/"))
            seen.append(_surroundings(None))

        handler = serve(*middleware, a=view)
        self._expect_clean(main, middleware)

    @pytest.mark.parametrize("view", [sync_stains, async_stains, streams_stains])
    def test_stays_clean_for_a_request_started_in_send(self, view, serve):
        """Some servers start the next request from within the last ``send``."""
        tasks: list[asyncio.Task[None]] = []

        async def one() -> None:
            connection = Connection.of(Request("/a/"))

            async def send(event: dict[str, Any]) -> None:
                await connection.send(event)
                is_last = event["type"] == "http.response.body" and not event.get(
                    "more_body", False
                )
                if is_last and len(tasks) < 3:
                    tasks.append(asyncio.create_task(one()))

            await handler(Request("/a/").scope(), connection.receive, send)

        async def main() -> None:
            await one()
            for i in range(3):
                await tasks[i]
            seen.append(_surroundings(None))

        handler = serve(a=view)
        self._expect_clean(main, ())

    def _expect_clean(
        self, main: Callable[[], Awaitable[None]], middleware: tuple[str, ...]
    ) -> None:
        contextvars.Context().run(run, main())

        looks = [each for each in seen if isinstance(each, dict)]
        *requests, after = looks
        clean = {
            "variable": "middleware" if middleware else None,
            "language": "en-us",
            "zone": timezone.get_default_timezone_name(),
            "prefix": "/",
        }
        assert len(requests) >= 3
        for each in requests:
            urlconf = each.pop("urlconf")
            assert isinstance(urlconf, Urls)
            assert each == clean
        assert after == {**clean, "variable": None, "urlconf": None}


# Bodies of unknown length.

MULTIPART = (
    b'--edge\r\nContent-Disposition: form-data; name="word"\r\n\r\nvalue\r\n'
    b'--edge\r\nContent-Disposition: form-data; name="file"; filename="a.txt"\r\n'
    b"Content-Type: text/plain\r\n\r\ncontent\r\n--edge--\r\n"
)


def sync_form(request: Any) -> HttpResponse:
    """Show a form."""
    uploaded = [each.read() for each in request.FILES.values()]
    return HttpResponse(f"{request.POST.dict()} {uploaded}")


async def async_form(request: Any) -> HttpResponse:
    """Show a form."""
    return sync_form(request)


class TestChunkedForm:
    """Protects uploads whose length was not announced."""

    async def post(self, handler: Any, body: bytes) -> Any:
        pieces = [body[i : i + 50] for i in range(0, len(body), 50)]
        connection = Connection(
            *(
                {"type": "http.request", "body": each, "more_body": True}
                for each in pieces
            ),
            {"type": "http.request"},
        )
        scope = Request("/a/", method="POST").scope()
        scope["headers"] = [
            (b"host", b"testserver"),
            (b"content-type", b"multipart/form-data; boundary=edge"),
            (b"transfer-encoding", b"chunked"),
        ]
        async with asyncio.timeout(PATIENCE):
            await handler(scope, connection.receive, connection.send)
        return connection.answer(), len(connection.incoming)

    @pytest.mark.parametrize("view", [sync_form, async_form])
    def test_is_parsed(self, view, serve):
        answer, _ = run(self.post(serve(a=view), MULTIPART))

        assert answer.body == b"{'word': 'value'} [b'content']"

    @pytest.mark.parametrize("view", [sync_form, async_form])
    def test_is_limited_by_its_fields(self, view, serve, settings):
        """The sum of its fields, not its announced length, is what counts."""
        settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 1000
        body = MULTIPART.replace(b"value", b"v" * 2000)

        answer, _ = run(self.post(serve(a=view), body))

        assert answer.status == 413

    @pytest.mark.parametrize("view", [sync_form, async_form])
    def test_is_limited_while_it_is_received(self, view, serve, settings):
        """MAX_BODY_SIZE: what is over it is not asked for."""
        settings.ASGI_BRIDGE = {"MAX_BODY_SIZE": 1000}
        body = MULTIPART.replace(b"content", b"c" * 100_000)

        answer, unread = run(self.post(serve(a=view), body))

        assert answer.status == 413
        assert unread > 1900
