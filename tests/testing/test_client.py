"""The client's interface, on a thread that runs the event loop."""

import asyncio
import contextlib

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.http import FileResponse, JsonResponse
from django.template.response import TemplateResponse

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.http.request import ASGIRequest
from django_asgi_bridge.testing import AsyncClient
from tests.testing import site

pytestmark = pytest.mark.asyncio
HERE = "tests.testing.site"


@pytest.fixture
def client():
    return AsyncClient()


@pytest.mark.parametrize("method", ["get", "post", "put", "patch", "delete", "options"])
async def test_client_has_djangos_methods(client, method):
    """Each method sends its request."""
    response = await getattr(client, method)("/echo/")

    assert response.json()["method"] == method.upper()


async def test_client_sends_query_headers_and_form(client):
    """``query_params``, ``headers``, a form and a file arrive."""
    response = await client.post(
        "/echo/",
        {"name": "Ada", "note": SimpleUploadedFile("n.txt", b"text")},
        query_params={"page": [1, 2]},
        headers={"accept": "text/x"},
    )

    assert response.json() | {"length": None} == {
        "method": "POST",
        "query": {"page": ["1", "2"]},
        "form": {"name": ["Ada"]},
        "files": {"note": "text"},
        "accept": "text/x",
        "length": None,
    }


async def test_response_is_the_views_own_object(client):
    """Its class, request, match, client and JSON are what Django's client gives."""
    response = await client.get("/echo/")

    assert type(response) is JsonResponse
    assert type(response.asgi_request) is ASGIRequest
    assert response.resolver_match.url_name == "echo"
    assert response.client is client
    assert response.request["path"] == "/echo/"


async def test_response_has_templates_and_context(client):
    """What was rendered can be looked at."""
    response = await client.get("/page/")

    assert type(response) is TemplateResponse
    assert response.context["name"] == "Ada"
    assert response.templates
    assert response.content == b"Hello Ada"


async def test_response_content_is_what_went_over_the_wire(client):
    """HEAD has no content, whatever the view made."""
    response = await client.head("/page/")

    assert response.content == b""
    assert [event["type"] for event in response.asgi_events] == [
        "http.response.start",
        "http.response.body",
    ]


async def test_redirects_are_followed(client):
    """``follow=True`` gives the last response and the way there."""
    response = await client.get("/go/", follow=True)

    assert response.redirect_chain == [("/echo/?from=go", 302)]
    assert response.json()["query"] == {"from": ["go"]}


@pytest.mark.parametrize("url", ["/fail/", "/fail/async/"])
async def test_view_exception_is_raised_in_the_test(client, url):
    """The view's own exception comes out of the call."""
    with pytest.raises(ValueError, match="the view failed"):
        await client.get(url)


@pytest.mark.parametrize("url", ["/fail/", "/fail/async/"])
async def test_view_exception_is_a_500_when_asked_for(url):
    """``raise_request_exception=False`` gives the page and the exception."""
    response = await AsyncClient(raise_request_exception=False).get(url)

    assert response.status_code == 500
    assert response.exc_info[0] is ValueError


async def test_csrf_is_checked_only_when_asked_for(client):
    """As Django's client, this one is let in."""
    strict = AsyncClient(enforce_csrf_checks=True)

    assert (await client.post("/protected/")).status_code == 200
    assert (await strict.post("/protected/")).status_code == 403


async def test_bad_request_has_a_response_without_a_request(client):
    """What the handler refuses has no request to look at."""
    response = await client.get("/echo/", headers={"x": "y" * 70000})

    assert response.status_code == 431
    assert response.asgi_request is None


async def test_files_and_sync_streams_are_read_to_their_end(client):
    """They are iterated over as Django's client lets them be."""
    file = await client.get("/file/")
    rows = await client.get("/rows/")

    assert type(file) is FileResponse
    assert file.getvalue() == b"contents"
    assert b"".join(rows.streaming_content).startswith(b"one ")


async def test_async_stream_is_read_as_it_is_made(client, seen):
    """An endless stream can be read in part; ``disconnect()`` ends it."""
    response = await client.get("/ticks/")
    assert response.status_code == 200
    content = response.streaming_content
    first = [await anext(content), await anext(content)]
    await response.disconnect()

    assert first == [b"tick 1", b"tick 2"]
    assert seen["made"] < 10
    assert seen["has_left"]


