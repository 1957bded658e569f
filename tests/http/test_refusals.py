"""What must not be served: bad requests get a 4xx, bad responses a clean 500."""

import asyncio
import json
import logging
from typing import Any

import pytest
from django.http import HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import re_path

from django_asgi_bridge.protocol.response import BadResponse
from tests.http.exchanges import Base, Ledger, Wire, site

pytestmark = pytest.mark.asyncio


def echo(request):
    """Touch everything of a request that is read lazily."""
    return JsonResponse(
        {
            "path": request.path,
            "info": request.path_info,
            "get": dict(request.GET),
            "cookies": request.COOKIES,
            "post": dict(request.POST),
            "files": list(request.FILES),
            "type": request.content_type,
            "meta": {key: str(value) for key, value in request.META.items()},
            "scheme": request.scheme,
            "host": request.get_host(),
            "uri": request.build_absolute_uri(),
        }
    )


async def echo_async(request):
    return echo(request)


VIEWS = [pytest.param(echo, id="sync"), pytest.param(echo_async, id="async")]
HOST = ("host", "testserver")


async def answered(view: Any, wire: Wire, **settings: Any) -> Wire:
    """Serve the request; nothing may stay behind."""
    with site(view, ALLOWED_HOSTS=["testserver"], **settings) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()
    assert left == {}
    return wire


# Scopes.


def change(wire: Wire, scope: dict[str, Any]) -> None:
    """Replace keys of a scope; `...` takes one out."""
    for key, value in scope.items():
        if value is ...:
            del wire.scope[key]
        else:
            wire.scope[key] = value


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({"path": "evil"}, 400),
        ({"path": ""}, 400),
        ({"path": "http://evil.example/"}, 400),
        ({"path": "@evil.example/"}, 400),
        ({"path": "*"}, 400),
        ({"path": "/a\x00b"}, 400),
        ({"path": "/\udc80"}, 400),
        ({"method": "G ET"}, 400),
        ({"method": ""}, 400),
        ({"method": "GET\r\nX: y"}, 400),
        ({"scheme": "javascript"}, 400),
        ({"scheme": "ws"}, 400),
        ({"query_string": b"\xff\xfe"}, 400),
        ({"query_string": b"a=%ff"}, 200),
        ({"query_string": b"&".join([b"a=1"] * 1001)}, 400),
        ({"query_string": "text=1"}, 200),
        ({"scheme": "HTTPS"}, 200),
        ({"server": None, "client": None}, 200),
        ({"server": ("/run/app.sock", None)}, 200),
        ({"server": ..., "client": ..., "scheme": ..., "query_string": ...}, 200),
        ({"root_path": ..., "raw_path": ..., "http_version": ...}, 200),
        ({"http_version": "1.0"}, 200),
        ({"extensions": None}, 200),
    ],
    ids=lambda value: repr(value)[:50],
)
async def test_scope_gets_a_clear_answer(view, scope, status):
    """A bad scope is a 4xx, a sparse one has defaults."""
    wire = Wire(headers=[HOST])
    change(wire, scope)
    await answered(view, wire)

    assert wire.status == status
    assert wire.is_complete


@pytest.mark.parametrize("key", ["method", "path", "headers"])
@pytest.mark.parametrize("value", [..., None, 7, b"bytes"], ids=repr)
async def test_error_names_the_key_when_the_server_breaks_the_specification(key, value):
    """A scope no server may make: a ValueError that says which key, or a default."""
    wire = Wire()
    change(wire, {key: value})
    with site(echo) as handler:
        base = Base()
        wire.start(handler)
        error = await wire.ended()
        left = await base.left()

    if error is None:
        assert key == "headers"
        assert value in {..., None}
    else:
        assert isinstance(error, ValueError)
        assert f"scope['{key}']" in str(error)
    assert left == {}


@pytest.mark.parametrize("kind", ["websocket", "lifespan", "unheard", ""])
async def test_handler_raises_when_the_scope_is_not_http(kind):
    """Django's exact text: servers take it for "not supported"."""
    with (
        site(echo) as handler,
        pytest.raises(
            ValueError,
            match=f"^Django can only handle ASGI/HTTP connections, not {kind}.$",
        ),
    ):
        await Wire(type=kind).serve(handler)


