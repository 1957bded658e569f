"""The rules for requests: malformed, ambiguous and oversized ones, without a server."""

import sys
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_asgi_bridge.protocol import request as rules
from django_asgi_bridge.protocol.ranges import Unsatisfiable, parse_range
from django_asgi_bridge.protocol.request import (
    Refusal,
    check_request,
    meta_from_headers,
    server_name_port,
    server_protocol,
    split_path,
)

# Hypothesis' own deadline is a wall clock, which a loaded machine misses.
without_deadline = settings(deadline=None)

UNSATISFIABLE = Unsatisfiable.RANGE


def make_scope(**changes: Any) -> dict[str, Any]:
    return {
        "type": "http",
        "method": "GET",
        "path": "/",
        "headers": [(b"host", b"example.com")],
        **changes,
    }


def check(
    scope: dict[str, Any],
    *,
    max_headers: int = 128,
    max_header_bytes: int = 65536,
    strict_paths: bool = False,
) -> Refusal | None:
    return check_request(
        scope,
        max_headers=max_headers,
        max_header_bytes=max_header_bytes,
        strict_paths=strict_paths,
    )


def status_of(scope: dict[str, Any], **options: Any) -> int | None:
    refusal = check(scope, **options)
    return None if refusal is None else refusal.status


def count_calls(function, *arguments) -> int:
    """Count Python and C calls of one run: a clock that no other load moves."""
    calls = 0

    def profile(frame, event, argument):
        nonlocal calls
        calls += event in {"call", "c_call"}

    sys.setprofile(profile)
    try:
        function(*arguments)
    finally:
        sys.setprofile(None)
    return calls