async def test_error_in_mid_stream_is_raised_where_it_is_read(client):
    """The chunks before it arrive."""
    response = await client.get("/breaks/")

    with pytest.raises(ValueError, match="the stream failed"):
        assert [chunk async for chunk in response] == [b"begin"]


@pytest.mark.parametrize("chunk_size", [1, 3, 100])
async def test_body_arrives_in_chunks(client, seen, chunk_size):
    """``chunk_size`` cuts the body into events."""
    response = await client.post(
        "/upload/", b"sixsix", content_type="text/plain", chunk_size=chunk_size
    )

    assert response.json() == {
        "pieces": {1: list("sixsix"), 3: ["six", "six"], 100: ["sixsix"]}[chunk_size],
        "length": "6",
    }


async def test_chunk_size_of_the_client_is_the_default():
    """A client may cut every body."""
    response = await AsyncClient(chunk_size=4).put("/upload/", b"sixsix")

    assert response.json()["pieces"] == ["sixs", "ix"]


async def test_upload_is_sent_while_it_is_made(client, seen):
    """Each item of an async iterator arrives before the next one is made."""
    seen["arrived"] = asyncio.Queue()

    async def pieces():
        yield b"one"
        assert await seen["arrived"].get() == b"one"
        yield b"two"

    response = await client.post("/upload/", pieces())

    assert response.json() == {"pieces": ["one", "two"], "length": None}


async def test_upload_that_fails_is_a_client_that_leaves(client):
    """The iterator's own exception comes out of the call."""

    async def pieces():
        yield b"one"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        await client.post("/upload/", pieces())


async def test_request_is_over_when_the_call_returns(client, seen):
    """Functions of ``request.after`` have run."""
    await client.get("/after/")

    assert seen["after"]


async def test_context_of_a_view_stays_in_the_request(client):
    """What a view sets in a context variable is not set in the test."""
    response = await client.get("/speak/")

    assert response.content == b"view"
    assert site.SPEAKER.get() == "nobody"


async def test_cancelled_call_ends_the_request(client, seen):
    """A call that a test gives up leaves no view behind."""
    seen["started"] = asyncio.Event()
    task = asyncio.ensure_future(client.get("/hang/"))
    await seen["started"].wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert seen["has_left"]
    assert not client.handler.connections


async def test_unread_stream_is_left_when_the_clients_block_ends(client, seen):
    """Nothing is under way after the block."""
    async with client:
        response = await client.get("/ticks/")
        assert response.streaming

    assert seen["has_left"]


async def test_receiver_that_closes_connections_is_put_back(client):
    """Only while requests are under way it is gone."""
    await client.get("/echo/")

    for signal in (request_started, request_finished):
        assert signal.disconnect(close_old_connections)
        signal.connect(close_old_connections)


class TestStream:
    """``client.stream``."""

    async def test_it_gives_status_and_headers_first(self, client):
        """They are there before the body is read."""
        async with client.stream("GET", "/ticks/") as response:
            assert response.status_code == 200
            assert response.headers["content-type"].startswith("text/html")
            assert not response.is_complete

    async def test_it_gives_chunks_as_they_come(self, client, seen):
        """The application does not get far ahead of the reader."""
        async with client.stream("GET", "/ticks/") as response:
            async for chunk in response:
                assert chunk == b"tick 1"
                break
            assert seen["made"] <= 3

    async def test_the_client_leaves_at_the_end_of_the_block(self, client, seen):
        """The stream is closed before the block is left."""
        async with client.stream("GET", "/ticks/"):
            pass

        assert seen["has_left"]

    async def test_disconnect_tells_the_application(self, client, seen):
        """A view that may finish sees that its client is gone."""
        seen["started"] = asyncio.Event()

        async def visit():
            async with client.stream("GET", "/finish/"):
                pass

        task = asyncio.ensure_future(visit())
        await seen["started"].wait()
        (connection,) = client.handler.connections
        await connection.disconnect()
        seen["go"].set()
        with contextlib.suppress(Exception):
            await task

        assert seen["is_disconnected"]

    async def test_disconnect_cancels_a_stream(self, client, seen):
        """``disconnect()`` and ``wait_end()`` in mid-stream."""
        async with client.stream("GET", "/ticks/") as response:
            await response.disconnect()
            await response.wait_end()

            assert seen["has_left"]

    async def test_whole_body_can_be_read(self, client):
        """``read()`` waits for the end."""
        async with client.stream("POST", "/upload/", b"body") as response:
            assert b'"pieces": ["body"]' in await response.read()
            assert response.is_complete

    async def test_view_exception_is_raised(self, client):
        """As by the other methods."""
        with pytest.raises(ValueError, match="the view failed"):
            async with client.stream("GET", "/fail/"):
                pytest.fail("there is no response")

    async def test_error_in_mid_stream_is_raised(self, client):
        """Where it is read."""
        async with client.stream("GET", "/breaks/") as response:
            with pytest.raises(ValueError, match="the stream failed"):
                await response.read()

    async def test_query_and_cookies_are_sent(self, client):
        """``data`` of a GET is the query."""
        async with client.stream("GET", "/echo/", {"page": "2"}) as response:
            assert b'"query": {"page": ["2"]}' in await response.read()


