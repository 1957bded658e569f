"""WebSockets over real connections, on each server that serves them."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.servers import frames
from tests.servers.app.content import LONG_REASON
from tests.servers.conftest import (
    LIMITED_PATIENCE,
    StartServer,
    installed,
    note_server,
)
from tests.servers.processes import Server, ServerStuck
from tests.servers.specs import SOCKET_SPECS, Launch, ServerSpec
from tests.servers.wire import Connection, Headers, Response

client = pytest.importorskip("websockets.sync.client")
exceptions = pytest.importorskip("websockets.exceptions")

pytestmark = pytest.mark.servers

MEBIBYTE = 1024 * 1024
PATIENCE = 30.0
"""Seconds to wait for a frame, or for a line in the site's notes."""


@pytest.fixture(scope="module", params=SOCKET_SPECS, ids=lambda spec: spec.name)
def socket_spec(request: pytest.FixtureRequest) -> ServerSpec:
    """One server of the matrix; skipped when it is not installed."""
    return installed(request.param)


@pytest.fixture(scope="module")
def running_site(
    socket_spec: ServerSpec, make_any_server: StartServer
) -> Iterator[Server]:
    """The server that serves most scenarios, started once."""
    with make_any_server(socket_spec) as server:
        yield server
        server.kill()


@pytest.fixture
def site(request: pytest.FixtureRequest, running_site: Server) -> Server:
    """The running server."""
    running_site.revive()
    note_server(request, running_site)
    return running_site


@pytest.fixture
def start(
    request: pytest.FixtureRequest,
    socket_spec: ServerSpec,
    make_any_server: StartServer,
) -> Iterator[StartServer]:
    """Return a function that starts a server for this test alone."""
    with ExitStack() as stack:

        def start_server(launch: Launch | None = None) -> Server:
            server = make_any_server(socket_spec, launch)
            note_server(request, server)
            return stack.enter_context(server)

        yield start_server


Notes = Callable[..., bool]


@pytest.fixture
def notes(request: pytest.FixtureRequest) -> Notes:
    """Return a function that waits until a site has noted the begin of a line."""
    is_limited = request.node.get_closest_marker("xfail") is not None

    def has_noted(server: Server, line: str) -> bool:
        seconds = LIMITED_PATIENCE if is_limited else PATIENCE
        return server.becomes(
            lambda: any(each.startswith(line) for each in noted(server)), seconds
        )

    return has_noted


@pytest.fixture
def mark() -> str:
    """A word that no other test uses."""
    return uuid.uuid4().hex


def connect(server: Server, path: str, **options):
    host, port = server.address
    return client.connect(f"ws://{host}:{port}{path}", max_size=None, **options)


def noted(server: Server) -> list[str]:
    log = server.directory / "sockets.log"
    return log.read_text("utf-8").splitlines() if log.exists() else []


def end_of(socket):
    """Wait for the close frame of the server, and return it."""
    with pytest.raises(exceptions.ConnectionClosed):
        socket.recv(timeout=PATIENCE)
    return socket.protocol.close_rcvd


def refused(server: Server, path: str, headers: Headers = ()) -> Response:
    """Ask for a connection that is refused, and return the response."""
    with server.connect() as connection:
        frames.ask(connection, path, headers)
        head = connection.read_any_head()
        assert head.status != 101
        return Response(head.status, head.headers, connection.read_body(head))


def opened(server: Server, path: str) -> Connection:
    """Open a WebSocket whose frames nobody answers."""
    connection = server.connect()
    frames.ask(connection, path)
    assert connection.read_any_head().status == 101
    return connection


def seen_by(server: Server, path: str = "/ws/mirror/x/", **options):
    """Return what the application sees of a connection."""
    with connect(server, path, **options) as socket:
        return json.loads(socket.recv(timeout=PATIENCE))


def headers_of(seen: dict) -> dict[str, str]:
    return {name.lower(): value for name, value in seen["headers"]}


# The handshake