class TestMetaFromHeaders:
    def test_translates_names_as_django_does(self):
        """Content type and length have no prefix, every other header has one."""
        headers = [
            (b"host", b"example.com"),
            (b"content-type", b"text/plain"),
            (b"content-length", b"3"),
            (b"x-unheard-of", b"caf\xe9"),
        ]

        meta = meta_from_headers(headers)

        assert meta == {
            "HTTP_HOST": "example.com",
            "CONTENT_TYPE": "text/plain",
            "CONTENT_LENGTH": "3",
            "HTTP_X_UNHEARD_OF": "café",
        }
        assert next(iter(meta)) == "HTTP_HOST"

    @pytest.mark.parametrize(
        ("name", "key"),
        [
            (b"Content-Length", "CONTENT_LENGTH"),
            (b"CONTENT-TYPE", "CONTENT_TYPE"),
            (b"Host", "HTTP_HOST"),
            (b"X-Own", "HTTP_X_OWN"),
        ],
    )
    def test_ignores_the_case_of_names(self, name, key):
        """A server that keeps the client's case changes no META key."""
        assert meta_from_headers([(name, b"1")]) == {key: "1"}

    @pytest.mark.parametrize(
        "name",
        [
            b"",
            b"x a",
            b"x:y",
            b":authority",
            b"x\x00y",
            b"x-acce\xdf-token",
            b"x\n",
            b"x-a\r\n",
            b" host",
            b"host ",
            b'x"',
            b"(x)",
            b"x_a",
            b"content_length",
            b"X_FORWARDED_FOR",
        ],
    )
    def test_drops_a_name_that_is_ambiguous_or_no_token(self, name):
        """Nothing of such a header reaches META, and its neighbours stay."""
        headers = [(b"a", b"1"), (name, b"evil"), (b"b", b"2")]

        assert meta_from_headers(headers) == {"HTTP_A": "1", "HTTP_B": "2"}

    def test_keeps_the_hyphen_when_an_underscore_twin_comes_first(self):
        """A header with underscores cannot stand in for the trusted one."""
        headers = [(b"x_forwarded_for", b"evil"), (b"x-forwarded-for", b"good")]

        assert meta_from_headers(headers) == {"HTTP_X_FORWARDED_FOR": "good"}

    def test_joins_repeated_headers_with_a_comma(self):
        """All values of one name stay, in order, without regard to case."""
        headers = [(b"a", b"1"), (b"b", b"x"), (b"A", b"2"), (b"a", b"3")]

        assert meta_from_headers(headers) == {"HTTP_A": "1,2,3", "HTTP_B": "x"}

    @pytest.mark.parametrize(
        ("cookies", "expected"),
        [
            ([b"a=1; "], "a=1"),
            ([b""], ""),
            ([b"a=1", b"b=2"], "a=1; b=2"),
            ([b"a=1; ", b"b=2;", b"c=3"], "a=1; b=2; c=3"),
            ([b"a=1 ;;  ", b" b=2"], "a=1;  b=2"),
        ],
    )
    def test_joins_cookies_with_a_semicolon(self, cookies, expected):
        """Cookies that HTTP/2 split are one header again."""
        headers = [(b"cookie", cookie) for cookie in cookies]

        assert meta_from_headers(headers) == {"HTTP_COOKIE": expected}

    @without_deadline
    @given(
        st.lists(
            st.binary(max_size=6)
            | st.text("xX-_a :!", max_size=5).map(str.encode)
            | st.sampled_from([b"content-type", b"http-content-type", b"Host"]),
            max_size=12,
        )
    )
    @example([b"x-a", b"x_a"])
    @example([b"x\xb5", b"x\xc2\xb5", b"x\xff", b"x\xdf"])
    def test_maps_names_to_keys_one_to_one(self, names):
        """Two names share a META key only when they differ in case alone."""
        spelled: dict[str, bytes] = {}
        for name in names:
            for key in meta_from_headers([(name, b"")]):
                assert spelled.setdefault(key, name.lower()) == name.lower()

    @without_deadline
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [b"host", b"accept", b"x-own", b"x_own", b"cookie", b"content-type"]
                ),
                st.text("a;, é", max_size=6).map(lambda text: text.encode("latin-1")),
            ),
            max_size=12,
        )
    )
    def test_equals_djangos_own_request(self, headers):
        """Lower-case headers give the META of Django's ASGIRequest."""
        from django import VERSION
        from django.core.handlers.asgi import ASGIRequest

        scope = make_scope(headers=headers)
        body = BytesIO()
        theirs = {
            key: value
            for key, value in ASGIRequest(scope, body).META.items()
            if key.startswith(("HTTP_", "CONTENT_"))
        }
        ours = meta_from_headers(headers)

        if VERSION < (6, 1):  # joined with "," there
            theirs.pop("HTTP_COOKIE", None)
            ours.pop("HTTP_COOKIE", None)
        assert ours == theirs

    @pytest.mark.parametrize("name", [b"foo", b"cookie", b"Foo"])
    def test_works_in_linear_time_on_repeated_headers(self, name):
        """Four times the headers are four times the calls, and no text is added."""

        class Text(str):
            __slots__ = ()

            def __add__(self, other):
                raise AssertionError("text is copied for every header")

            __radd__ = __add__
            __format__ = __add__  # type: ignore[assignment]  # counts the same way

        class Value(bytes):
            def decode(self, *arguments):
                return Text(super().decode(*arguments))

            def rstrip(self, *arguments):
                return self

        def calls(number):
            headers = [(name, Value(b"bar"))] * number
            return count_calls(meta_from_headers, headers)

        base = calls(0)

        assert calls(4000) - base <= 4 * (calls(1000) - base) + 20

    def test_joins_200_000_repeated_headers(self):
        """The size of Django's own regression test."""
        meta = meta_from_headers([(b"foo", b"bar")] * 200_000)

        assert len(meta["HTTP_FOO"].split(",")) == 200_000