# Headers.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ([HOST, HOST], 400),
        ([("content-length", "0"), ("content-length", "0"), HOST], 400),
        ([("content-length", "5"), ("transfer-encoding", "chunked"), HOST], 400),
        *(
            ([("content-length", length), HOST], 400)
            for length in (
                "+5",
                "-1",
                "1_0",
                "\xb2",
                "0x5",
                " 5",
                "",
                "9" * 5000,
                "1,2",
                "abc",
            )
        ),
        ([("x-a", f"v{chr(0)}"), HOST], 400),
        ([("x-a", "v\rw"), HOST], 400),
        ([("x-a", "v\nw"), HOST], 400),
        ([("x-a", "v\x7f"), HOST], 400),
        ([("x-a", "v\tw\x85\xff"), HOST], 200),
        ([(f"x-{i}", "v") for i in range(200)] + [HOST], 431),
        ([("x-a", "v" * 70_000), HOST], 431),
        ([("host", "evil.example")], 400),
        ([("host", "a/?x=")], 400),
        ([("host", "testserver@evil")], 400),
        ([("host", "[")], 400),
        ([("host", "")], 400),
        ([("content-type", "x" * 11_000), HOST], 400),
        ([("content-type", "text/plain; charset=nowhere"), HOST], 200),
        ([("content-type", "\xff\xfe/\xff"), HOST], 200),
        ([("content-type", ";" * 5000), HOST], 200),
        ([("cookie", "\xff\xfe=\xff; a"), HOST], 200),
        ([("cookie", "=;;;=; a=b=c; \\"), HOST], 200),
        ([("cookie", 'a="' + "\\" * 60_000), HOST], 200),
        ([("accept-language", "\xff" * 500), HOST], 200),
        ([("", "v"), ("x y", "v"), ("x:y", "v"), ("x_y", "v"), HOST], 200),
        ([("if-modified-since", "nonsense"), ("range", "bytes=x"), HOST], 200),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_headers_get_a_clear_answer(view, headers, status):
    """Bad headers are a 400 or 431, odd ones are served; nothing is raised."""
    wire = await answered(view, Wire(headers=headers))

    assert wire.status == status
    assert wire.is_complete


async def test_names_that_could_pass_for_others_are_dropped():
    """X_forwarded_for never stands for x-forwarded-for."""
    wire = await answered(
        echo,
        Wire(
            headers=[
                HOST,
                ("x_forwarded_for", "evil"),
                ("x-forwarded-for", "good"),
                ("Content-Type", "text/plain"),
            ]
        ),
    )
    meta = json.loads(wire.body)["meta"]

    assert meta["HTTP_X_FORWARDED_FOR"] == "good"
    assert meta["CONTENT_TYPE"] == "text/plain"
    assert "HTTP_CONTENT_TYPE" not in meta


# Bodies.


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    ("kind", "body", "status"),
    [
        ("application/x-www-form-urlencoded", b"a=%ff%fe&b=\xff", {200}),
        ("application/x-www-form-urlencoded; charset=nowhere", b"a=1", {200}),
        ("application/x-www-form-urlencoded; charset=utf-16", b"a=1", {200, 400}),
        ("application/x-www-form-urlencoded", b"&".join([b"a=1"] * 1001), {400, 413}),
        ("multipart/form-data", b"x", {400}),
        ("multipart/form-data; boundary=", b"x", {400}),
        ("multipart/form-data; boundary=\xff", b"x", {400}),
        ("multipart/form-data; boundary=x", b"", {200, 400}),
        ("multipart/form-data; boundary=x", b"no part", {200, 400}),
        (
            "multipart/form-data; boundary=x",
            b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--",
            {200, 400},
        ),
        (
            "multipart/form-data; boundary=x",
            (
                b'--x\r\nContent-Disposition: form-data; name="a"\r\n'
                b"Content-Transfer-Encoding: base64\r\n\r\n!\r\n--x--"
            ),
            {200, 400},
        ),
        ("multipart/mixed; boundary=x", b"--x--", {200, 400}),
        ("application/json", b"{", {200}),
    ],
    ids=lambda value: repr(value)[:40],
)
async def test_body_gets_a_clear_answer(view, kind, body, status):
    wire = await answered(
        view, Wire(method="POST", body=body, headers=[HOST, ("content-type", kind)])
    )

    assert wire.status in status
    assert wire.is_complete


