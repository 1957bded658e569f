"""Files: whole, in part, and by the server's own hand."""

import json

from tests.servers.app.content import FILE_NAME, FILE_SIZE, FILE_TAG, file_content
from tests.servers.processes import Server
from tests.servers.wire import Connection


def test_file(connection: Connection):
    """A file arrives byte for byte, with length, type and name."""
    response = connection.get("/download/")

    assert response.body == file_content()
    assert response["content-length"] == str(FILE_SIZE)
    assert FILE_NAME in response["content-disposition"]


def test_range(connection: Connection):
    """A range of a file is answered with 206 and those bytes."""
    response = connection.get("/download/", [("Range", "bytes=1000-1999")])

    assert (response.status, response.body) == (206, file_content()[1000:2000])
    assert response["content-range"] == f"bytes 1000-1999/{FILE_SIZE}"
    assert connection.get("/sync/").status == 200


def test_range_of_the_end(connection: Connection):
    """A range counted from the end is answered with the last bytes."""
    response = connection.get("/download/", [("Range", "bytes=-7")])

    assert (response.status, response.body) == (206, file_content()[-7:])


def test_range_not_satisfiable(connection: Connection):
    """A range behind the end is answered with 416 and the size."""
    response = connection.get("/download/", [("Range", f"bytes={FILE_SIZE}-")])

    assert response.status == 416
    assert response["content-range"] == f"bytes */{FILE_SIZE}"
    assert connection.get("/sync/").status == 200


def test_if_range_same(connection: Connection):
    """If-Range with the file's tag gives the range."""
    headers = [("Range", "bytes=0-9"), ("If-Range", FILE_TAG)]

    response = connection.get("/download/", headers)

    assert (response.status, response.body) == (206, file_content()[:10])


def test_if_range_changed(connection: Connection):
    """If-Range with another tag gives the whole file."""
    headers = [("Range", "bytes=0-9"), ("If-Range", '"an-older-one"')]

    response = connection.get("/download/", headers)

    assert (response.status, response.body) == (200, file_content())


def test_pathsend(connection: Connection, site: Server, key: str):
    """A whole file is handed to the server by its path."""
    response = connection.get("/download/", [("X-Observe", key)])
    sent = json.loads(site.get(f"/observed/{key}").body)

    assert response.body == file_content()
    assert sent == ["http.response.start", "http.response.pathsend"]