class TestCheckRequest:
    def test_lets_a_usual_request_pass(self):
        """A browser's request is not refused, whatever is checked."""
        scope = make_scope(
            method="POST",
            path="/café/..%/x",
            raw_path=b"/caf%C3%A9/..%25/x",
            query_string=b"a=1",
            scheme="https",
            headers=[
                (b"host", b"example.com"),
                (b"user-agent", "Ünï\t…".encode()),
                (b"content-length", b"10"),
                (b"content-type", b"text/plain"),
                (b"cookie", b""),
                (b"accept", b"a"),
                (b"accept", b"b"),
            ],
        )

        assert check(scope, strict_paths=True) is None

    @pytest.mark.parametrize("key", ["method", "path"])
    @pytest.mark.parametrize("broken", ["absent", None, 7])
    def test_raises_when_the_scope_lacks(self, key, broken):
        """A scope without method or path is the server's fault and names the key."""
        scope = make_scope()
        if broken == "absent":
            del scope[key]
        else:
            scope[key] = broken

        with pytest.raises(ValueError, match=rf"scope\['{key}'\]"):
            check(scope)

    def test_accepts_a_scope_of_method_and_path_alone(self):
        """Headers, query string, scheme and the rest have defaults."""
        assert check({"method": "GET", "path": "/"}) is None
        assert check(make_scope(headers=None, query_string=None, scheme=None)) is None

    @pytest.mark.parametrize(
        "headers",
        [
            iter([(b"host", b"x")]),
            [(b"host",)],
            [("host", b"x")],
            [(b"x-own", "text")],
            [b"host"],
            [None],
            7,
        ],
        ids=repr,
    )
    def test_raises_when_headers_are_no_list_of_pairs_of_bytes(self, headers):
        """Headers that break the specification give an error that names them."""
        with pytest.raises(ValueError, match=r"scope\['headers'\]"):
            check(make_scope(headers=headers))

    def test_raises_when_the_query_string_is_no_text(self):
        with pytest.raises(ValueError, match=r"scope\['query_string'\].*got int"):
            check(make_scope(query_string=7))

    @pytest.mark.parametrize("query", [b"a=1", "a=1", b"\xff", "é", b"", ""])
    def test_leaves_the_query_string_to_the_request(self, query):
        """Bytes and text pass; Django answers invalid UTF-8 itself."""
        assert check(make_scope(query_string=query)) is None

    @pytest.mark.parametrize(
        "name",
        [
            b"host",
            b"content-length",
            b"content-type",
            b"transfer-encoding",
            b"origin",
            b"sec-websocket-key",
        ],
    )
    @pytest.mark.parametrize("second", [bytes.lower, bytes.title, bytes.upper])
    def test_refuses_a_second(self, name, second):
        """A header that must be single is refused when it comes twice."""
        headers = [(name, b"1"), (b"accept", b"x"), (second(name), b"1")]

        refusal = check(make_scope(headers=headers))

        assert refusal is not None
        assert refusal.status == 400
        assert "twice" in refusal.reason
        assert status_of(make_scope(headers=headers[:2])) is None

    def test_refuses_too_many_headers(self):
        """The header after the last allowed one gives 431."""
        headers = [(b"x-%d" % number, b"") for number in range(129)]

        assert status_of(make_scope(headers=headers)) == 431
        assert status_of(make_scope(headers=headers[1:])) is None

    def test_refuses_too_many_header_bytes(self):
        """Names and values count; the byte after the last allowed one gives 431."""
        headers = [(b"x-own", b"v" * 45), (b"accept", b"v" * 44)]

        assert status_of(make_scope(headers=headers), max_header_bytes=100) is None
        assert status_of(make_scope(headers=headers), max_header_bytes=99) == 431

    @pytest.mark.parametrize(
        "length",
        [
            b"+5",
            b"-1",
            b"1_0",
            "٣".encode(),
            b"\xb2",
            b"0x5",
            b" 5",
            b"5 ",
            b"",
            b"1,2",
            b"5\n",
            b"9" * 19,
            b"9" * 5000,
        ],
    )
    @pytest.mark.parametrize("name", [b"content-length", b"Content-Length"])
    def test_refuses_a_content_length_that_is_no_number(self, name, length):
        """Digits alone are a length, and not more than 18 of them."""
        refusal = check(make_scope(headers=[(name, length)]))

        assert refusal is not None
        assert refusal.status == 400
        assert len(refusal.reason) < 200

    def test_cuts_long_values_in_reasons(self):
        """A reason repeats at most 80 characters, escapes included."""
        refusal = check(make_scope(path="\x00" * 5000))

        assert refusal is not None
        assert len(refusal.reason) < 130

    @pytest.mark.parametrize("length", [b"0", b"5", b"007", b"9" * 18])
    def test_accepts_a_content_length_of_digits(self, length):
        assert check(make_scope(headers=[(b"content-length", length)])) is None

    def test_refuses_a_length_beside_a_transfer_encoding(self):
        """The pair is a sign of request smuggling; each alone passes."""
        length = (b"content-length", b"5")
        encoding = (b"Transfer-Encoding", b"chunked")

        assert status_of(make_scope(headers=[length, encoding])) == 400
        assert status_of(make_scope(headers=[encoding, length])) == 400
        assert status_of(make_scope(headers=[length])) is None
        assert status_of(make_scope(headers=[encoding])) is None

    @pytest.mark.parametrize("byte", [*range(9), *range(10, 32), 127])
    @pytest.mark.parametrize("name", [b"cookie", b"x-own"])
    def test_refuses_a_control_byte_in_a_value(self, name, byte):
        """The reason names header, byte and place, never the value."""
        value = b"secret" + bytes([byte]) + b"x"

        refusal = check(make_scope(headers=[(b"a", b"b"), (name, value)]))

        assert refusal is not None
        assert refusal.status == 400
        assert f"0x{byte:02x} at position 6" in refusal.reason
        assert name.decode() in refusal.reason
        assert "secret" not in refusal.reason

    @pytest.mark.parametrize("byte", [9, 32, 0x7E, 0x80, 0x85, 0xFF])
    def test_accepts_a_byte_that_a_value_may_have(self, byte):
        """Tabs, spaces and the bytes of UTF-8 or Latin-1 text pass."""
        assert check(make_scope(headers=[(b"a", b"x%cx" % byte)])) is None

    @pytest.mark.parametrize(
        "path",
        [
            "",
            "*",
            "@evil.com/x",
            ".evil.com/x",
            "http://x/",
            ":80@e",
            "x",
            "\\x",
            " /",
            "/a\x00b",
            "/\x00",
            "/\ud800",
        ],
    )
    def test_refuses_a_path(self, path):
        """A path starts with a slash and holds neither NUL nor half characters."""
        refusal = check(make_scope(path=path))

        assert refusal is not None
        assert refusal.status == 400
        assert "path" in refusal.reason

    def test_accepts_the_asterisk_for_options_alone(self):
        assert check(make_scope(method="OPTIONS", path="*")) is None
        assert status_of(make_scope(method="POST", path="*")) == 400
        assert status_of(make_scope(method="OPTIONS", path="*x")) == 400

    @pytest.mark.parametrize("path", ["/", "//x", "/a b", "/é/☃", "/../x", "/\ufffd"])
    def test_accepts_a_path(self, path):
        assert check(make_scope(path=path)) is None

    @pytest.mark.parametrize("scheme", ["javascript", "ws", "wss", "ftp", "http:", 7])
    def test_refuses_a_scheme(self, scheme):
        """Only http and https are schemes of an http scope."""
        assert status_of(make_scope(scheme=scheme)) == 400

    @pytest.mark.parametrize("scheme", ["http", "https", "HTTP", "Https", "", None])
    def test_accepts_a_scheme_in_any_case(self, scheme):
        assert check(make_scope(scheme=scheme)) is None

    @pytest.mark.parametrize("method", ["", "G T", "GET\r\n", "GÉT", "(", "GET\x00"])
    def test_refuses_a_method_that_is_no_token(self, method):
        assert status_of(make_scope(method=method)) == 400

    @pytest.mark.parametrize("method", ["GET", "get", "PROPFIND", "M-SEARCH"])
    def test_accepts_a_method_that_is_a_token(self, method):
        assert check(make_scope(method=method)) is None

    @pytest.mark.parametrize(
        "raw_path",
        [
            b"/a%2Fb",
            b"/a%2fb",
            b"/a%5Cb",
            b"/a%5cb",
            b"/a\\b",
            b"/a%00b",
            b"/.",
            b"/..",
            b"/./a",
            b"/a/../b",
            b"/a/%2e%2E/b",
            b"/a/.%2e",
            b"/a/%2e",
            b"/a/..?x",
        ],
    )
    def test_refuses_an_ambiguous_raw_path_when_strict(self, raw_path):
        """Strict mode refuses what a proxy may read differently; else it passes."""
        scope = make_scope(raw_path=raw_path)

        assert status_of(scope, strict_paths=True) == 400
        assert status_of(scope, strict_paths=False) is None

    @pytest.mark.parametrize(
        "raw_path",
        [
            b"/",
            b"/a.b",
            b"/.well-known/x",
            b"/...",
            b"/a..",
            b"/..a",
            b"/%2ea",
            b"/%25",
        ],
    )
    def test_accepts_a_plain_raw_path_when_strict(self, raw_path):
        assert status_of(make_scope(raw_path=raw_path), strict_paths=True) is None

    @pytest.mark.parametrize("raw_path", [None, b""])
    def test_reads_the_decoded_path_when_strict_without_a_raw_one(self, raw_path):
        """A server that keeps no raw path still gives no dot segments."""
        scope = make_scope(path="/a/../b", raw_path=raw_path)

        assert status_of(scope, strict_paths=True) == 400

    @without_deadline
    @given(
        st.fixed_dictionaries(
            {},
            optional={
                "method": st.text(max_size=4) | st.none(),
                "path": st.text(max_size=8),
                "scheme": st.text(max_size=5) | st.none(),
                "query_string": st.binary(max_size=5) | st.text(max_size=5) | st.none(),
                "raw_path": st.binary(max_size=12) | st.none(),
                "headers": st.lists(
                    st.tuples(
                        st.binary(max_size=6) | st.sampled_from([b"host", b"Origin"]),
                        st.binary(max_size=6),
                    ),
                    max_size=6,
                ),
            },
        )
    )
    def test_answers_every_scope(self, changes):
        """Whatever a client sends gives a refusal or a pass, never another error."""
        scope = {"method": "GET", "path": "/", **changes}
        if scope["method"] is None:
            with pytest.raises(ValueError, match="method"):
                check(scope)
            return

        refusal = check(scope, strict_paths=True)

        assert refusal is None or refusal.status in {400, 431}
        if refusal is not None:
            assert refusal.reason.isprintable()

    def test_works_in_linear_time(self):
        """Four times the headers are four times the calls."""

        def calls(number):
            scope = make_scope(headers=[(b"x-%d" % n, b"v") for n in range(number)])
            return count_calls(
                lambda: check(scope, max_headers=10**6, max_header_bytes=10**9)
            )

        base = calls(0)

        assert calls(4000) - base <= 4 * (calls(1000) - base) + 20

    def test_reads_no_header_when_there_are_too_many(self):
        """The answer to a flood costs the same whatever its length."""
        scope = make_scope(headers=[(b"a", b"b")] * 10_000)

        assert count_calls(lambda: check(scope)) < 30