class TestLifespan:
    """``async with AsyncClient()``."""

    async def test_hooks_run_around_the_block(self, settings, seen):
        """Requests have the state; the shutdown half runs at the end."""
        settings.ASGI_BRIDGE = {"LIFESPAN": [f"{HERE}.open_pool"]}

        async with AsyncClient() as client:
            response = await client.get("/state/")
            assert seen["hooks"] == ["start"]

        assert response.content == b"{'pool': 'a pool'}"
        assert seen["hooks"] == ["start", "stop"]

    async def test_hooks_that_fail_are_an_error(self, settings):
        """The message names the hook."""
        settings.ASGI_BRIDGE = {"LIFESPAN": [f"{HERE}.broken_hook"]}

        with pytest.raises(LifespanError, match="broken_hook"):
            async with AsyncClient():
                pytest.fail("the hook failed")

    async def test_sync_hooks_have_the_tests_connections(self, settings, db, user):
        """They see what the test has written."""
        settings.ASGI_BRIDGE = {"LIFESPAN": [f"{HERE}.count_users"]}

        async with AsyncClient() as client:
            response = await client.get("/state/")

        assert response.content == b"{'users': 1}"


@pytest.fixture
def user(db):
    return User.objects.create_user("ada", password="secret")


async def test_requests_are_in_the_tests_transaction(client, user):
    """Without any fixture: a row of the test that is not committed is seen."""
    for url in ("/users/", "/users/async/"):
        response = await client.get(url)
        assert response.json() == {"users": ["ada"]}


async def test_requests_at_the_same_time_share_one_worker(client, user):
    """Without any fixture: one thread uses the test's connections, not two."""
    both = await asyncio.gather(
        *(client.get(f"/users/add/?name={name}") for name in ("bob", "eve", "kim"))
    )

    assert [response.status_code for response in both] == [201, 201, 201]
    response = await client.get("/users/")
    assert response.json() == {"users": ["ada", "bob", "eve", "kim"]}


async def test_requests_at_the_same_time_share_the_transaction(asgi_client, user):
    """Two requests of one test see the same data."""
    both = await asyncio.gather(
        asgi_client.get("/users/add/?name=bob"),
        asgi_client.get("/users/add/async/?name=eve"),
    )

    assert [response.status_code for response in both] == [201, 201]
    names = [user.username async for user in User.objects.order_by("username")]
    assert names == ["ada", "bob", "eve"]


async def test_test_and_requests_see_each_others_rows(asgi_client, db):
    """The test's own awaits have the same connection."""
    await User.objects.acreate(username="ada")
    await asgi_client.post("/users/add/?name=bob")

    assert (await asgi_client.get("/users/")).json() == {"users": ["ada", "bob"]}
    assert await User.objects.acount() == 2


@pytest.mark.parametrize("repetition", [1, 2])
async def test_rows_are_rolled_back_after_the_test(asgi_client, db, repetition):
    """Nothing of a request outlives its test."""
    await asgi_client.post("/users/add/?name=once")

    assert await User.objects.acount() == 1


async def test_sign_in_and_sign_out(asgi_client, user):
    """``alogin``, ``aforce_login`` and ``alogout`` work on the same session."""
    assert await asgi_client.alogin(username="ada", password="secret")
    assert (await asgi_client.get("/whoami/")).content == b"ada"
    await asgi_client.alogout()
    assert (await asgi_client.get("/whoami/")).content == b""
    await asgi_client.aforce_login(user)
    assert (await asgi_client.get("/whoami/")).content == b"ada"


async def test_session_is_kept_between_requests(asgi_client, db):
    """The cookie is sent back, and ``asession`` reads the session."""
    for count in (b"1", b"2"):
        assert (await asgi_client.get("/visits/")).content == count

    session = await asgi_client.asession()
    assert await session.aget("visits") == 2
