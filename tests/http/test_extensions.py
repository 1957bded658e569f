"""What a view can ask of its request beyond Django's interface."""

import asyncio
from io import BytesIO
from typing import Any

import pytest
from django.core.handlers.wsgi import WSGIRequest
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.template.response import TemplateResponse
from django.test import AsyncRequestFactory, RequestFactory

from django_asgi_bridge import http
from django_asgi_bridge.exceptions import DetachedRequest, UnsupportedByServer
from tests.http.exchanges import Base, Ledger, Wire, site

LINK = "</style.css>; rel=preload; as=style"


def offering(*names: str, **given: Any) -> Any:
    extensions = {f"http.response.{name}": {} for name in names} | given
    return {"extensions": extensions}


async def served(view: Any, **options: Any) -> Wire:
    wire = Wire(**options)
    with site(view) as handler:
        base = Base()
        await wire.serve(handler)
        left = await base.left()
    assert left == {}
    return wire


# Early hints.


@pytest.mark.asyncio
async def test_early_hints_are_sent_before_the_answer():
    async def view(request):
        await request.early_hints([LINK])
        await http.early_hints(request, ["</app.js>; rel=preload"])
        return HttpResponse("x")

    wire = await served(view, **offering("early_hint"))

    assert wire.types == ["early_hint", "early_hint", "start", "body"]
    assert wire.sent[0]["links"] == [LINK.encode()]


@pytest.mark.asyncio
@pytest.mark.parametrize("extensions", [{}, {"extensions": None}, {"extensions": {}}])
async def test_early_hints_do_nothing_when_the_server_cannot(extensions):
    async def view(request):
        await request.early_hints([LINK])
        return HttpResponse("x")

    wire = await served(view, **extensions)

    assert wire.types == ["start", "body"]


@pytest.mark.asyncio
@pytest.mark.parametrize("bad", ["a\r\nSet-Cookie: x=1", "a\x00", "\u20ac"])
async def test_hint_is_refused_when_it_would_split_the_response(bad):
    """What is no header value is a clean 500, and no byte of it leaves."""

    async def view(request):
        await request.early_hints([bad])
        return HttpResponse("x")

    wire = await served(view, **offering("early_hint"))

    assert wire.types == ["start", "body"]
    assert wire.status == 500


@pytest.mark.asyncio
async def test_error_after_early_hints_is_a_clean_500():
    ledger = Ledger()

    async def view(request):
        await request.early_hints([LINK])
        raise ValueError("view")

    with ledger.watching():
        wire = await served(view, **offering("early_hint"))

    assert wire.status == 500
    assert wire.is_complete
    assert ledger.counts[:2] == (1, 1)


@pytest.mark.asyncio
async def test_early_hints_are_refused_when_the_answer_has_begun():
    """103 after the status: an error in the stream's code, not on the wire."""
    seen = []

    async def view(request):
        async def items():
            yield b"one"
            try:
                await request.early_hints([LINK])
            except Exception as error:
                seen.append(type(error).__name__)
            yield b"two"

        return StreamingHttpResponse(items())

    wire = await served(view, **offering("early_hint"))

    assert seen == ["BadResponse"]
    assert wire.body == b"onetwo"


# Push.


@pytest.mark.asyncio
async def test_push_names_path_and_headers_when_the_server_offers_it():
    async def view(request):
        await request.push("/style.css")
        await http.push(request, "/app.js")
        return HttpResponse("x")

    wire = await served(
        view,
        http_version="2",
        headers=[("accept-language", "de"), ("cookie", "secret=1")],
        **offering("push"),
    )

    assert wire.types == ["push", "push", "start", "body"]
    assert wire.sent[0]["path"] == "/style.css"
    assert (b"accept-language", b"de") in wire.sent[0]["headers"]
    assert all(name != b"cookie" for name, _ in wire.sent[0]["headers"])


@pytest.mark.asyncio
@pytest.mark.parametrize("bad", ["/a\r\nx", "/a\x00", "a", "", "//evil.example/a"])
async def test_push_is_refused_when_its_path_is_none(bad):
    """A push names a path of this site; anything else is a clean 500."""

    async def view(request):
        await request.push(bad)
        return HttpResponse("x")

    wire = await served(view, http_version="2", **offering("push"))

    assert wire.types == ["start", "body"]
    assert wire.status == 500