class TestSplitPath:
    @pytest.mark.parametrize(
        ("path", "root_path", "expected"),
        [
            ("/a/b", "", ("", "/a/b")),
            ("/root/a/", "/root", ("/root", "/a/")),
            ("/root/a/", "/root/", ("/root/", "/a/")),
            ("/root", "/root", ("/root", "/")),
            ("/root", "/root/", ("/root/", "/")),
            ("/root/", "/root", ("/root", "/")),
            ("/rootprefix/a/", "/root", ("/root", "/rootprefix/a/")),
            ("/other", "/root", ("/root", "/other")),
            ("/a", "/", ("/", "/a")),
            ("/", "/", ("/", "/")),
        ],
    )
    def test_splits_at_a_segment_boundary(self, path, root_path, expected):
        """The root goes as a whole segment or not at all."""
        assert split_path(path, root_path) == expected

    @without_deadline
    @given(st.text("/ab", max_size=6), st.text("/ab", max_size=8))
    def test_loses_nothing(self, root_path, rest):
        """Root and rest make the path again, and the rest is an absolute path."""
        path = "/" + rest

        script_name, path_info = split_path(path, root_path)

        assert script_name == root_path
        assert path_info.startswith("/")
        assert path_info == path or root_path.rstrip("/") + path_info in {
            path,
            path + "/",
        }