@pytest.mark.parametrize("offered", [["v1"], ["v2", "v1"]])
def test_ws_subprotocol(site: Server, offered: list[str]):
    """The subprotocol that the application chose is agreed on."""
    with connect(site, "/ws/echo/", subprotocols=offered) as socket:
        assert socket.subprotocol == offered[0]


def test_ws_subprotocols_offered(site: Server):
    """Offered subprotocols arrive in order, and none need be chosen."""
    with connect(site, "/ws/mirror/x/", subprotocols=["v2", "v1"]) as socket:
        seen = json.loads(socket.recv(timeout=PATIENCE))

        assert seen["offered"] == ["v2", "v1"]
        assert socket.subprotocol is None


def test_ws_accept_headers(site: Server):
    """Headers of the application are in the answer to the handshake."""
    with connect(site, "/ws/echo/") as socket:
        assert socket.response.headers.get("x-a") == "b"


def test_ws_accept_cookies(site: Server):
    """Each cookie of an accepted handshake is a header line of its own."""
    with connect(site, "/ws/mirror/x/") as socket:
        assert socket.response.headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_ws_scope(site: Server):
    """Path, query, scheme and client's address are those of the handshake."""
    with connect(site, "/ws/mirror/gr%C3%BCn/?q=1&q=a%20b") as socket:
        seen = json.loads(socket.recv(timeout=PATIENCE))
        host, port = socket.local_address[:2]

    assert (seen["scheme"], seen["path"]) == ("ws", "/ws/mirror/grün/")
    assert (seen["query"], seen["root_path"]) == ("q=1&q=a%20b", "")
    assert seen["kwargs"] == {"word": "grün"}
    assert seen["client"] == [host, port]


def test_ws_header_with_underscore(site: Server):
    """A header with an underscore is not seen beside the one with a hyphen."""
    sent = [("X_Forwarded_For", "6.6.6.6"), ("X-Forwarded-For", "127.0.0.1")]

    seen = headers_of(seen_by(site, additional_headers=sent))

    assert seen["x-forwarded-for"] == "127.0.0.1"
    assert "x_forwarded_for" not in seen


def test_ws_session(site: Server):
    """A session that a request has saved is found by its cookie."""
    with site.connect() as connection:
        cookie = connection.get("/session/")["set-cookie"].partition(";")[0]
    host, port = site.address
    sent = {"Cookie": f"{cookie}; other=1"}

    seen = seen_by(site, additional_headers=sent, origin=f"http://{host}:{port}")

    assert (seen["visits"], seen["user"]) == (1, "AnonymousUser")
    assert seen["cookies"]["other"] == "1"


def test_ws_state(site: Server):
    """A connection has the state that the lifespan hook made."""
    assert seen_by(site)["state"] == "set at startup"


def test_ws_root_path(socket_spec: ServerSpec, start: StartServer):
    """Routes are found below the server's root path."""
    server = start(Launch(root_path="/below"))
    below = "" if socket_spec.adds_root_path else "/below"

    seen = seen_by(server, f"{below}/ws/mirror/x/")

    assert seen["root_path"] == "/below"
    assert (seen["path"], seen["kwargs"]) == ("/below/ws/mirror/x/", {"word": "x"})


def test_ws_tls(start: StartServer, certificate: tuple[Path, Path]):
    """Over TLS a page of the site is let in."""
    assert seen_over_tls(start(Launch(tls=certificate)), certificate)


def test_ws_tls_scheme(start: StartServer, certificate: tuple[Path, Path]):
    """Over TLS the scheme is wss."""
    seen = seen_over_tls(start(Launch(tls=certificate)), certificate)

    assert seen["scheme"] == "wss"


def seen_over_tls(server: Server, certificate: tuple[Path, Path]) -> dict[str, Any]:
    """Return what a consumer sees of the handshake of a page of its own site."""
    import ssl

    context = ssl.create_default_context(cafile=str(certificate[0]))
    address = f"wss://localhost:{server.address[1]}/ws/mirror/x/"
    own = f"https://localhost:{server.address[1]}"
    raw = Connection(server.address).socket

    with client.connect(address, ssl=context, sock=raw, origin=own) as socket:
        seen: dict[str, Any] = json.loads(socket.recv(timeout=PATIENCE))
    return seen


