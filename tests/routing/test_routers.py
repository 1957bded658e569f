"""Routers put together by hand, as the contract with Channels tells them."""

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.urls import Resolver404, include, path, re_path
from django.urls.resolvers import LocalePrefixPattern, RoutePattern
from django.utils import translation
from django.utils.functional import lazy

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.middleware import BaseMiddleware
from django_asgi_bridge.routing import (
    ChannelNameRouter,
    ProtocolTypeRouter,
    URLRouter,
    get_default_application,
)
from django_asgi_bridge.security.websocket import OriginValidator
from django_asgi_bridge.sessions import CookieMiddleware

pytestmark = pytest.mark.asyncio


def app(name):
    """Return an application that returns its name and the scope it got."""

    async def serve(scope, receive, send):
        return name, scope

    return serve


async def call(application, **scope):
    return await application({"type": "websocket", **scope}, None, None)


# By type.


async def test_protocol_router_returns_what_its_application_does():
    router = ProtocolTypeRouter({"websocket": app("sockets"), "http": app("pages")})

    assert (await call(router))[0] == "sockets"
    assert (await call(router, type="http"))[0] == "pages"


async def test_protocol_router_refuses_a_type_it_does_not_know():
    router = ProtocolTypeRouter({})

    with pytest.raises(ValueError, match="No application configured for scope type 'x"):
        await call(router, type="xyz")
    with pytest.raises(KeyError):
        await router({}, None, None)


@pytest.mark.parametrize(
    "application",
    [
        ProtocolTypeRouter({}),
        URLRouter([]),
        CookieMiddleware(None),
        OriginValidator(None, []),
    ],
)
async def test_errors_come_when_the_call_is_awaited(application):
    """Communicators of asgiref call an application where no error is expected yet."""
    waiting = application({"type": "xyz"}, None, None)

    with pytest.raises(ValueError):  # noqa: PT011 - each has its own
        await waiting