async def test_one_line_is_logged_when_a_request_is_refused(caplog):
    """A refusal is one warning without control characters or secrets."""
    caplog.set_level(logging.INFO)
    await answered(
        echo, Wire("/x\x07", headers=[HOST, ("authorization", "Basic s3cret\x00")])
    )

    assert len(caplog.records) == 1
    record = caplog.records[0]
    assert record.levelno == logging.WARNING
    assert record.name == "django.request"
    assert "s3cret" not in record.getMessage()
    assert record.getMessage().isprintable()


async def test_bad_request_from_construction_is_answered_by_the_handler(caplog):
    """W10: a content type that Django calls unreasonable."""
    ledger = Ledger()
    with ledger.watching():
        wire = await answered(
            echo, Wire(headers=[HOST, ("content-type", "x" * 10_001)])
        )

    assert wire.status == 400
    assert ledger.counts[:2] == (1, 1)


# Paths and names.


@pytest.mark.parametrize(
    ("path", "root", "info"),
    [
        ("/app", "/app", "/"),
        ("/app/", "/app", "/"),
        ("/app/x", "/app", "/x"),
        ("/app/x", "/app/", "/x"),
        ("/apple", "/app", "/apple"),
        ("/x", "", "/x"),
    ],
)
async def test_root_path_ends_at_a_segment(path, root, info):
    """W12: the mounted root without a slash is the site's root."""
    seen = []

    def view(request):
        seen.append((request.path, request.path_info))
        return HttpResponse()

    wire = Wire(path, root_path=root)
    with site(view, ROOT_URLCONF=(re_path("", view),)) as handler:
        await wire.serve(handler)

    assert seen == [(path, info)]


async def test_unix_socket_has_the_port_of_its_scheme():
    """W13: SERVER_PORT is a number, never "None"."""
    seen = []

    def view(request):
        seen.append((request.META["SERVER_NAME"], request.META["SERVER_PORT"]))
        return HttpResponse()

    with site(view) as handler:
        await Wire(server=("/run/app.sock", None)).serve(handler)
        await Wire(server=("/run/app.sock", None), scheme="https").serve(handler)

    assert seen == [("/run/app.sock", "80"), ("/run/app.sock", "443")]


# Responses.

VALUES = {
    "CR": "a\rb",
    "LF": "a\nb",
    "CRLF and a header": "a\r\nX-Injected: 1",
    "NUL": "a\x00b",
    "BEL": "a\x07b",
    "DEL": "a\x7fb",
    "NEL": "a\x85b",
    "leading space": " a",
    "leading tab": "\ta",
    "beyond Latin-1": "\u20ac",
    "too long": "a" * 70_000,
}
NAMES = {
    "empty": "",
    "colon": "X:Y",
    "space": "X Y",
    "CRLF": "X\r\nY",
    "8 bit": "X\xff",
    "NUL": "X\x00",
}


def forced(name: Any, value: Any) -> HttpResponse:
    """Make a response with a header past Django's own checks."""
    response = HttpResponse("x")
    response.headers._store[name.lower()] = (name, value)
    return response


def cookie(value: str) -> HttpResponse:
    response = HttpResponse("x")
    response.set_cookie("name", "value")
    response.cookies["name"]._value = value  # type: ignore[attr-defined]
    response.cookies["name"]._coded_value = value  # type: ignore[attr-defined]
    return response


HOSTILE: dict[str, Any] = {
    **{
        f"value: {key}": lambda v=value: forced("X", v) for key, value in VALUES.items()
    },
    **{f"name: {key}": lambda n=name: forced(n, "v") for key, name in NAMES.items()},
    **{
        f"cookie: {key}": lambda v=value: cookie(v)
        for key, value in VALUES.items()
        if "leading" not in key
    },
    "value: an object": lambda: forced("X", object()),
    "length: words": lambda: forced("Content-Length", "many"),
    "status 100": lambda: HttpResponse(status=100),
    "status 103": lambda: HttpResponse(status=103),
    "status 199": lambda: HttpResponse(status=199),
}


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("name", HOSTILE)
async def test_hostile_response_becomes_a_clean_500(name, mode):
    """One whole 500 with the error page, and none of the bad bytes."""
    ledger = Ledger()

    def view(request):
        return ledger.keep(HOSTILE[name]())

    async def async_view(request):
        return view(request)

    with ledger.watching():
        wire = await answered(view if mode == "sync" else async_view, Wire())

    assert wire.status == 500
    assert wire.types == ["start", "body"]
    assert b"Server Error" in wire.body
    sent = b"".join(key + b": " + value for key, value in wire.headers)
    assert not any(byte < 0x20 or byte == 0x7F for byte in sent)
    assert b"X-Injected" not in sent
    assert ledger.counts == (1, 1, 1)


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_hostile_stream_becomes_a_clean_500_and_is_closed(kind):
    made, closed = [], []

    def items():
        made.append(1)
        yield b"x"

    class AsyncItems:
        def __aiter__(self):
            return self

        async def __anext__(self):
            made.append(1)
            raise StopAsyncIteration

        async def aclose(self):
            closed.append(True)

    async def view(request):
        response = StreamingHttpResponse(items() if kind == "sync" else AsyncItems())
        response.headers._store["x"] = ("X", "a\r\nb")
        return response

    wire = await answered(view, Wire())

    assert wire.status == 500
    assert made == []
    assert closed == ([True] if kind == "async" else [])


