"""Mounts: which application gets a connection, and the scope that it sees."""

import asyncio
import sys
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.lifespan import Lifespan
from django_asgi_bridge.mounts import MissingDependencyError, Mounts, wsgi


async def fetch(app, path: str, *, kind: str = "http", **extra: Any) -> Any:
    """Send one request and give the body of the answer."""
    scope = {
        "type": kind,
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "http_version": "1.1",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": [(b"host", b"testserver")],
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        **extra,
    }
    sent: list[dict[str, Any]] = []
    requests = [{"type": "http.request", "body": b"", "more_body": False}]

    async def receive():
        if requests:
            return requests.pop()
        return await asyncio.Event().wait()

    async def send(message):
        sent.append(message)

    before = dict(scope)
    await app(scope, receive, send)
    if not type(app).__module__.startswith(("starlette.", "fastapi.")):
        # Starlette writes into the scope that it is given.
        assert scope == before
    return b"".join(message.get("body", b"") for message in sent).decode()


def named(name: str):
    """An application that answers its name and where it thinks it is."""

    async def app(scope, receive, send):
        body = f"{name} {scope.get('root_path')} {scope['path']}".encode()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": body})

    return app


# Which application


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["http", "websocket"])
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/", "default  /"),
        ("/api", "api /api /api"),
        ("/api/", "api /api /api/"),
        ("/api/users", "api /api /api/users"),
        ("/apis", "default  /apis"),
        ("/API", "default  /API"),
        ("/x/api", "default  /x/api"),
        ("/api/v2", "v2 /api/v2 /api/v2"),
        ("/api/v2/a", "v2 /api/v2 /api/v2/a"),
        ("/api/v20", "api /api /api/v20"),
        ("/ü/a", "umlaut /ü /ü/a"),
    ],
)
async def test_mounts_choose_the_longest_prefix_when_a_path_comes(path, expected, kind):
    """A prefix matches whole segments, the longest one first."""
    guests = {"/api": named("api"), "/api/v2": named("v2"), "/ü": named("umlaut")}
    app = Mounts(guests, named("default"))
    assert await fetch(app, path, kind=kind) == expected


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("root_path", "path", "expected"),
    [
        ("/site", "/site/api/x", "api /site/api /site/api/x"),
        ("/site/", "/site/api/x", "api /site/api /site/api/x"),
        ("/site", "/api/x", "api /site/api /site/api/x"),
        ("/", "/api/x", "api /api /api/x"),
        (None, "/api/x", "api /api /api/x"),
        ("/api", "/api/x", "default /api /api/x"),
        ("/api", "/api/api/x", "api /api/api /api/api/x"),
        ("/si", "/site/api", "default /si /site/api"),
    ],
)
async def test_root_path_grows_by_the_prefix_when_the_server_has_one(
    root_path, path, expected
):
    """Servers that strip their root path and servers that do not give the same."""
    app = Mounts({"/api": named("api")}, named("default"))
    assert await fetch(app, path, root_path=root_path) == expected


@pytest.mark.asyncio
async def test_raw_path_grows_with_the_path_when_the_server_stripped_both():
    seen = []

    async def guest(scope, receive, send):
        seen.append((scope["path"], scope["raw_path"]))

    app = Mounts({"/api": guest}, named("default"))
    await fetch(app, "/api/ü", raw_path=b"/api/%C3%BC", root_path="/s")
    assert seen == [("/s/api/ü", b"/s/api/%C3%BC")]


@pytest.mark.asyncio
async def test_other_scopes_go_to_the_default_when_they_have_no_path():
    seen = []

    async def default(scope, receive, send):
        seen.append(scope["type"])

    await Mounts({"/api": named("api")}, default)({"type": "lifespan"}, None, None)  # type: ignore[arg-type]
    assert seen == ["lifespan"]


@pytest.mark.parametrize(
    ("prefix", "advice"),
    [
        ("", "start it with a slash"),
        ("api", "start it with a slash"),
        ("/", "the default"),
        ("/api/", "write '/api'"),
        ("//api", "empty and dot segments"),
        ("/a/../b", "empty and dot segments"),
        ("/a%20b", "decoded path"),
    ],
)
def test_mounts_say_what_to_write_when_a_prefix_is_malformed(prefix, advice):
    with pytest.raises(ImproperlyConfigured, match=advice) as caught:
        Mounts({prefix: named("x")}, named("default"))
    assert repr(prefix) in str(caught.value)


