"""From start to end: lifespan, signals, prefixes, forks."""

import os
import signal
from collections.abc import Callable

import pytest

from tests.servers.processes import Server, ServerFailed
from tests.servers.specs import Launch, ServerSpec
from tests.servers.wire import WireError

CLEAN_ENDS = {0, -signal.SIGTERM, 128 + signal.SIGTERM}
"""uvicorn raises the signal again after its clean end, so that its parent sees it."""

StartServer = Callable[..., Server]


def workers_of(spec: ServerSpec) -> int:
    return 2 if spec.has_workers else 1


def test_lifespan_startup(spec: ServerSpec, start: StartServer):
    """The startup hook runs once per worker."""
    count = workers_of(spec)
    server = start(Launch(workers=count))

    assert server.becomes(lambda: len(server.lifespan("startup")) >= count)
    assert [server.get("/state/").status for _ in range(10)] == [200] * 10
    assert len(server.lifespan("startup")) == len(set(server.lifespan("startup")))
    assert len(server.lifespan("startup")) == count


def test_lifespan_shutdown(spec: ServerSpec, start: StartServer):
    """The shutdown hook runs once per worker that started."""
    count = workers_of(spec)
    server = start(Launch(workers=count))
    assert server.becomes(lambda: len(server.lifespan("startup")) >= count)

    server.stop()

    assert sorted(server.lifespan("shutdown")) == sorted(server.lifespan("startup"))


def test_failing_startup(make_server: StartServer):
    """A startup hook that fails ends the server, and its log says why."""
    with make_server(SITE_STARTUP="fail").spawned() as server:
        server.wait()

    assert "the cellar is flooded" in server.log


def test_failing_startup_status(make_server: StartServer):
    """A server that ends because of a startup hook says so by its exit status."""
    with make_server(SITE_STARTUP="fail").spawned() as server:
        status = server.wait()

    assert status not in CLEAN_ENDS


def test_failing_startup_serves_nothing(make_server: StartServer):
    """While its startup hook fails, a site answers no request with a page."""
    with make_server(SITE_STARTUP="fail").spawned() as server:
        try:
            server.wait_for_port()
            response = server.get("/sync/")
        except (ServerFailed, OSError, WireError):
            return  # it has ended

    assert response.status == 503
    assert b"hello" not in response.body


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_sigterm(start: StartServer, key: str, kind: str):
    """SIGTERM lets the running request end, then the server, with nothing to say."""
    server = start()
    pipe = server.directory / key
    os.mkfifo(pipe)
    with server.connect() as connection, pipe.open("r+b", buffering=0) as writer:
        connection.send_head("GET", f"/held/{kind}/{key}/")
        assert server.sees(f"{key}:entered")

        server.signal(signal.SIGTERM)
        server.becomes(lambda: not server.is_accepting(), 2.0)
        writer.write(b"released")
        writer.close()
        response = connection.read_response()

    assert (response.status, response.body) == (200, b"released")
    assert server.wait() in CLEAN_ENDS
    assert server.complaints() == []


def test_sigterm_when_idle(start: StartServer):
    """SIGTERM ends a server that has answered, with an open connection."""
    server = start()
    with server.connect() as connection:
        assert connection.get("/sync/").status == 200
        assert connection.get("/async/").status == 200

        status = server.stop()

    assert status in CLEAN_ENDS
    assert server.complaints() == []


def test_sigterm_with_stream(start: StartServer, key: str):
    """SIGTERM ends a server with an open stream, whose generator is closed."""
    server = start()
    with server.connect() as connection:
        connection.send_head("GET", f"/open-ended/{key}/")
        pieces = connection.read_pieces(connection.read_head())
        first = next(pieces)

        status = server.stop()

    assert first == b"first"
    assert status in CLEAN_ENDS
    assert (server.directory / f"{key}.closed").exists()
    assert len(server.lifespan("shutdown")) == 1


def test_root_path(spec: ServerSpec, start: StartServer):
    """The server's root path is the site's script name."""
    server = start(Launch(root_path="/below"))
    target = "/echo/x" if spec.adds_root_path else "/below/echo/x"

    seen = server.get(target).json()

    assert seen["script_name"] == "/below"
    assert (seen["path"], seen["path_info"]) == ("/below/echo/x", "/echo/x")


def test_preload(spec: ServerSpec, start: StartServer):
    """A site loaded, and used, before the fork answers in every child."""
    assert spec.has_preload
    server = start(Launch(workers=2, preload=True), SITE_PRELOAD="1")
    assert server.becomes(lambda: len(server.lifespan("startup")) == 2)
    children = server.lifespan("startup")

    for child in children:
        others = [pid for pid in children if pid != child]
        answers = ask_with_others_stopped(server, others)

        assert {answer["pid"] for answer in answers} == {child}
        assert not any(answer["is_main_thread"] for answer in answers)


def ask_with_others_stopped(server: Server, others: list[int]) -> list[dict]:
    """Ask a hundred times while all children but one are stopped."""
    for pid in others:
        os.kill(pid, signal.SIGSTOP)
    try:
        return [server.get("/worker/").json() for _ in range(100)]
    finally:
        for pid in others:
            os.kill(pid, signal.SIGCONT)
