"""What a view sees of a request, and what a client gets back."""

import json
from urllib.parse import urlencode

import pytest

from tests.servers.processes import Server
from tests.servers.wire import Connection


def test_get_sync(connection: Connection):
    """A sync view answers GET."""
    response = connection.get("/sync/")

    assert (response.status, response.body) == (200, b"hello from a thread")


def test_get_async(connection: Connection):
    """An async view answers GET."""
    response = connection.get("/async/")

    assert (response.status, response.body) == (200, b"hello from the loop")


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_query_string(connection: Connection, view: str):
    """A query string arrives decoded, with repeated and empty fields."""
    response = connection.get(f"/{view}/?a=1&a=2&empty=&word=gr%C3%BCn&plus=a+b&bare")

    assert response.json()["query"] == {
        "a": ["1", "2"],
        "empty": [""],
        "word": ["grün"],
        "plus": ["a b"],
        "bare": [""],
    }


@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_post_form(connection: Connection, view: str):
    """A posted form arrives as POST."""
    headers = [("Content-Type", "application/x-www-form-urlencoded")]
    body = urlencode({"name": "Grüße", "empty": ""}).encode()

    seen = connection.request("POST", f"/{view}/", headers, body).json()

    assert seen["form"] == {"name": ["Grüße"], "empty": [""]}


@pytest.mark.parametrize("view", ["echo", "aecho"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_json_body(connection: Connection, view: str, method: str):
    """A JSON body arrives whole, whatever the method."""
    import hashlib

    headers = [("Content-Type", "application/json")]
    body = json.dumps({"list": list(range(1000))}).encode()

    seen = connection.request(method, f"/{view}/", headers, body).json()

    assert (seen["method"], seen["length"]) == (method, len(body))
    assert seen["sha256"] == hashlib.sha256(body).hexdigest()
    assert seen["content_type"] == "application/json"


def test_request_headers(connection: Connection):
    """Header names count in any case, and repeated headers are joined in order."""
    headers = [("X-Thing", "one"), ("x-tHING", "two"), ("X-Latin", "caf\xe9")]

    seen = connection.get("/echo/", headers).json()["headers"]

    assert seen["HTTP_X_THING"].replace(" ", "") == "one,two"
    assert seen["HTTP_X_LATIN"] == "caf\xe9"


def test_header_with_underscore(connection: Connection):
    """A header with an underscore never becomes the header with a hyphen."""
    headers = [("X_Forwarded_For", "6.6.6.6"), ("X-Real_Ip", "6.6.6.6"), ("X-A", "1")]

    response = connection.get("/echo/", headers)

    if response.status != 400:  # a server may refuse what it does not want to drop
        seen = response.json()["headers"]
        assert "6.6.6.6" not in seen.values()
        assert seen["HTTP_X_A"] == "1"


def test_cookies_set(connection: Connection):
    """Each cookie of a response is a header line of its own."""
    response = connection.get("/cookies/set/")

    flavour, size, stale = response.all("set-cookie")
    assert flavour.startswith('flavour="oat meal"')
    assert "HttpOnly" in flavour
    assert size.startswith("size=large")
    assert "SameSite=Lax" in size
    assert "Max-Age=0" in stale


def test_cookies_read(connection: Connection):
    """Cookies that were sent are read, quoted ones too."""
    headers = [("Cookie", 'flavour="oat meal"; size=large')]

    assert connection.get("/cookies/read/", headers).json() == {
        "flavour": "oat meal",
        "size": "large",
    }


def test_cookies_in_two_headers(connection: Connection):
    """Cookies in two header lines are all read."""
    headers = [("Cookie", "a=1; b=2"), ("Cookie", "c=3")]

    read = connection.get("/cookies/read/", headers).json()

    assert read == {"a": "1", "b": "2", "c": "3"}


@pytest.mark.parametrize("view", ["session", "asession"])
def test_session(connection: Connection, view: str):
    """A session is saved by one request and found by the next."""
    first = connection.get(f"/{view}/")
    cookie = first["set-cookie"].split(";")[0]

    second = connection.get(f"/{view}/", [("Cookie", cookie)])

    assert (first.json(), second.json()) == ({"visits": 1}, {"visits": 2})


def test_csrf(connection: Connection):
    """A form is taken with its CSRF token and refused without."""
    page = connection.get("/form/")
    cookie = page["set-cookie"].split(";")[0]
    headers = [
        ("Cookie", cookie),
        ("Content-Type", "application/x-www-form-urlencoded"),
    ]
    form = urlencode({"word": "yes", "csrfmiddlewaretoken": page.json()["token"]})

    taken = connection.request("POST", "/form/", headers, form.encode())
    refused = connection.request("POST", "/form/", headers, b"word=no")

    assert taken.json() == {"word": "yes"}
    assert refused.status == 403


def test_not_found(connection: Connection):
    """An unknown address is answered with 404, and a slash is appended."""
    unknown = connection.get("/nowhere/")
    without_slash = connection.get("/sync")

    assert unknown.status == 404
    assert (without_slash.status, without_slash["location"]) == (301, "/sync/")


def test_remote_address(connection: Connection):
    """META tells the address and port of the client."""
    seen = connection.get("/echo/").json()

    assert seen["remote_addr"] == "127.0.0.1"
    assert int(seen["remote_port"]) == connection.local_port


def test_scheme_and_host(connection: Connection, site: Server):
    """The scheme is http, the host is the one that was asked for."""
    seen = connection.get("/echo/?a=b").json()

    assert (seen["scheme"], seen["host"]) == ("http", "testsite")
    assert seen["uri"] == "http://testsite/echo/?a=b"
    assert seen["server_port"] == str(site.address[1])


def test_mount(connection: Connection):
    """Below another application's path the prefix is the script name."""
    seen = connection.get("/mounted/echo/x").json()

    assert seen["script_name"] == "/mounted"
    assert (seen["path"], seen["path_info"]) == ("/mounted/echo/x", "/echo/x")


def test_mount_root_without_slash(connection: Connection):
    """The mount point itself, without a slash, is the index."""
    response = connection.get("/mounted")

    assert (response.status, response.body) == (200, b"the index")


def test_request_state(connection: Connection):
    """A request has the state that the lifespan hook made."""
    assert connection.get("/state/").json() == {"greeting": "set at startup"}