# Kinds of applications


def asgi2_function(scope):
    async def instance(receive, send):
        await named("two")(scope, receive, send)

    return instance


class ASGI2Class:
    def __init__(self, scope):
        self.scope = scope

    async def __call__(self, receive, send):
        await named("two")(self.scope, receive, send)


class ASGI3Object:
    async def __call__(self, scope, receive, send):
        await named("three")(scope, receive, send)


class Awaitable3:
    def __init__(self, scope, receive, send):
        self.arguments = (scope, receive, send)

    def __await__(self):
        return named("three")(*self.arguments).__await__()


def asgi3_plain(scope, receive, send):
    return named("three")(scope, receive, send)


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("guest", "name"),
    [
        (asgi2_function, "two"),
        (ASGI2Class, "two"),
        (ASGI3Object(), "three"),
        (Awaitable3, "three"),
        (asgi3_plain, "three"),
        (lambda scope, receive, send: named("three")(scope, receive, send), "three"),
    ],
)
async def test_mounts_call_the_guest_by_its_kind_when_asgi_2_or_3(guest, name):
    app = Mounts({"/api": guest}, named("default"))
    assert await fetch(app, "/api/x") == f"{name} /api /api/x"


@pytest.mark.asyncio
@pytest.mark.parametrize(("mark", "name"), [("single", "three"), ("double", "two")])
async def test_mounts_believe_the_mark_when_an_application_has_one(mark, name):
    def guest(*arguments):
        kinds: dict[int, Any] = {1: asgi2_function, 3: asgi3_plain}
        return kinds[len(arguments)](*arguments)

    setattr(guest, f"_asgi_{mark}_callable", True)
    app = Mounts({"/api": guest}, named("default"))
    assert await fetch(app, "/api") == f"{name} /api /api"


@pytest.mark.parametrize("guest", [lambda *arguments: None, lambda: None, 3, "app"])
def test_mounts_refuse_the_guest_when_its_kind_is_unknown(guest):
    with pytest.raises(ImproperlyConfigured, match="no known kind"):
        Mounts({"/api": guest}, named("default"))


# WSGI


def wsgi_app(environ, start_response, extra=None):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"wsgi {environ['SCRIPT_NAME']} {environ['PATH_INFO']}".encode()]


class WSGIObject:
    def __call__(self, environ, start_response):
        return wsgi_app(environ, start_response)


@pytest.mark.asyncio
@pytest.mark.parametrize("guest", [wsgi_app, WSGIObject(), "declared"])
async def test_wsgi_guest_sees_its_own_path_when_mounted(guest):
    """A WSGI application is known by its two parameters, or declared by `wsgi()`."""
    pytest.importorskip("a2wsgi")
    if guest == "declared":
        guest = wsgi(lambda *arguments: wsgi_app(*arguments), threads=1)
    app = Mounts({"/old": guest}, named("default"))
    assert await fetch(app, "/old/page") == "wsgi /old /page"
    assert await fetch(app, "/old/page", root_path="/site") == "wsgi /site/old /page"


