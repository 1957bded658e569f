"""HTTP/2, over TLS."""

import hashlib
from collections.abc import Callable

import pytest

from tests.servers.app.content import pattern

pytest.importorskip("h2", reason="the HTTP/2 client needs it")

import h2.events

from tests.servers.http2 import Http2Connection

OpenHttp2 = Callable[[], Http2Connection]


def test_http2_get(http2: OpenHttp2):
    """Sync and async views answer on one HTTP/2 connection."""
    connection = http2()

    bodies = [connection.get(target).body for target in ("/sync/", "/async/")]

    assert bodies == [b"hello from a thread", b"hello from the loop"]


def test_http2_request(http2: OpenHttp2):
    """Authority, query and scheme of an HTTP/2 request are read."""
    seen = http2().get("/echo/?a=1").json()

    assert seen["uri"] == "https://testsite/echo/?a=1"
    assert seen["query"] == {"a": ["1"]}


def test_http2_cookies(http2: OpenHttp2):
    """Cookies that HTTP/2 splits over several header fields are all read."""
    fields = [("cookie", "a=1"), ("cookie", "b=2"), ("cookie", "c=3")]

    assert http2().get("/cookies/read/", fields).json() == {
        "a": "1",
        "b": "2",
        "c": "3",
    }


def test_http2_response_headers(http2: OpenHttp2):
    """Header names are in lower case, and each cookie is a field of its own."""
    response = http2().get("/cookies/set/")

    assert len(response.all("set-cookie")) == 3
    assert [name for name, _ in response.headers if name != name.lower()] == []


def test_http2_upload(http2: OpenHttp2):
    """A body in many frames arrives whole."""
    body = pattern(1_000_003)
    connection = http2()

    stream = connection.send_head("POST", "/aecho/", is_whole=False)
    connection.send_piece(stream, body, is_last=True)
    seen = connection.read_response(stream).json()

    assert seen["sha256"] == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_http2_stream_left(http2: OpenHttp2, key: str, kind: str):
    """A stream that the client resets is closed, and the connection goes on."""
    connection = http2()
    stream = connection.send_head("GET", f"/endless/{kind}/{key}/")
    while not isinstance(connection.next_event(stream), h2.events.DataReceived):
        pass

    connection.reset(stream)

    assert connection.get(f"/await/{key}:closed/").status == 200


def test_http2_parallel(http2: OpenHttp2, key: str):
    """A request that waits does not hold up another on the same connection."""
    connection = http2()

    waiting = connection.send_head("GET", f"/await/{key}/")
    posted = connection.get(f"/post/{key}/")

    assert posted.status == 200
    assert connection.read_response(waiting).status == 200


def test_http2_early_hints(http2: OpenHttp2):
    """Early hints arrive before the answer."""
    response = http2().get("/hints/")

    assert response.body == b"after the hint"
    assert [head.status for head in response.interim] == [103]
    assert response.interim[0]["link"] == "</site.css>; rel=preload; as=style"


def test_http2_trailers(http2: OpenHttp2):
    """Trailers follow the body."""
    response = http2().get("/trailers/", [("te", "trailers")])

    assert (response.status, response.body) == (200, b"before the trailer")
    assert response["x-checksum"] == "abc"


def test_http2_push(http2: OpenHttp2):
    """A pushed resource arrives beside the answer that it was pushed for."""
    connection = http2()
    stream = connection.send_head("GET", "/pushed/")

    event = connection.next_event(stream)
    while not isinstance(
        event, (h2.events.PushedStreamReceived, h2.events.StreamEnded)
    ):
        event = connection.next_event(stream)

    assert isinstance(event, h2.events.PushedStreamReceived)
    pushed = connection.read_response(event.pushed_stream_id)
    assert pushed.body == b"hello from a thread"