@pytest.mark.asyncio
async def test_push_does_nothing_when_the_server_cannot():
    async def view(request):
        await request.push("/style.css")
        return HttpResponse("x")

    wire = await served(view)

    assert wire.types == ["start", "body"]


# Trailers.


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["plain", "stream"])
async def test_trailers_follow_the_body_with_what_was_set_meanwhile(kind):
    async def view(request):
        trailers: dict[str, str] = {}

        async def items():
            yield b"one"
            trailers["X-Sum"] = "3"

        if kind == "plain":
            trailers["X-Sum"] = "3"
            response: HttpResponseBase = HttpResponse("one")
        else:
            response = StreamingHttpResponse(items())
        http.set_trailers(request, response, trailers)
        return response

    wire = await served(view, **offering("trailers"))

    assert wire.start_event["trailers"] is True
    assert wire.types[-1] == "trailers"
    assert wire.sent[-1]["headers"] == [(b"x-sum", b"3")]
    assert wire.sent[-1]["more_trailers"] is False
    assert wire.sent[-2]["type"] == "http.response.body"
    assert not wire.sent[-2].get("more_body", False)


@pytest.mark.asyncio
async def test_trailers_raise_when_the_server_cannot():
    seen = []

    async def view(request):
        response = HttpResponse("x")
        try:
            http.set_trailers(request, response, {"X-Sum": "3"})
        except UnsupportedByServer as error:
            seen.append(str(error))
        return response

    wire = await served(view)

    assert "http.response.trailers" in seen[0]
    assert wire.types == ["start", "body"]


@pytest.mark.asyncio
@pytest.mark.parametrize("value", ["a\r\nb: c", "\u20ac"])
async def test_bad_trailer_is_never_sent(value, caplog):
    """The body is out already: the trailer is dropped or the request fails, clean."""
    ledger = Ledger()

    async def view(request):
        response = HttpResponse("x")
        http.set_trailers(request, response, {"X-Sum": value})
        return response

    wire = Wire(**offering("trailers"))
    with site(view) as handler, ledger.watching():
        base = Base()
        wire.start(handler)
        await wire.ended()
        left = await base.left()

    assert all(value.encode() not in repr(each).encode() for each in wire.sent)
    assert all(
        each["headers"] == [] for each in wire.sent if each["type"].endswith("trailers")
    )
    assert ledger.counts[:2] == (1, 1)
    assert left == {}


@pytest.mark.asyncio
async def test_head_request_with_trailers_ends_clean():
    async def view(request):
        response = HttpResponse("x")
        http.set_trailers(request, response, {"X-Sum": "3"})
        return response

    wire = await served(view, method="HEAD", **offering("trailers"))

    assert wire.body == b""
    assert wire.types[:2] == ["start", "body"]


# Debug.


TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "OPTIONS": {
            "loaders": [
                ("django.template.loaders.locmem.Loader", {"page.html": "{{ answer }}"})
            ]
        },
    }
]


@pytest.mark.asyncio
@pytest.mark.parametrize("asked", [True, False], ids=["asked", "not asked"])
async def test_template_and_context_are_told_when_a_test_client_asks(asked):
    """http.response.debug comes before the start, and only where it is offered."""

    async def view(request):
        return TemplateResponse(request, "page.html", {"answer": 42})

    wire = Wire(**offering("debug") if asked else {})
    with site(view, TEMPLATES=TEMPLATES) as handler:
        await wire.serve(handler)

    assert wire.types == (["debug"] if asked else []) + ["start", "body"]
    assert wire.body == b"42"
    if asked:
        info = wire.sent[0]["info"]
        assert info["template"] == "page.html"
        assert info["context"]["answer"] == 42


# What the scope tells.


