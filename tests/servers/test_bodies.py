"""Uploads: whole, in chunks, piece by piece, and too large."""

import hashlib

import pytest

from tests.servers.app.content import pattern
from tests.servers.processes import Server
from tests.servers.wire import Connection

BOUNDARY = "a-boundary-that-is-nowhere-else"
MULTIPART = ("Content-Type", f"multipart/form-data; boundary={BOUNDARY}")
MIB = 1024 * 1024
MAX_BODY_SIZE = 8 * MIB


def multipart(upload: bytes) -> bytes:
    """Return a form with a field and a file."""
    disposition = "Content-Disposition: form-data; name="
    head = (
        f'--{BOUNDARY}\r\n{disposition}"word"\r\n\r\nyes\r\n'
        f'--{BOUNDARY}\r\n{disposition}"upload"; filename="u.bin"\r\n'
        "Content-Type: application/octet-stream\r\n\r\n"
    )
    return head.encode() + upload + f"\r\n--{BOUNDARY}--\r\n".encode()


def chunked(body: bytes, size: int) -> bytes:
    """Return a body in chunks of a size."""
    pieces = [body[start : start + size] for start in range(0, len(body), size)]
    framed = [b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces]
    return b"".join(framed) + b"0\r\n\r\n"


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_multipart_upload(connection: Connection, view: str):
    """An upload of several MB arrives byte for byte, beside the form's fields."""
    upload = pattern(5 * MIB + 3)

    seen = connection.request(
        "POST", f"/{view}/", [MULTIPART], multipart(upload)
    ).json()

    assert seen["form"] == {"word": ["yes"]}
    assert seen["files"]["upload"] == {
        "name": "u.bin",
        "size": len(upload),
        "sha256": hashlib.sha256(upload).hexdigest(),
    }
    assert connection.get("/sync/").status == 200


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_chunked_upload(connection: Connection, view: str):
    """A body in chunks arrives whole, without a Content-Length."""
    body = pattern(200_001)

    connection.send_head("POST", f"/{view}/", [("Transfer-Encoding", "chunked")])
    connection.send(chunked(body, 7001))
    seen = connection.read_response().json()

    assert (seen["length"], seen["sha256"]) == (
        len(body),
        hashlib.sha256(body).hexdigest(),
    )
    assert connection.get("/sync/").status == 200


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_chunked_multipart_upload(connection: Connection, view: str):
    """A multipart body in chunks is parsed as one with a length is."""
    upload = pattern(300_000)

    connection.send_head(
        "POST", f"/{view}/", [MULTIPART, ("Transfer-Encoding", "chunked")]
    )
    connection.send(chunked(multipart(upload), 50_000))
    seen = connection.read_response().json()

    assert seen["form"] == {"word": ["yes"]}
    assert seen["files"]["upload"]["sha256"] == hashlib.sha256(upload).hexdigest()


def test_streamed_upload(connection: Connection, site: Server, key: str):
    """A view gets the first piece of a body while the client holds the rest back."""
    connection.send_head(
        "POST", f"/upload/streamed/{key}/", [("Content-Length", "200000")]
    )
    connection.send(b"a" * 100_000)

    is_seen = site.sees(f"{key}:first")
    connection.send(b"b" * 100_000)
    seen = connection.read_response().json()

    assert is_seen
    assert seen["length"] == 200_000


def test_expect_100_continue(connection: Connection):
    """A client that waits for leave to send its body gets it."""
    headers = [("Content-Length", "5"), ("Expect", "100-continue")]

    connection.send_head("POST", "/echo/", headers)
    leave = connection.read_any_head()
    connection.send(b"hello")
    response = connection.read_response()

    assert leave.status == 100
    assert response.json()["length"] == 5


@pytest.mark.parametrize("view", ["echo", "aecho", "nowhere"])
def test_too_large_by_length(connection: Connection, view: str):
    """A declared length over the limit is refused before a byte of it is sent."""
    headers = [("Content-Length", str(MAX_BODY_SIZE + 1))]

    connection.send_head("POST", f"/{view}/", headers)
    response = connection.read_response()

    assert response.status in ({404, 413} if view == "nowhere" else {413})


def test_too_large_with_expect(connection: Connection):
    """Refused before the body, a client that waits for leave does not get it."""
    headers = [("Content-Length", str(MAX_BODY_SIZE + 1)), ("Expect", "100-continue")]

    connection.send_head("POST", "/echo/", headers)
    response = connection.read_response()

    assert response.status == 413
    assert response.interim == []


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_too_large_in_chunks(connection: Connection, view: str):
    """A body without a length is refused when it grows over the limit."""
    chunk = b"%x\r\n%s\r\n" % (MIB, b"x" * MIB)

    connection.send_head("POST", f"/{view}/", [("Transfer-Encoding", "chunked")])
    connection.send_until_answered(chunk * (MAX_BODY_SIZE // MIB + 1))
    response = connection.read_response()

    assert response.status == 413


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_too_large_sent_whole(connection: Connection, site: Server, view: str):
    """A body over the limit that was sent whole is refused all the same."""
    body = b"x" * (MAX_BODY_SIZE + 1)
    headers = [("Content-Length", str(len(body)))]

    connection.send_head("POST", f"/{view}/", headers)
    connection.send_until_answered(body)

    assert connection.read_response().status == 413
    assert site.get("/sync/").status == 200


def test_too_large_for_memory(connection: Connection):
    """A body that is not multipart is refused over DATA_UPLOAD_MAX_MEMORY_SIZE."""
    body = b"x" * (3 * MIB)
    headers = [("Content-Type", "application/octet-stream")]

    response = connection.request("POST", "/aecho/", headers, body)

    assert response.status == 413


@pytest.mark.parametrize("abruptly", [False, True])
def test_client_leaves_in_upload(
    connection: Connection, site: Server, key: str, abruptly: bool
):
    """A client that leaves in mid upload leaves no trace; the server goes on."""
    connection.send_head("POST", "/echo/", [MULTIPART, ("Content-Length", "4000000")])
    connection.send(multipart(pattern(300_000))[:200_000])

    connection.leave(abruptly=abruptly)

    assert site.get("/sync/").status == 200