# Who is refused, and how


def test_ws_refused(site: Server):
    """A refused handshake is an HTTP error, and nothing is open."""
    assert refused(site, "/ws/refusing/").status in {401, 403}


def test_ws_refusal_response(site: Server):
    """A refusal is a response with the application's status, headers and body."""
    response = refused(site, "/ws/refusing/")

    assert response.status == 401
    assert response["x-why"] == "no name"
    assert response.body == b"who are you?"


@pytest.mark.parametrize(
    ("how", "status"), [("not-found", 404), ("redirect", 302), ("forbidden", 403)]
)
def test_ws_refusal_exceptions(site: Server, how: str, status: int):
    """An exception of Django's in `connect` is the response that it is in a view."""
    response = refused(site, f"/ws/raising/{how}/")

    assert response.status == status
    assert response.all("location") == ["/elsewhere/"] * (how == "redirect")


def test_ws_deny(site: Server):
    """`close()` and `DenyConnection` in `connect` are answered with 403."""
    assert refused(site, "/ws/raising/deny/").status == 403


def test_ws_failing_connect(site: Server):
    """An exception in `connect` is a server error, and the server goes on."""
    assert refused(site, "/ws/raising/error/").status in {403, 500}
    assert seen_by(site)["scheme"] == "ws"


def test_ws_refusal_that_scripts_see(site: Server):
    """With `accept_then_close` a refusal is a response, or else close code 4401."""
    with site.connect() as connection:
        frames.ask(connection, "/ws/telling/")
        status = connection.read_any_head().status

        assert status in {101, 401}
        if status == 101:
            assert frames.read_close(connection)[0] == 4401


def test_ws_unknown_path(site: Server, mark: str):
    """An unknown path is refused with one line in the log, not a traceback."""
    path = f"/ws/{mark}/"
    log = len(site.log)

    assert refused(site, path).status in {403, 404}
    assert site.django_log().count(f"Not Found: {path}") == 1
    assert "Traceback" not in site.log[log:]


def test_ws_unknown_path_status(site: Server, mark: str):
    """An unknown path is answered with 404."""
    assert refused(site, f"/ws/{mark}/").status == 404


@pytest.mark.parametrize(
    "origins", [["http://evil.example"], ["null"], ["good", "http://evil.example"]]
)
def test_ws_other_origin(site: Server, origins: list[str]):
    """A page of another site is refused, and so are two Origin headers."""
    own = "http://{}:{}".format(*site.address)
    sent = [("Origin", own if each == "good" else each) for each in origins]

    assert refused(site, "/ws/echo/", sent).status in {400, 403}


def test_ws_own_origin(site: Server):
    """A page of the site is let in."""
    own = "http://{}:{}".format(*site.address)
    with connect(site, "/ws/echo/", origin=own) as socket:
        socket.send("in")

        assert socket.recv(timeout=PATIENCE) == "in"


# Frames


@pytest.mark.parametrize("path", ["/ws/echo/", "/ws/sync-echo/"])
@pytest.mark.parametrize("kind", ["text", "binary", "every-byte"])
def test_ws_frames(site: Server, path: str, kind: str):
    """Text and binary frames come back as they were sent, from thread and loop."""
    frame = {
        "text": "grün 🌳\0",
        "binary": b"\x00\xff",
        "every-byte": bytes(range(256)),
    }
    with connect(site, path) as socket:
        socket.send(frame[kind])

        assert socket.recv(timeout=PATIENCE) == frame[kind]


@pytest.mark.parametrize("frame", ["", b""], ids=["text", "binary"])
def test_ws_empty_frames(site: Server, frame: str | bytes):
    """Empty frames come back, of the kind that was sent."""
    with connect(site, "/ws/echo/") as socket:
        socket.send(frame)
        socket.send("after")

        assert socket.recv(timeout=PATIENCE) == frame