async def test_cookie_with_text_is_sent_when_it_is_latin_1():
    """W11: a cookie value that is not ASCII does not break the answer."""

    async def view(request):
        response = HttpResponse("x")
        response.cookies["name"] = "caf\xe9"
        return response

    wire = await answered(view, Wire())

    assert wire.status == 200
    assert wire.is_complete


async def test_hop_by_hop_headers_are_dropped_and_logged(caplog):
    """They belong to the connection, which is the server's."""

    async def view(request):
        return HttpResponse(
            "x",
            headers={
                "Transfer-Encoding": "chunked",
                "Connection": "keep-alive",
                "Keep-Alive": "5",
                "Upgrade": "h2c",
                "Trailer": "X",
                "TE": "trailers",
                "Proxy-Authenticate": "Basic",
                "X-Kept": "1",
            },
        )

    wire = await answered(view, Wire())

    names = {name.lower() for name, _ in wire.headers}
    assert names == {b"content-type", b"x-kept"}
    assert "Transfer-Encoding" in caplog.text


@pytest.mark.parametrize(("version", "is_lower"), [("1.1", False), ("2", True)])
async def test_header_case_is_djangos_until_http_2(version, is_lower):
    """W15: lower-case names where HTTP/2 demands them."""

    async def view(request):
        response = HttpResponse("x", headers={"X-Mixed-Case": "1"})
        response.set_cookie("a", "b")
        return response

    wire = await answered(view, Wire(http_version=version))

    names = [name for name, _ in wire.headers]
    assert all(name == name.lower() for name in names) is is_lower
    assert (b"x-mixed-case" if is_lower else b"X-Mixed-Case") in names


@pytest.mark.parametrize("method", ["HEAD", "GET"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_no_body_leaves_when_the_answer_has_none(method, status):
    """W17, R6."""

    def view(request):
        return HttpResponse("body", status=status)

    wire = await answered(view, Wire(method=method))

    has_body = method == "GET" and status == 200
    assert wire.body == (b"body" if has_body else b"")
    assert wire.is_complete


async def test_meta_has_what_wsgi_has():
    """W20."""
    seen = {}

    def view(request):
        seen.update(request.META)
        return HttpResponse()

    await answered(view, Wire(http_version="2", scheme="https"))

    assert seen["SERVER_PROTOCOL"] == "HTTP/2"
    assert seen["wsgi.url_scheme"] == "https"


async def test_error_page_that_fails_too_is_a_plain_500(caplog):
    """A middleware that spoils every response, the error page's too."""

    async def view(request):
        return HttpResponse("x")

    with site(view, middleware=[f"{__name__}.spoiling"]) as handler:
        base = Base()
        wire = await Wire().serve(handler)
        left = await base.left()

    assert wire.status == 500
    assert wire.is_complete
    assert left == {}


def spoiling(get_response):
    """Make a middleware that sets a header no client may see."""

    async def middleware(request):
        response = await get_response(request)
        response.headers._store["x"] = ("X", "a\r\nb")
        return response

    return middleware


spoiling.async_capable = True
spoiling.sync_capable = False


async def test_response_that_is_sent_twice_is_refused():
    """An event out of its order never reaches the server."""
    with site(echo) as handler:
        wire = Wire(headers=[HOST])
        await wire.serve(handler)
        await asyncio.sleep(0)

    assert wire.types.count("start") == 1


async def test_bad_response_is_a_value_error():
    assert issubclass(BadResponse, ValueError)
