"""Streams leave piece by piece, and end when the client leaves."""

import pytest

from tests.servers.processes import Server
from tests.servers.wire import Connection, SilenceError, WireError

LEAVING = pytest.mark.parametrize("abruptly", [False, True])


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_stream_piece_by_piece(
    connection: Connection, site: Server, key: str, kind: str
):
    """Each piece of a stream arrives before the next one is made."""
    connection.send_head("GET", f"/stream/{kind}/{key}/")

    head = connection.read_head()
    pieces = connection.read_pieces(head)
    first = next(pieces)
    site.post(f"{key}:second")
    second = next(pieces)
    site.post(f"{key}:third")
    third = next(pieces)

    assert (first, second, third) == (b"first", b"second", b"third")
    assert list(pieces) == []
    assert site.sees(f"{key}:closed")
    assert connection.get("/sync/").status == 200


@LEAVING
@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("pace", ["ticking", "endless"])
def test_client_leaves_stream(
    connection: Connection, site: Server, key: str, pace: str, kind: str, abruptly: bool
):
    """A stream without end, slow or fast, is closed when the client leaves."""
    connection.send_head("GET", f"/{pace}/{kind}/{key}/")
    connection.read_head()
    connection.need()

    connection.leave(abruptly=abruptly)

    assert site.sees(f"{key}:closed")


@LEAVING
def test_client_leaves_waiting_stream(
    connection: Connection, site: Server, key: str, abruptly: bool
):
    """A stream that waits for something is closed when the client leaves."""
    connection.send_head("GET", f"/parked/async/{key}/")
    head = connection.read_head()
    first = next(connection.read_pieces(head))

    connection.leave(abruptly=abruptly)

    assert first == b"first"
    assert site.sees(f"{key}:closed")


@LEAVING
def test_client_leaves_async_view(
    connection: Connection, site: Server, key: str, abruptly: bool
):
    """An async view is cancelled when the client leaves before the answer."""
    connection.send_head("GET", f"/hang/{key}/")
    has_entered = site.sees(f"{key}:entered")

    connection.leave(abruptly=abruptly)

    assert has_entered
    assert site.sees(f"{key}:cancelled")


@LEAVING
def test_client_leaves_sync_view(
    connection: Connection, site: Server, key: str, abruptly: bool
):
    """A sync view whose client leaves runs to its end, and the server goes on."""
    connection.send_head("GET", f"/patient/{key}/")
    has_entered = site.sees(f"{key}:entered")

    connection.leave(abruptly=abruptly)
    site.post(f"{key}:go")

    assert has_entered
    assert site.sees(f"{key}:done")


@pytest.mark.noisy
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_broken_stream(connection: Connection, site: Server, kind: str):
    """A stream that raises does not look whole to the client."""
    connection.send_head("GET", f"/broken/{kind}/")
    head = connection.read_head()

    assert head.status == 200
    with pytest.raises(WireError) as caught:
        connection.read_body(head)
    assert not isinstance(caught.value, SilenceError)
    assert site.get("/sync/").status == 200


def test_event_stream(connection: Connection, site: Server, key: str):
    """An event stream sends its events as they come, each in its own lines."""
    connection.send_head("GET", f"/events/{key}/", [("Accept", "text/event-stream")])

    head = connection.read_head()
    pieces = connection.read_pieces(head)
    text = b""
    while text.count(b"\n\n") < 3:
        text += next(pieces)
    site.post(f"{key}:last")
    rest = b"".join(pieces)

    assert head["content-type"].startswith("text/event-stream")
    assert "no-cache" in head["cache-control"]
    assert "content-length" not in head
    assert text.decode().split("\n\n")[1].splitlines() == [
        "id: 2",
        "data: line one of 2",
        "data: line two",
    ]
    assert rest == b"event: goodbye\ndata: the last\n\n"
    assert site.sees(f"{key}:closed")


def test_event_stream_resumed(connection: Connection, key: str):
    """A client that comes back with Last-Event-ID gets what follows it."""
    connection.send_head("GET", f"/events/{key}/", [("Last-Event-ID", "41")])

    head = connection.read_head()
    first = next(connection.read_pieces(head))

    assert b"id: 42\n" in first


@LEAVING
def test_client_leaves_event_stream(
    connection: Connection, site: Server, key: str, abruptly: bool
):
    """An event stream that waits for news is closed when the client leaves."""
    connection.send_head("GET", f"/events/{key}/")
    next(connection.read_pieces(connection.read_head()))

    connection.leave(abruptly=abruptly)

    assert site.sees(f"{key}:closed")