@pytest.mark.asyncio
async def test_wsgi_guest_closes_the_websocket_when_one_is_opened():
    pytest.importorskip("a2wsgi")
    sent = []

    async def receive():
        return {"type": "websocket.connect"}

    async def send(message):
        sent.append(message)

    app = Mounts({"/old": wsgi_app}, named("default"))
    await app({"type": "websocket", "path": "/old/x"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


def test_wsgi_names_the_extra_when_a2wsgi_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "a2wsgi", None)
    with pytest.raises(MissingDependencyError, match=r"pip install .*\[wsgi-mount\]"):
        Mounts({"/old": wsgi_app}, named("default"))


# Lifespan


@pytest.mark.asyncio
async def test_guest_gets_its_lifespan_and_state_when_no_server_starts_it():
    """A guest's lifespan runs before its first request, and its state is its own."""
    log: list[Any] = []

    async def guest(scope, receive, send):
        if scope["type"] == "lifespan":
            await receive()
            scope["state"]["pool"] = "ready"
            await send({"type": "lifespan.startup.complete"})
            await receive()
            log.append("stopped")
            await send({"type": "lifespan.shutdown.complete"})
        else:
            log.append(dict(scope["state"]))
            scope["state"]["pool"] = "changed by this request alone"

    lifespan = Lifespan()
    app = Mounts({"/api": guest, "/v1": guest}, named("default"), lifespan=lifespan)
    await fetch(app, "/api", state={"outer": 1})
    await fetch(app, "/v1")
    await lifespan.stop()
    assert log == [{"pool": "ready", "outer": 1}, {"pool": "ready"}, "stopped"]


@pytest.mark.asyncio
async def test_wsgi_guest_has_no_lifespan_when_mounted():
    pytest.importorskip("a2wsgi")
    lifespan = Lifespan()
    Mounts({"/old": wsgi_app}, named("default"), lifespan=lifespan)
    assert lifespan.guests == ()


@pytest.mark.asyncio
async def test_starlette_guest_routes_and_reverses_when_mounted():
    """Starlette finds its routes below the prefix and writes URLs with it."""
    applications = pytest.importorskip("starlette.applications")
    from contextlib import asynccontextmanager

    from starlette.responses import PlainTextResponse
    from starlette.routing import Mount, Route

    async def user(request):
        url = request.url_for("inner:user", name="b")
        return PlainTextResponse(f"{request.state.pool} {url}")

    @asynccontextmanager
    async def own_lifespan(app):
        yield {"pool": "ready"}

    inner = Mount("/inner", name="inner", routes=[Route("/{name}", user, name="user")])
    guest = applications.Starlette(routes=[inner], lifespan=own_lifespan)
    lifespan = Lifespan()
    app = Mounts({"/api": guest}, named("default"), lifespan=lifespan)

    for root_path, path in [("", "/api/inner/a"), ("/s", "/s/api/inner/a")]:
        expected = f"ready http://testserver{root_path}/api/inner/b"
        assert await fetch(app, path, root_path=root_path) == expected
    await lifespan.stop()


@pytest.mark.asyncio
async def test_fastapi_guest_serves_its_schema_when_mounted():
    fastapi = pytest.importorskip("fastapi")
    guest = fastapi.FastAPI()

    @guest.get("/items/{number}")
    async def item(number: int) -> int:
        return number

    app = Mounts({"/api": guest}, named("default"))
    assert await fetch(app, "/api/items/3") == "3"
    assert '"servers":[{"url":"/api"}]' in await fetch(app, "/api/openapi.json")


# Our application as the guest of others


@pytest.fixture
def django_app(settings):
    """Our application with one page that tells where it is."""
    from django_asgi_bridge import asgi

    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    return asgi.get_asgi_application()


def page(request):
    from django.http import HttpResponse
    from django.urls import reverse

    return HttpResponse(f"{request.path_info} {request.path} {reverse('page')}")


async def apage(request):
    return page(request)


def _urlpatterns():
    from django.urls import path

    return [path("page/", page, name="page"), path("apage/", apage)]


urlpatterns = _urlpatterns()


@pytest.mark.asyncio
@pytest.mark.parametrize("router", ["starlette", "fastapi", "channels", "mounts"])
@pytest.mark.parametrize("name", ["page", "apage"])
async def test_django_knows_its_prefix_when_mounted_in_another_router(
    router, name, django_app
):
    """URLs that Django resolves and reverses agree with the router's prefix."""
    prefix = "/django"
    if router == "starlette":
        pytest.importorskip("starlette")
        from starlette.applications import Starlette
        from starlette.routing import Mount

        app: Any = Starlette(routes=[Mount(prefix, django_app)])
    elif router == "fastapi":
        app = pytest.importorskip("fastapi").FastAPI()
        app.mount(prefix, django_app)
    elif router == "channels":
        prefix = ""
        app = pytest.importorskip("channels.routing").ProtocolTypeRouter(
            {"http": django_app}
        )
    else:
        app = Mounts({prefix: django_app}, named("default"))
    body = await fetch(app, f"{prefix}/{name}/")
    assert body == f"/{name}/ {prefix}/{name}/ {prefix}/page/"