@pytest.mark.asyncio
async def test_request_tells_what_the_scope_does():
    seen: dict[str, Any] = {}

    async def view(request):
        seen.update(
            tls=request.tls,
            same_tls=http.tls(request),
            value=request.state.pool,
            same_value=http.state(request).pool,
            raw_path=request.raw_path,
            version=request.http_version,
            protocol=request.META["SERVER_PROTOCOL"],
            is_environ=request.environ is request.META,
        )
        return HttpResponse()

    tls = {
        "server_cert": "PEM",
        "client_cert_chain": ["one", "two"],
        "client_cert_name": "CN=me",
        "tls_version": 0x0304,
        "cipher_suite": None,
        "unknown": 1,
    }
    pool = object()
    await served(
        view,
        http_version="2",
        raw_path=b"/%61",
        path="/",
        state={"pool": pool},
        extensions={"tls": tls},
    )

    assert seen["tls"] == seen["same_tls"]
    assert seen["tls"].client_cert_chain == ("one", "two")
    assert seen["tls"].tls_version == 0x0304
    assert seen["tls"].client_cert_error is None
    assert seen["value"] is pool
    assert seen["same_value"] is pool
    assert seen["raw_path"] == b"/%61"
    assert (seen["version"], seen["protocol"]) == ("2", "HTTP/2")
    assert seen["is_environ"]


@pytest.mark.asyncio
async def test_request_tells_defaults_when_the_scope_says_nothing():
    seen: dict[str, Any] = {}

    async def view(request):
        seen.update(
            tls=request.tls,
            state=vars(request.state),
            raw_path=request.raw_path,
            version=request.http_version,
        )
        return HttpResponse()

    await served(view, raw_path=..., http_version=..., extensions=...)

    assert seen == {"tls": None, "state": {}, "raw_path": None, "version": "1.1"}


@pytest.mark.asyncio
async def test_state_of_one_request_is_not_seen_by_another():
    """The namespace is a request's own, its values are shared."""
    seen = []

    async def view(request):
        seen.append(getattr(request.state, "mine", None))
        request.state.mine = "first"
        return HttpResponse()

    shared = {"pool": object()}
    with site(view) as handler:
        await Wire(state=shared).serve(handler)
        await Wire(state=shared).serve(handler)

    assert seen == [None, None]


# Requests that no handler of ours serves.


def wsgi_request() -> WSGIRequest:
    return WSGIRequest(
        {
            "REQUEST_METHOD": "POST",
            "PATH_INFO": "/",
            "CONTENT_LENGTH": "6",
            "CONTENT_TYPE": "text/plain",
            "SERVER_NAME": "testserver",
            "SERVER_PORT": "80",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "wsgi.input": BytesIO(b"a body"),
        }
    )


REQUESTS = {
    "WSGI": wsgi_request,
    "RequestFactory": lambda: RequestFactory().post(
        "/", b"a body", content_type="text/plain"
    ),
    "AsyncRequestFactory": lambda: AsyncRequestFactory().post(
        "/", b"a body", content_type="text/plain"
    ),
}


@pytest.fixture(params=REQUESTS)
def request_of_others(request):
    """Give a request of another handler, by each of its makers."""
    return REQUESTS[request.param]()


@pytest.mark.asyncio
async def test_abody_and_stream_work_on_requests_of_others(request_of_others):
    assert await http.abody(request_of_others) == b"a body"
    assert [chunk async for chunk in http.stream(request_of_others)] == [b"a body"]


@pytest.mark.asyncio
async def test_stream_works_first_on_requests_of_others(request_of_others):
    assert b"".join([part async for part in http.stream(request_of_others)]) == (
        b"a body"
    )


@pytest.mark.asyncio
async def test_hints_and_push_do_nothing_on_requests_of_others(request_of_others):
    await http.early_hints(request_of_others, [LINK])
    await http.push(request_of_others, "/x")


def test_questions_have_answers_on_requests_of_others(request_of_others):
    assert http.is_disconnected(request_of_others) is False
    assert http.tls(request_of_others) is None
    assert vars(http.state(request_of_others)) == {}


def test_trailers_raise_on_requests_of_others(request_of_others):
    with pytest.raises(UnsupportedByServer, match="trailers"):
        http.set_trailers(request_of_others, HttpResponse(), {})


def test_after_runs_at_close_on_requests_of_others(request_of_others):
    ran: list[str] = []
    http.after(request_of_others, ran.append, "sync")

    assert ran == []
    request_of_others.close()
    assert ran == ["sync"]


def test_after_refuses_coroutines_on_requests_of_others(request_of_others):
    async def late():
        await asyncio.sleep(0)

    with pytest.raises(DetachedRequest, match="async function"):
        http.after(request_of_others, late)