class TestServer:
    @pytest.mark.parametrize(
        ("server", "scheme", "expected"),
        [
            (None, "http", ("unknown", "0")),
            ((), "http", ("unknown", "0")),
            (["127.0.0.1", 8000], "http", ("127.0.0.1", "8000")),
            (("testserver", "80"), "http", ("testserver", "80")),
            (["::1", 0], "http", ("::1", "0")),
            (["/run/app.sock", None], "http", ("/run/app.sock", "80")),
            (["/run/app.sock", None], "HTTPS", ("/run/app.sock", "443")),
        ],
    )
    def test_names_the_server(self, server, scheme, expected):
        """Name and port are texts; a Unix socket has the port of its scheme."""
        assert server_name_port(server, scheme) == expected

    @pytest.mark.parametrize(
        ("version", "expected"),
        [("1.0", "HTTP/1.0"), ("1.1", "HTTP/1.1"), ("2", "HTTP/2"), ("", "HTTP/1.1")],
    )
    def test_names_the_protocol(self, version, expected):
        assert server_protocol(version) == expected


def naive_range(header: str, size: int) -> tuple[int, int] | Unsatisfiable | None:
    """Take the bytes one by one, as RFC 9110 14.1.2 describes a byte range."""
    unit, equals, spec = header.partition("=")
    first, dash, last = spec.partition("-")
    if unit.lower() != "bytes" or not equals or not dash or size == 0:
        return None
    if any(part and set(part) - set("0123456789") for part in (first, last)):
        return None
    if not first and not last:
        return None
    if first and last and int(last) < int(first):
        return None
    if first:
        chosen = [
            n for n in range(size) if int(first) <= n and (not last or n <= int(last))
        ]
    else:
        chosen = [n for n in range(size) if n >= size - int(last)]
    return (chosen[0], chosen[-1] + 1) if chosen else UNSATISFIABLE


