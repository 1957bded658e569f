"""WebSockets over real connections, on each server that serves them."""

import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from tests.servers.conftest import StartServer, installed
from tests.servers.processes import Server
from tests.servers.specs import SPECS, Launch, ServerSpec

client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")

pytestmark = pytest.mark.servers

# Servers that cannot refuse a handshake with a response of the application's.
NO_RESPONSE = {"daphne", "gunicorn-asgi"}


def _with(spec: ServerSpec, name: str, *words: str) -> ServerSpec:
    """Return a server that is started with more, or with less."""
    command = spec.command

    def changed(launch: Launch) -> list[str]:
        kept = [word for word in command(launch) if word != "--no-ws"]
        return [*kept[:-1], *words, kept[-1]]

    return replace(spec, name=name, command=changed)


_BY_NAME = {spec.name: spec for spec in SPECS}
_UVICORN = _BY_NAME["uvicorn-httptools"]
SOCKET_SPECS = [
    *(
        _with(_UVICORN, f"uvicorn-{kind}", "--ws", kind)
        for kind in ("websockets", "websockets-sansio", "wsproto")
    ),
    _BY_NAME["hypercorn"],
    _BY_NAME["daphne"],
    _with(_BY_NAME["granian"], "granian"),
    _BY_NAME["gunicorn-uvicorn"],
    _BY_NAME["gunicorn-asgi"],
]


# What servers do otherwise, seen with an application that has nothing of ours too.
LIMITS = {
    ("test_handshake_gives_subprotocol_and_headers", "daphne"): "drops the headers",
    ("test_handshake_gives_subprotocol_and_headers", "granian"): "drops the headers",
    ("test_empty_frames_come_back", "daphne"): "sends no empty frame",
    ("test_close_of_the_application_reaches_the_client", "daphne"): "drops the reason",
    ("test_close_of_the_client_reaches_the_application", "hypercorn"): (
        "gives 1006 for every code"
    ),
    ("test_end_of_the_server_disconnects_each_consumer_once", "hypercorn"): (
        "waits for open connections without an end"
    ),
    ("test_end_of_the_server_disconnects_each_consumer_once", "gunicorn-asgi"): (
        "neither tells the application nor cancels it"
    ),
}


@pytest.fixture(autouse=True)
def _known_limit(request):
    """Expect each known limit to show."""
    spec = next(
        value
        for value in request.node.callspec.params.values()
        if isinstance(value, ServerSpec)
    )
    reason = LIMITS.get((request.node.originalname, spec.name))
    if reason is not None:
        request.applymarker(
            pytest.mark.xfail(reason=f"{spec.name} {reason}", strict=True)
        )


@pytest.fixture(scope="module", params=SOCKET_SPECS, ids=lambda spec: spec.name)
def socket_site(request, make_any_server: StartServer) -> Iterator[Server]:
    """One server with the site, started once for the scenarios here."""
    with make_any_server(installed(request.param)) as server:
        yield server
        server.kill()


def connect(server: Server, path: str, **options):
    host, port = server.address
    return client.connect(f"ws://{host}:{port}{path}", max_size=None, **options)


def noted(server: Server) -> list[str]:
    log = server.directory / "sockets.log"
    return log.read_text().splitlines() if log.exists() else []


def test_handshake_gives_subprotocol_and_headers(socket_site):
    with connect(socket_site, "/ws/echo/", subprotocols=["v2", "v1"]) as socket:
        assert socket.subprotocol == "v2"
        assert socket.response.headers["x-a"] == "b"


@pytest.mark.parametrize("path", ["/ws/echo/", "/ws/sync-echo/"])
def test_frames_come_back_as_they_were_sent(socket_site, path):
    with connect(socket_site, path) as socket:
        for frame in ("grün", b"\x00\xff", "x" * 200_000):
            socket.send(frame)
            assert socket.recv(timeout=20) == frame


def test_empty_frames_come_back(socket_site):
    with connect(socket_site, "/ws/echo/") as socket:
        for frame in ("", b""):
            socket.send(frame)
            assert socket.recv(timeout=3) == frame


