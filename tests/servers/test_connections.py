"""Framing: what one answer leaves behind must not harm the next."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.servers.app.content import pattern
from tests.servers.wire import Connection, request_head

CLEAN = {
    "contextvar": "clean",
    "asgiref_local": "clean",
    "language": "en-us",
    "zone": "UTC",
    "urlconf": "tests.servers.app.urls",
    "prefix": "/",
}


@pytest.mark.parametrize("size", [0, 65536, 1024 * 1024 + 1])
def test_large_response(connection: Connection, size: int):
    """A large response arrives byte for byte, with its length."""
    response = connection.get(f"/large/{size}/")

    assert response.body == pattern(size)
    assert response["content-length"] == str(size)
    assert connection.get("/sync/").status == 200


@pytest.mark.parametrize("view", ["sync", "async"])
def test_keep_alive(connection: Connection, view: str):
    """Many requests in turn are answered on one connection."""
    answers = {connection.get(f"/{view}/").status for _ in range(20)}

    assert answers == {200}


def test_connection_close(connection: Connection):
    """The connection ends after the answer when the client asks for it."""
    response = connection.get("/sync/", [("Connection", "close")])

    assert response.status == 200
    assert connection.is_ended()


def test_http_1_0(connection: Connection):
    """An HTTP/1.0 client gets a body that it can read, and the end."""
    connection.send(b"GET /stream/async/http10/ HTTP/1.0\r\nHost: testsite\r\n\r\n")

    head = connection.read_head()

    assert head.status == 200
    assert "transfer-encoding" not in head


@pytest.mark.parametrize(
    "target", ["/sync/", "/async/", "/large/100000/", "/download/", "/nowhere/"]
)
def test_head(connection: Connection, target: str):
    """HEAD answers as GET does, without a body, and the connection goes on."""
    got = connection.get(target)

    head = connection.request("HEAD", target)
    after = connection.get("/sync/")

    assert (head.status, head.body) == (got.status, b"")
    assert head["content-type"] == got["content-type"]
    assert head.all("content-length") in ([], got.all("content-length"))
    assert after.body == b"hello from a thread"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_head_of_stream(connection: Connection, kind: str):
    """HEAD on an endless stream answers at once, and the connection goes on."""
    head = connection.request("HEAD", f"/endless/{kind}/head/")

    assert head.status == 200
    assert connection.get("/sync/").body == b"hello from a thread"


@pytest.mark.parametrize("status", [204, 304])
def test_status_without_body(connection: Connection, status: int):
    """204 and 304 have no body even if the view gave one."""
    response = connection.get(f"/status/{status}/")
    after = connection.get("/sync/")

    assert response.status == status
    assert after.body == b"hello from a thread"


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_pipelining(connection: Connection, kind: str):
    """Pipelined requests are answered in order and see nothing of each other."""
    marks = ["one", "two", "three", "four"]
    targets = [f"/contexts/{kind}/{mark}/" for mark in marks]

    connection.send(b"".join(request_head("GET", target) for target in targets))
    seen = [connection.read_response().json() for _ in marks]

    assert [each["mark"] for each in seen] == marks
    assert [each["before"] for each in seen] == [CLEAN] * 4


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_contexts_on_keep_alive(connection: Connection, kind: str):
    """Requests in turn on one connection see nothing of each other."""
    seen = [connection.get(f"/contexts/{kind}/{n}/").json() for n in range(20)]

    assert [each["before"] for each in seen] == [CLEAN] * 20


def test_pipelined_bodies(connection: Connection):
    """Pipelined POST requests each get their own body."""
    bodies = [b"a" * 10, b"b" * 2000, b"c"]
    heads = [
        request_head("POST", "/echo/", [("Content-Length", str(len(body)))])
        for body in bodies
    ]
    connection.method = "POST"

    connection.send(b"".join(map(b"".join, zip(heads, bodies, strict=True))))
    lengths = [connection.read_response().json()["length"] for _ in bodies]

    assert lengths == [10, 2000, 1]


def test_parallel(wire: Callable[[], Connection]):
    """Requests on many connections at once each get their own answer."""

    def ask(number: int) -> list[str]:
        connection = connections[number]
        answers = []
        for step in range(10):
            view = "echo" if (number + step) % 2 else "aecho"
            seen = connection.get(f"/{view}/?id={number}-{step}")
            answers.append(seen.json()["query"]["id"][0])
        return answers

    connections = [wire() for _ in range(16)]
    with ThreadPoolExecutor(16) as executor:
        answers = list(executor.map(ask, range(16)))

    assert answers == [
        [f"{number}-{step}" for step in range(10)] for number in range(16)
    ]