class TestParseRange:
    @pytest.mark.parametrize(
        ("header", "expected"),
        [
            ("bytes=0-0", (0, 1)),
            ("bytes=0-99", (0, 100)),
            ("bytes=0-", (0, 100)),
            ("bytes=99-", (99, 100)),
            ("bytes=10-1000", (10, 100)),
            ("bytes=0-18446744073709551615", (0, 100)),
            ("Bytes=1-2", (1, 3)),
            ("bytes=-1", (99, 100)),
            ("bytes=-1000", (0, 100)),
            ("bytes=100-", UNSATISFIABLE),
            ("bytes=100-200", UNSATISFIABLE),
            ("bytes=-0", UNSATISFIABLE),
            ("bytes=5-4", None),
            ("bytes=200-150", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes", None),
            ("", None),
            ("bytes=0-1,3-4", None),
            ("bytes=0-1,", None),
            ("bytes= 0-1", None),
            ("bytes=0 -1", None),
            ("bytes=0-1\n", None),
            ("bytes=+1-2", None),
            ("bytes=1_0-20", None),
            ("bytes=--1", None),
            ("bytes=٣-٤", None),
            ("byte\u017f=0-1", None),
            ("items=0-1", None),
            ("bytes=0-" + "9" * 5000, None),
        ],
    )
    def test_reads_one_range(self, header, expected):
        """One well-formed range is a slice or 416; everything else is ignored."""
        assert parse_range(header, 100) == expected

    @pytest.mark.parametrize("header", ["bytes=0-", "bytes=-5", "bytes=0-0"])
    def test_ignores_every_range_of_an_empty_file(self, header):
        assert parse_range(header, 0) is None

    @without_deadline
    @given(
        st.one_of(
            st.text("0123456789-,= x", max_size=8),
            st.tuples(st.integers(0, 30), st.integers(0, 30)).map(
                lambda pair: f"{pair[0]}-{pair[1]}"
            ),
            st.integers(0, 30).map("{}-".format),
            st.integers(0, 30).map("-{}".format),
        ),
        st.integers(0, 25),
    )
    def test_equals_the_naive_model(self, spec, size):
        """The slice holds exactly the bytes that the specification names."""
        header = "bytes=" + spec

        assert parse_range(header, size) == naive_range(header, size)


def test_refusal_has_no_other_attributes():
    """What is told besides would reach nobody."""
    refusal = Refusal(400, "x")

    assert (refusal.status, refusal.reason) == (400, "x")
    with pytest.raises(AttributeError):
        refusal.detail = "y"  # type: ignore[attr-defined]  # the error is the test


def test_names_the_common_headers_in_lower_case():
    """The table's keys are what servers send; each is its own META key."""
    keys = rules._META_KEYS

    assert all(name == name.lower() for name in keys)
    assert len(set(keys.values())) == len(keys)
    assert all(
        meta_from_headers([(n.title(), b"")]) == {k: ""} for n, k in keys.items()
    )
