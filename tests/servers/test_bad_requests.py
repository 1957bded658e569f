"""Bad requests get a clear 4xx: never a 500, never silence, never an exception."""

from dataclasses import dataclass

import pytest

from tests.servers.processes import Server
from tests.servers.wire import Connection, Response, request_head

REFUSED = None


@dataclass(frozen=True)
class Target:
    """A raw request target and the paths that a view may see of it."""

    name: str
    raw: bytes
    paths: tuple[str | None, ...]

    def __str__(self) -> str:
        return self.name


def named(*vectors: object) -> dict[str, object]:
    """Return the arguments of a parametrisation whose ids are the names."""
    return {"argvalues": vectors, "ids": str}


LENGTHS = {
    "plus": b"+5",
    "negative": b"-1",
    "underscore": b"1_0",
    "arabic-digit": "٣".encode(),
    "hexadecimal": b"0x5",
    "fraction": b"5.0",
    "5000-digits": b"9" * 5000,
    "list": b"1,2",
    "word": b"five",
}

# Targets that are not a path of this site (RFC 9112, section 3.2).
NOT_A_PATH = {
    "userinfo": b"@evil.com/x",
    "domain": b".evil.com/x",
    "absolute": b"http://evil.com/sync/",
    "authority": b":80@evil.com",
    "star": b"*",
    "empty": b"",
}

HOSTS = {
    "with-query": "a/?x=",
    "with-fragment": "evil.com#",
    "with-space": "a b",
    "bracket": "[",
    "empty": "",
    "unknown": "evil.com",
    "userinfo": "testsite@evil.com",
    "not-a-port": "testsite:x",
}

# Where a server may refuse, REFUSED stands beside the paths that are right.
TARGETS = (
    Target("plain", b"/echo/a", ("/echo/a",)),
    Target("encoded-letter", b"/echo/%61", ("/echo/a",)),
    Target("encoded-slash", b"/echo/a%2Fb", ("/echo/a/b",)),
    Target("encoded-backslash", b"/echo/a%5Cb", ("/echo/a\\b",)),
    Target("encoded-percent", b"/echo/%2541", ("/echo/%41",)),
    Target("encoded-space", b"/echo/a%20b", ("/echo/a b",)),
    Target("encoded-question-mark", b"/echo/a%3Fb", ("/echo/a?b",)),
    Target("encoded-hash", b"/echo/a%23b", ("/echo/a#b",)),
    Target("encoded-nul", b"/echo/%00", (REFUSED,)),
    Target("encoded-nul-inside", b"/echo/a%00b", (REFUSED,)),
    Target("encoded-line-feed", b"/echo/a%0Ab", ("/echo/a\nb", REFUSED)),
    Target("encoded-crlf", b"/echo/a%0D%0Ab", ("/echo/a\r\nb", REFUSED)),
    Target("encoded-delete", b"/echo/a%7Fb", ("/echo/a\x7fb", REFUSED)),
    Target("encoded-utf-8", b"/echo/%C3%A9", ("/echo/é",)),
    Target("encoded-not-utf-8", b"/echo/%FF", ("/echo/\ufffd", REFUSED)),
    Target("encoded-overlong", b"/echo/%C0%AF", ("/echo/\ufffd\ufffd", REFUSED)),
    Target("encoded-surrogate", b"/echo/%ED%A0%80", ("/echo/" + "\ufffd" * 3, REFUSED)),
    Target("percent-alone", b"/echo/%", ("/echo/%", REFUSED)),
    Target("percent-one-digit", b"/echo/%2", ("/echo/%2", REFUSED)),
    Target("percent-no-digits", b"/echo/%zz", ("/echo/%zz", REFUSED)),
    Target("dots", b"/echo/../x", ("/echo/../x", REFUSED)),
    Target("encoded-dots", b"/echo/%2e%2e/x", ("/echo/../x", REFUSED)),
    Target("double-slash", b"//echo/x", ("//echo/x", REFUSED)),
    Target("double-slash-inside", b"/echo//x", ("/echo//x",)),
    Target("semicolon", b"/echo/a;b=c", ("/echo/a;b=c",)),
    Target("plus", b"/echo/a+b", ("/echo/a+b",)),
    Target("colon-and-at", b"/echo/a:b@c", ("/echo/a:b@c",)),
    Target("quote", b'/echo/a"b', ('/echo/a"b', REFUSED)),
    Target("raw-backslash", b"/echo/a\\b", ("/echo/a\\b", REFUSED)),
    Target("raw-nul", b"/echo/a\x00b", (REFUSED,)),
    Target("raw-control", b"/echo/a\x01b", (REFUSED,)),
    Target("raw-tab", b"/echo/a\tb", (REFUSED,)),
    Target("raw-delete", b"/echo/a\x7fb", (REFUSED,)),
    Target("raw-space", b"/echo/a b", (REFUSED,)),
    Target("raw-line-feed", b"/echo/a\nb", (REFUSED,)),
    Target("raw-carriage-return", b"/echo/a\rb", (REFUSED,)),
    Target("raw-utf-8", "/echo/é".encode(), ("/echo/é", REFUSED)),
    Target("raw-not-utf-8", b"/echo/\xff", ("/echo/\ufffd", REFUSED)),
    Target("fragment", b"/echo/a#b", ("/echo/a#b", "/echo/a", REFUSED)),
    Target("query-not-utf-8", b"/echo/?q=\xff", (REFUSED,)),
    Target("query-encoded-not-utf-8", b"/echo/?q=%FF", ("/echo/",)),
    Target("query-question-mark", b"/echo/?a=?b", ("/echo/",)),
)