@pytest.mark.parametrize("path", ["/ws/echo/", "/ws/sync-echo/"])
@pytest.mark.parametrize("kind", ["text", "binary"])
def test_ws_large_messages(site: Server, path: str, kind: str):
    """A message of 1 MiB comes back whole."""
    piece = "grün " if kind == "text" else b"\x00\xfe\x80\x7f "
    message = piece * (MEBIBYTE // 6)
    with connect(site, path, compression=None) as socket:
        socket.send(message)

        assert socket.recv(timeout=PATIENCE) == message


def send_too_much(connection: Connection) -> None:
    message = frames.encode(frames.BINARY, b"x" * (96 * MEBIBYTE))
    connection.send_until_answered(message)


def test_ws_too_large_message(site: Server):
    """A message above the server's limit, 96 MiB at most, is closed with 1009."""
    with opened(site, "/ws/echo/") as connection:
        send_too_much(connection)

        assert frames.read_close(connection)[0] == 1009


def test_ws_too_large_message_ends(notes: Notes, site: Server, mark: str):
    """After a message above the server's limit `disconnect()` runs."""
    with opened(site, f"/ws/echo/?{mark}") as connection:
        send_too_much(connection)

    assert notes(site, f"echo ended {mark} ")


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_ws_fragments(site: Server, compression: str | None):
    """A message in many fragments, with a ping between them, comes back as one."""
    with connect(site, "/ws/echo/", compression=compression) as socket:

        def pieces() -> Iterator[str]:
            yield "gr"
            yield "\u00fc"
            assert socket.ping().wait(PATIENCE)
            yield ""
            yield "n"

        socket.send(pieces())

        assert socket.recv(timeout=PATIENCE) == "grün"


@pytest.mark.parametrize("path", ["/ws/echo/", "/ws/sync-echo/"])
def test_ws_order(site: Server, path: str):
    """A thousand messages sent at once come back in order."""
    sent = [str(number) for number in range(1000)]
    with connect(site, path) as socket:
        received = []
        for start in range(0, 1000, 20):
            for message in sent[start : start + 20]:
                socket.send(message)
            received += [socket.recv(timeout=PATIENCE) for _ in range(20)]

    assert received == sent


def test_ws_ping(site: Server, mark: str):
    """A ping is answered, also while a handler runs."""
    with connect(site, "/ws/slow/") as socket:
        assert socket.ping(b"first").wait(PATIENCE)
        socket.send(mark)
        assert socket.recv(timeout=PATIENCE) == "begun"

        assert socket.ping(b"second").wait(PATIENCE)


# The end of a connection


@pytest.mark.parametrize(("word", "code"), [("close", 4001), ("close at length", 4001)])
def test_ws_close_code(site: Server, word: str, code: int):
    """A close code of the application reaches the client."""
    with connect(site, "/ws/echo/") as socket:
        socket.send(word)

        assert end_of(socket).code == code


@pytest.mark.parametrize(
    ("word", "reason"),
    [("close", "as you like"), ("close at length", LONG_REASON)],
    ids=["short", "123-bytes"],
)
def test_ws_close_reason(site: Server, word: str, reason: str):
    """A close reason of the application reaches the client, of 123 bytes too."""
    with connect(site, "/ws/echo/") as socket:
        socket.send(word)

        assert end_of(socket).reason == reason


def test_ws_failing_handler(notes: Notes, site: Server, mark: str):
    """An exception of a handler closes with 1011, and is logged by Django once."""
    before = site.django_log().count("Echo raised RuntimeError")
    with connect(site, f"/ws/echo/?{mark}") as socket:
        socket.send("fail")

        assert end_of(socket).code == 1011
    assert notes(site, f"echo ended {mark} 1011")
    assert site.django_log().count("Echo raised RuntimeError") - before == 1


@pytest.mark.parametrize("code", [1000, 1001, 3000, 4321, 4999])
def test_ws_client_closes(notes: Notes, site: Server, mark: str, code: int):
    """A close code of the client reaches `disconnect()`."""
    with connect(site, f"/ws/echo/?{mark}") as socket:
        socket.send("x")
        socket.recv(timeout=PATIENCE)
        socket.close(code)

    assert notes(site, f"echo ended {mark} {code}")


def test_ws_client_closes_without_code(notes: Notes, site: Server, mark: str):
    """A client that closes without a code is 1005 in `disconnect()`."""
    with connect(site, f"/ws/echo/?{mark}") as socket:
        socket.send("x")
        socket.recv(timeout=PATIENCE)
        with socket.send_context():
            socket.protocol.send_close()

    assert notes(site, f"echo ended {mark} 1005")


def test_ws_client_closes_with_reason(notes: Notes, site: Server, mark: str):
    """A close reason of the client is in the event."""
    with connect(site, f"/ws/echo/?{mark}") as socket:
        socket.send("x")
        socket.recv(timeout=PATIENCE)
        socket.close(4321, "grün")

    assert notes(site, f"echo heard {mark} grün")


@pytest.mark.parametrize("is_abrupt", [False, True], ids=["fin", "rst"])
def test_ws_client_vanishes(notes: Notes, site: Server, mark: str, is_abrupt: bool):
    """A connection that breaks is 1006 in `disconnect()`."""
    connection = opened(site, f"/ws/echo/?{mark}")

    connection.leave(abruptly=is_abrupt)

    assert notes(site, f"echo ended {mark} 1006")


def test_ws_client_vanishes_in_handshake(notes: Notes, site: Server, mark: str):
    """A client that leaves before the answer is seen while `connect()` runs."""
    connection = site.connect()
    frames.ask(connection, f"/ws/hesitating/?{mark}")
    assert notes(site, f"asked {mark}")

    connection.leave(abruptly=False)

    assert notes(site, f"seen {mark}")


def test_ws_leaving_is_seen(notes: Notes, site: Server, mark: str):
    """A client's leaving is seen behind a handler that runs."""
    with connect(site, "/ws/slow/") as socket:
        socket.send(mark)
        assert socket.recv(timeout=PATIENCE) == "begun"

    assert notes(site, f"seen {mark}")


def test_ws_unanswered_ping(notes: Notes, start: StartServer, mark: str):
    """A client that answers no ping is given up, and `disconnect()` runs."""
    server = start(Launch(pings=True))
    with opened(server, f"/ws/echo/?{mark}"):
        assert notes(server, f"echo ended {mark} ")


EndServer = Callable[[list[str]], tuple[Server, list]]


@pytest.fixture
def end_server(start: StartServer) -> EndServer:
    """Return a function that ends a server with open connections."""

    def end(marks: list[str]) -> tuple[Server, list]:
        server = start()
        with ExitStack() as stack:
            sockets = [
                stack.enter_context(connect(server, f"/ws/echo/?{mark}"))
                for mark in marks
            ]
            for socket in sockets:
                socket.send("x")
                socket.recv(timeout=PATIENCE)
            stop(server)
        return server, sockets

    return end


def stop(server: Server) -> None:
    """Ask a server to end; kill one that does not, so that its fixture can go on."""
    try:
        server.stop()
    except ServerStuck:
        server.kill()
        raise


def test_ws_server_ends(end_server: EndServer):
    """SIGTERM ends the server, and `disconnect()` runs once for each connection."""
    marks = [uuid.uuid4().hex for _ in range(3)]
    server, _ = end_server(marks)

    ends = [line for line in noted(server) if line.startswith("echo ended")]
    for mark in marks:
        assert sum(mark in line for line in ends) == 1, ends


def test_ws_server_ends_with_code(end_server: EndServer):
    """On SIGTERM each client gets a close frame, with 1001 or 1012."""
    _, sockets = end_server([uuid.uuid4().hex for _ in range(3)])

    received = [socket.protocol.close_rcvd for socket in sockets]
    assert all(frame is not None for frame in received), received
    assert {frame.code for frame in received} <= {1001, 1012}