def test_close_of_the_application_reaches_the_client(socket_site):
    with connect(socket_site, "/ws/echo/") as socket:
        socket.send("close")
        with pytest.raises(exceptions.ConnectionClosed):
            socket.recv(timeout=20)
        received = socket.protocol.close_rcvd

    assert (received.code, received.reason) == (4001, "as you like")


def test_close_of_the_client_reaches_the_application(socket_site):
    mark = uuid.uuid4().hex
    with connect(socket_site, f"/ws/echo/?{mark}") as socket:
        socket.send("x")
        socket.recv(timeout=20)
        socket.close(4321)

    assert socket_site.becomes(lambda: f"echo ended {mark} 4321" in noted(socket_site))


def test_failing_handler_closes_with_1011(socket_site):
    mark = uuid.uuid4().hex
    with connect(socket_site, f"/ws/echo/?{mark}") as socket:
        socket.send("fail")
        with pytest.raises(exceptions.ConnectionClosed):
            socket.recv(timeout=20)

        assert socket.protocol.close_rcvd.code == 1011

    assert socket_site.becomes(lambda: f"echo ended {mark} 1011" in noted(socket_site))
    assert socket_site.django_log().count(mark) <= 1


def test_leaving_is_seen_behind_a_running_handler(socket_site):
    mark = uuid.uuid4().hex
    with connect(socket_site, "/ws/slow/") as socket:
        socket.send(mark)
        assert socket.recv(timeout=20) == "begun"

    assert socket_site.becomes(lambda: f"seen {mark}" in noted(socket_site))


def refused(server: Server, path: str, **options):
    with (
        pytest.raises(exceptions.InvalidStatus) as raised,
        connect(server, path, **options),
    ):
        pass
    return raised.value.response


def test_refusal_is_a_response_where_the_server_can(socket_site):
    response = refused(socket_site, "/ws/refusing/")

    if socket_site.spec.name in NO_RESPONSE:
        assert response.status_code == 403
    else:
        assert response.status_code == 401
        assert response.headers["x-why"] == "no name"
        assert response.body == b"who are you?"


def test_unknown_path_is_refused_with_one_line_in_the_log(socket_site):
    path = f"/ws/{uuid.uuid4().hex}/"
    log = len(socket_site.log)
    response = refused(socket_site, path)

    expected = 403 if socket_site.spec.name in NO_RESPONSE else 404
    assert response.status_code == expected
    assert socket_site.django_log().count(f"Not Found: {path}") == 1
    assert "Traceback" not in socket_site.log[log:]


def test_page_of_another_site_is_refused(socket_site):
    response = refused(socket_site, "/ws/echo/", origin="http://evil.example")

    assert response.status_code == 403


def test_page_of_the_site_is_let_in(socket_site):
    host, port = socket_site.address
    with connect(socket_site, "/ws/echo/", origin=f"http://{host}:{port}") as socket:
        socket.send("in")
        assert socket.recv(timeout=20) == "in"


@pytest.fixture(params=SOCKET_SPECS, ids=lambda spec: spec.name)
def own_server(request, make_any_server: StartServer) -> Callable[[], Server]:
    """Give a server that the test may end."""
    return lambda: make_any_server(installed(request.param))


def test_end_of_the_server_disconnects_each_consumer_once(own_server):
    """Whatever code the server gives; some cancel the consumer, some tell it."""
    server = own_server()
    marks = [uuid.uuid4().hex for _ in range(3)]
    with server:
        sockets = [connect(server, f"/ws/echo/?{mark}") for mark in marks]
        opened = [socket.__enter__() for socket in sockets]
        for socket in opened:
            socket.send("x")
            socket.recv(timeout=20)
        server.stop()
        for socket in opened:
            socket.close()

    ends = [line for line in noted(server) if line.startswith("echo ended")]
    for mark in marks:
        assert sum(mark in line for line in ends) == 1, ends