def is_refused(response: Response) -> bool:
    """Tell whether an answer is a clear refusal."""
    return 400 <= response.status < 500


@pytest.mark.parametrize("name", LENGTHS)
def test_bad_content_length(connection: Connection, site: Server, name: str):
    """A Content-Length that is not a number is refused."""
    head = b"POST /echo/ HTTP/1.1\r\nHost: testsite\r\nContent-Length: "

    connection.send(head + LENGTHS[name] + b"\r\n\r\nhello")
    response = connection.read_response()

    assert is_refused(response), response
    assert site.get("/sync/").status == 200


def test_two_content_lengths(connection: Connection, site: Server):
    """Two lengths that disagree are refused."""
    connection.send_head(
        "POST", "/echo/", [("Content-Length", "5"), ("Content-Length", "6")]
    )
    connection.send(b"hello")

    assert is_refused(connection.read_response())
    assert site.get("/sync/").status == 200


@pytest.mark.parametrize("name", NOT_A_PATH)
def test_target_not_a_path(connection: Connection, site: Server, name: str):
    """A target that is not a path of this site is refused."""
    response = connection.get(NOT_A_PATH[name])

    assert is_refused(response), response
    assert site.get("/sync/").status == 200


@pytest.mark.parametrize("target", **named(*TARGETS))
def test_target(connection: Connection, site: Server, target: Target):
    """A target is read as it is, or refused."""
    response = connection.get(target.raw)

    seen = REFUSED if is_refused(response) else response.json()["path"]
    assert seen in target.paths
    assert site.get("/sync/").status == 200


@pytest.mark.parametrize("name", HOSTS)
def test_bad_host(connection: Connection, site: Server, name: str):
    """A Host that is not this site's is refused."""
    connection.send_head("GET", "/echo/", host=HOSTS[name])
    response = connection.read_response()

    assert is_refused(response), response
    assert site.get("/sync/").status == 200


def test_two_hosts(connection: Connection, site: Server):
    """Two Host headers are refused."""
    response = connection.get("/echo/", [("Host", "evil.com")])

    assert is_refused(response), response
    assert site.get("/sync/").status == 200


def test_options_star(connection: Connection, site: Server):
    """OPTIONS for the whole server is answered."""
    response = connection.request("OPTIONS", "*")

    assert response.status < 500
    assert site.get("/sync/").status == 200


def test_too_many_headers(connection: Connection, site: Server):
    """More headers than the limit are refused."""
    response = connection.get("/echo/", [(f"X-{n}", "a") for n in range(200)])

    assert is_refused(response), response
    assert site.get("/sync/").status == 200


def test_too_large_headers(connection: Connection, site: Server):
    """Headers larger than the limit are refused."""
    headers = [(f"X-{n}", "a" * 7000) for n in range(12)]

    connection.send_until_answered(request_head("GET", "/echo/", headers))
    # A server that closes on unread bytes may take the end of its answer with it.
    head = connection.read_head()

    assert 400 <= head.status < 500, head
    assert site.get("/sync/").status == 200


@pytest.mark.parametrize(
    "content_type",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/x-www-form-urlencoded; charset=nonsense",
        "x" * 8000,
    ],
    ids=["no-boundary", "empty-boundary", "charset", "huge"],
)
@pytest.mark.parametrize("view", ["echo", "aecho"])
def test_bad_content_type(
    connection: Connection, site: Server, view: str, content_type: str
):
    """A content type that makes no sense is no server error."""
    response = connection.request(
        "POST", f"/{view}/", [("Content-Type", content_type)], b"a=b"
    )

    assert response.status < 500, response
    assert site.get("/sync/").status == 200


def test_bad_cookie(connection: Connection):
    """Cookies that are not cookies are no error."""
    headers = [("Cookie", '=;;a="\\;b=\xff; c=d; =e')]

    assert connection.get("/echo/", headers).json()["cookies"]["c"] == "d"