@pytest.mark.parametrize("has_http", [True, False])
async def test_protocol_router_answers_lifespan(has_http):
    """C7."""
    mapping = {"http": get_asgi_application()} if has_http else {}
    events = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent = []

    async def receive():
        return events.pop(0)

    async def send(event):
        sent.append(event["type"])

    await ProtocolTypeRouter(mapping)({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# By path.


async def test_url_router_gives_arguments_and_a_copy_of_the_scope():
    router = URLRouter(
        [
            path("room/<int:pk>/", app("room"), {"extra": 1}),
            re_path(r"^old/(\d+)/$", app("old")),
        ]
    )
    scope = {"type": "websocket", "path": "/room/7/"}

    name, got = await router(scope, None, None)

    assert name == "room"
    assert got["url_route"] == {"args": (), "kwargs": {"pk": 7, "extra": 1}}
    assert got["path_remaining"] == ""
    assert "url_route" not in scope
    assert (await call(router, path="/old/3/"))[1]["url_route"]["args"] == ("3",)


async def test_url_router_without_a_match_or_a_path_is_an_error():
    router = URLRouter([path("a/", app("a"))])

    with pytest.raises(ValueError, match="No route found for path 'b/'"):
        await call(router, path="/b/")
    with pytest.raises(ValueError, match="No 'path' key in connection scope"):
        await call(router)


async def test_url_router_takes_the_root_path_off():
    router = URLRouter([path("a/", app("a"))])

    assert (await call(router, path="/root/a/", root_path="/root"))[0] == "a"
    with pytest.raises(ValueError, match="No route found"):
        await call(router, path="/a/", root_path="/root")


async def test_nested_routers_collect_arguments_and_go_on_with_the_next_route():
    class Middleware(BaseMiddleware):
        _path_routing = True

    inner = URLRouter([path("<int:b>/", app("inner"), {"c": 3})])
    router = URLRouter(
        [
            path("<slug:a>/", Middleware(inner)),
            path("x/last/", app("last")),
        ]
    )

    name, scope = await call(router, path="/x/2/")

    assert name == "inner"
    assert scope["url_route"]["kwargs"] == {"a": "x", "b": 2, "c": 3}
    assert (await call(router, path="/x/last/"))[0] == "last"
    with pytest.raises(ValueError, match="No route found"):
        await call(router, path="/x/nothing/")
    with pytest.raises(Resolver404):
        await call(inner, path_remaining="x")


async def test_nested_routers_join_positional_arguments():
    inner = URLRouter([re_path(r"^(\w+)/$", app("inner"))])
    router = URLRouter([re_path(r"^(\d+)/", inner)])

    _, scope = await call(router, path="/7/x/")

    assert scope["url_route"] == {"args": ("7", "x"), "kwargs": {}}
    assert scope["path_remaining"] == ""


async def test_inner_route_has_the_last_word_on_an_argument():
    inner = URLRouter([path("<int:b>/", app("inner"), {"a": "inner"})])
    router = URLRouter([path("<str:a>/", inner, {"b": 0, "c": "outer"})])

    _, scope = await call(router, path="/x/2/")

    assert scope["url_route"]["kwargs"] == {"a": "inner", "b": 2, "c": "outer"}


async def test_middleware_that_passes_nothing_on_ends_a_route():
    """Without the mark a route matches whole paths alone."""
    inner = URLRouter([path("b/", app("inner"))])
    router = URLRouter([path("a/", BaseMiddleware(inner))])

    with pytest.raises(ValueError, match="No route found"):
        await call(router, path="/a/b/")


@pytest.mark.parametrize("make", [path, re_path])
async def test_nested_route_follows_the_language(make):
    """A translated route is looked up for each connection."""
    texts = {"en": "chat/", "de": "plausch/"}
    route = lazy(lambda: texts.get(translation.get_language(), ""), str)()
    router = URLRouter([make(route, URLRouter([path("a/", app("a"))]))])

    for language, text in texts.items():
        with translation.override(language):
            assert (await call(router, path=f"/{text}a/"))[0] == "a"


async def test_nested_route_keeps_the_class_of_its_pattern():
    class AnyCase(RoutePattern):
        def match(self, path):
            return super().match(path.lower())

    route = path("room/", URLRouter([path("a/", app("a"))]))
    route.pattern = AnyCase("room/", is_endpoint=True)

    assert (await call(URLRouter([route]), path="/ROOM/a/"))[0] == "a"


async def test_nested_route_of_another_kind_is_refused():
    route = path("", URLRouter([]))
    route.pattern = LocalePrefixPattern()

    with pytest.raises(ValueError, match="Unsupported pattern type"):
        URLRouter([route])


async def test_middleware_gives_a_copy_of_the_scope():
    scope = {"type": "websocket"}

    name, inner = await BaseMiddleware(app("inner"))(scope, None, None)

    assert name == "inner"
    assert inner == scope
    assert inner is not scope


async def test_url_router_leaves_its_routes_as_they_are():
    """C22."""
    route = path("a/", URLRouter([]))
    pattern = route.pattern

    URLRouter([route])

    assert route.pattern is pattern


async def test_url_router_takes_no_include():
    with pytest.raises(ImproperlyConfigured, match="include"):
        URLRouter([path("a/", include([]))])


async def test_channel_router_goes_by_the_channel():
    router = ChannelNameRouter({"mail": app("mail")})

    assert (await call(router, channel="mail"))[0] == "mail"
    with pytest.raises(ValueError, match="No application configured for channel name"):
        await call(router, channel="other")
    with pytest.raises(ValueError, match="scope without a 'channel' key"):
        await call(router)


# The setting.


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "Cannot find ASGI_APPLICATION setting."),
        ("nodots", "Cannot find ASGI_APPLICATION setting."),
        ("no.such.module", "Cannot import ASGI_APPLICATION module 'no.such'"),
        ("tests.settings.nothing", "Cannot find 'nothing' in ASGI_APPLICATION module"),
    ],
)
async def test_default_application_says_what_is_wrong(value, message, settings):
    settings.ASGI_APPLICATION = value

    with pytest.raises(ImproperlyConfigured, match=message):
        get_default_application()


async def test_default_application_is_the_one_named(settings):
    settings.ASGI_APPLICATION = "tests.routing.test_routers.app"

    assert get_default_application() is app
