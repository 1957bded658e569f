"""The rules for responses: hostile headers, framing and event order, without a server."""

import itertools
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_asgi_bridge.exceptions import BridgeError
from django_asgi_bridge.protocol import response as rules
from django_asgi_bridge.protocol.length import ContentLengthGuard
from django_asgi_bridge.protocol.response import (
    BadResponse,
    ResponseState,
    check_status,
    encode_headers,
    has_body,
    state_after,
)

# Hypothesis' own deadline is a wall clock, which a loaded machine misses.
without_deadline = settings(deadline=None)

Item = tuple[str | bytes, str | bytes]

TOKEN_CHARACTERS = (
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

CONTROLS = [*range(0x09), *range(0x0A, 0x20), 0x7F]

HOP_BY_HOP = [
    "Keep-Alive",
    "Proxy-Authenticate",
    "Proxy-Authorization",
    "Proxy-Connection",
    "TE",
    "Trailer",
    "Transfer-Encoding",
    "Upgrade",
]

names = st.text(TOKEN_CHARACTERS, min_size=1, max_size=12).filter(
    lambda name: (
        name.lower() not in {"connection", "content-length"}
        and name.title() not in {*map(str.title, HOP_BY_HOP)}
        and not name.lower().startswith("proxy-")
    )
)
values = st.text(
    st.characters(max_codepoint=0xFF, exclude_categories=["Cc"]), max_size=20
).map(lambda value: value.strip(" \t"))


def encode_one(name, value, *, lower=False):
    are_text = isinstance(name, str) and isinstance(value, str)
    return encode_headers([(name, value)], lower=lower, are_text=are_text)[0]


def forget_values(monkeypatch):
    """Begin with nothing remembered, and leave nothing of the test's behind."""
    for table in ("_NAMES", "_LOWER_NAMES", "_PAIRS", "_LOWER_PAIRS", "_PLACES"):
        monkeypatch.setattr(rules, table, {})


class TestEncodeHeaders:
    def test_keeps_case_order_and_repetition(self):
        """HTTP/1.1 clients see the headers as the view wrote them."""
        items: list[Item] = [
            ("Content-Type", "text/html; charset=utf-8"),
            ("X-Own", "é\tü"),
            ("x-own", b"2"),
            (b"ETAG", '"1"'),
        ]

        encoded = encode_headers(items, ["a=1; Path=/", "b=é"], lower=False)

        assert encoded[0] == [
            (b"Content-Type", b"text/html; charset=utf-8"),
            (b"X-Own", b"\xe9\t\xfc"),
            (b"x-own", b"2"),
            (b"ETAG", b'"1"'),
            (b"Set-Cookie", b"a=1; Path=/"),
            (b"Set-Cookie", b"b=\xe9"),
        ]
        assert encoded[1] == ()
        assert encoded[2] is None

    def test_lowers_names_alone_for_http_2(self):
        """RFC 9113 8.2: names are lower case, values are untouched."""
        items: list[Item] = [
            ("Content-Type", "Text/HTML"),
            (b"X-Own", "A"),
            ("ETag", '"A"'),
        ]

        encoded = encode_headers(items, ["A=B"], lower=True)

        assert encoded[0] == [
            (b"content-type", b"Text/HTML"),
            (b"x-own", b"A"),
            (b"etag", b'"A"'),
            (b"set-cookie", b"A=B"),
        ]

    @without_deadline
    @given(
        st.lists(st.tuples(names, values | values.map(lambda v: v.encode()))),
        st.lists(values),
    )
    def test_puts_out_what_went_in(self, items, cookies):
        """Every valid list of headers leaves as it came: order, case, number."""
        plain = encode_headers(items, cookies, lower=False)
        lower = encode_headers(items, cookies, lower=True)

        expected = [
            (name.encode(), v if isinstance(v, bytes) else v.encode("latin-1"))
            for name, v in [*items, *(("Set-Cookie", cookie) for cookie in cookies)]
        ]
        assert plain[0] == expected
        assert lower[0] == [(name.lower(), value) for name, value in expected]
        assert plain[1] == lower[1] == ()

    @without_deadline
    @given(st.text() | st.binary(), st.text() | st.binary(), st.booleans())
    def test_lets_no_forbidden_byte_through(self, name, value, lower):
        """Whatever a view writes is either sent clean or refused."""
        try:
            headers = encode_one(name, value, lower=lower)
        except BadResponse:
            return

        for sent_name, sent_value in headers:
            assert set(sent_name.decode()) <= set(TOKEN_CHARACTERS)
            assert sent_name
            assert not set(sent_value) & set(CONTROLS)
            assert sent_value == sent_value.strip(b" \t")

    @pytest.mark.parametrize("byte", CONTROLS)
    @pytest.mark.parametrize("template", ["{}", "a{}", "{}a", "a{}b", "a\r\n{}"])
    @pytest.mark.parametrize("kind", [str, bytes])
    def test_refuses_a_control_character_in_a_value(self, kind, template, byte):
        """CR, LF, NUL and their like would split the response."""
        value = template.format(chr(byte))

        with pytest.raises(BadResponse, match=r"'X-Own'.*control character"):
            encode_one("X-Own", value if kind is str else value.encode("latin-1"))

    @pytest.mark.parametrize("byte", CONTROLS)
    def test_refuses_a_control_character_in_a_cookie(self, byte):
        with pytest.raises(BadResponse, match=r"'Set-Cookie'.*control character"):
            encode_headers([], [f"a=1; Path=/{chr(byte)}"], lower=False)

    @pytest.mark.parametrize(
        "name",
        [
            "",
            b"",
            "X Own",
            " X-Own",
            "X-Own ",
            "X:Own",
            "X-Own:",
            "X-Own\r\nY",
            "X\n",
            b"X\n",
            "X\x00",
            "X\x7f",
            "X\x85",
            b"X\x85",
            "Ä",
            "☃",
            "X,Y",
            "(X)",
        ],
        ids=repr,
    )
    @pytest.mark.parametrize("lower", [False, True])
    def test_refuses_a_name_that_is_no_token(self, name, lower):
        """The message shows the name and what one may consist of."""
        with pytest.raises(BadResponse) as caught:
            encode_one(name, "1", lower=lower)

        assert f"name {name!r} is not valid" in str(caught.value)

    @pytest.mark.parametrize("value", ["☃", "a☃", "\u0100", "\ud800", "\u2028"])
    def test_refuses_a_value_outside_latin_1(self, value):
        """The message shows the character and where it is."""
        with pytest.raises(BadResponse, match=r"position . is not in Latin-1") as bad:
            encode_one("X-Own", value)
        assert isinstance(bad.value.__cause__, UnicodeEncodeError)
        with pytest.raises(BadResponse, match=r"'Set-Cookie'.*not in Latin-1"):
            encode_headers([], [f"a={value}"], lower=False)

    @pytest.mark.parametrize("value", [None, 7, ["a"], bytearray(b"a")], ids=repr)
    def test_refuses_a_value_of_another_type(self, value):
        with pytest.raises(BadResponse, match="expected str or bytes"):
            encode_one("X-Own", value)

    @pytest.mark.parametrize("value", ["a\x85b", "\x85", b"\x85", b"\xc3\x85\x85"])
    def test_refuses_a_line_end_outside_utf_8(self, value):
        """NEL ends a line for some readers of logs and headers."""
        with pytest.raises(BadResponse, match="byte 0x85"):
            encode_one("X-Own", value)

    @pytest.mark.parametrize("value", ["Å…", "a Å"])
    def test_keeps_byte_0x85_in_utf_8(self, value):
        """Text that a view encoded itself is not torn apart."""
        assert encode_one("X-Own", value.encode()) == [(b"X-Own", value.encode())]

    @pytest.mark.parametrize("value", [" a", "\ta", b" a", b"\ta", " ", "\t \t"])
    def test_refuses_white_space_in_front(self, value):
        with pytest.raises(BadResponse, match="starts with white space"):
            encode_one("X-Own", value)

    @pytest.mark.parametrize("value", ["a ", "a\t", b"a \t "])
    def test_strips_white_space_at_the_end(self, value):
        """It is no part of the value, and policies joined from parts end in it."""
        assert encode_one("X-Own", value) == [(b"X-Own", b"a")]

    def test_refuses_a_value_that_no_client_reads(self):
        """64 KiB is the longest value."""
        longest = "a" * 65536

        assert encode_one("X-Own", longest) == [(b"X-Own", longest.encode())]
        with pytest.raises(BadResponse, match="65537 bytes, more than 65536"):
            encode_one("X-Own", longest + "a")

    def test_cuts_long_values_in_messages(self):
        """A message names the header and at most 80 characters of its value."""
        with pytest.raises(BadResponse) as caught:
            encode_one("X-Own", "v" * 500 + "\n")
        with pytest.raises(BadResponse) as caught_name:
            encode_one("é" * 500, "v")

        assert "'X-Own'" in str(caught.value)
        assert "v" * 70 in str(caught.value)
        assert "v" * 80 not in str(caught.value)
        assert "é" * 80 not in str(caught_name.value)

    @pytest.mark.parametrize("name", ["Set-Cookie", "SET-COOKIE"])
    def test_keeps_cookie_values_out_of_messages(self, name):
        """The message is logged, and a session key is a secret."""
        with pytest.raises(BadResponse) as caught:
            encode_one(name, "sessionid=secret; Path=\n")
        with pytest.raises(BadResponse) as caught_cookie:
            encode_headers([], ["sessionid=secret☃"], lower=False)

        for error in (caught, caught_cookie):
            assert "'sessionid=...'" in str(error.value)
            assert "secret" not in str(error.value)
            assert "secret" not in repr(error.value)

    @pytest.mark.parametrize("name", HOP_BY_HOP)
    @pytest.mark.parametrize("change", [str, str.lower, str.upper, str.encode])
    @pytest.mark.parametrize("lower", [False, True])
    def test_drops_hop_by_hop_headers(self, name, change, lower):
        """They belong to the server's connection; the caller learns their names."""
        items = [("A", "1"), (change(name), "chunked"), ("B", "2")]

        encoded = encode_headers(items, lower=lower)

        assert [name.upper() for name, _ in encoded[0]] == [b"A", b"B"]
        assert [name.lower() for name in encoded[1]] == [name.lower()]

    @pytest.mark.parametrize("value", ["close", "Close", "close\t", b"close"])
    def test_keeps_connection_close_on_http_1(self, value):
        """A view may ask for the end of the connection; HTTP/2 has no such header."""
        kept = encode_headers([("connection", value)], lower=False)
        dropped = encode_headers([("Connection", value)], lower=True)

        assert [name for name, _ in kept[0]] == [b"connection"]
        assert kept[1] == ()
        assert dropped[0] == []
        assert dropped[1] == ("connection",)

    @pytest.mark.parametrize("value", ["keep-alive", "close, X-Own", "Upgrade", ""])
    def test_drops_every_other_connection_header(self, value):
        encoded = encode_headers([("Connection", value)], lower=False)

        assert encoded[0] == []
        assert encoded[1] == ("Connection",)

    @pytest.mark.parametrize("name", ["TE2", "Trailers", "Upgrade-X", "X-Proxy-A"])
    def test_keeps_names_that_only_look_like_hop_by_hop(self, name):
        assert encode_one(name, "1") == [(name.encode(), b"1")]

    @pytest.mark.parametrize(
        "name", ["Content-Length", "content-length", b"CONTENT-LENGTH"]
    )
    @pytest.mark.parametrize("lower", [False, True])
    def test_reads_the_content_length(self, name, lower):
        """The caller gets the announced length as a number."""
        encoded = encode_headers([("A", "1"), (name, "12")], lower=lower)

        assert encoded[2] == 12
        assert len(encoded[0]) == 2

    @pytest.mark.parametrize(
        "value", ["", "-1", "+1", "1.0", "0x1", "1_0", "1,1", "9" * 19, "\xb2"]
    )
    def test_refuses_a_content_length_that_is_no_number(self, value):
        with pytest.raises(BadResponse, match=r"'Content-Length'.*decimal digits"):
            encode_one("Content-Length", value)

    def test_refuses_a_second_content_length(self):
        """Two lengths, equal or not, are an invitation to split the response."""
        items: list[Item] = [("Content-Length", "0"), (b"content-length", b"0")]

        with pytest.raises(BadResponse, match="a second one, after 0"):
            encode_headers(items, lower=False)

    @pytest.mark.parametrize("lower", [False, True])
    @pytest.mark.parametrize("name", ["ETag", "vary", "Content-Length", "X-Own"])
    def test_remembers_names_after_their_check(self, name, lower, monkeypatch):
        """A name that was sent before leads to the same header."""
        forget_values(monkeypatch)
        first, again = (encode_one(name, "1", lower=lower) for _ in range(2))

        assert again == first == [((name.lower() if lower else name).encode(), b"1")]
        assert name in (rules._LOWER_NAMES if lower else rules._NAMES)

    def test_remembers_few_names(self, monkeypatch):
        """Nobody fills the memory with names, and the rest are sent as well."""
        forget_values(monkeypatch)
        names = [f"X-{number}" for number in range(200)]
        encoded = [encode_one(name, "1") for name in names]

        assert encoded == [[(name.encode(), b"1")] for name in names]
        assert len(rules._NAMES) == 128

    def test_others_take_no_place_of_names_whose_values_repeat(self, monkeypatch):
        """Nor do the cases that these may be written in fill the memory."""
        forget_values(monkeypatch)
        for number in range(200):
            encode_one(f"X-{number}", "1")

        first, again = (encode_one("Vary", "Origin")[0] for _ in range(2))
        for case in itertools.product(
            *zip("cache-control", "CACHE+CONTROL", strict=True)
        ):
            encode_one("".join(case).replace("+", "-"), "1")

        assert again is first
        assert len(rules._NAMES) == 256

    def test_remembers_no_name_that_is_refused(self, monkeypatch):
        forget_values(monkeypatch)
        for _ in range(2):
            with pytest.raises(BadResponse, match="'X Own'"):
                encode_one("X Own", "1")

        assert rules._NAMES == {}

    def test_remembers_values_that_repeat_after_their_check(self, monkeypatch):
        """The same header is made once; with another name it is another."""
        forget_values(monkeypatch)
        first, again = (encode_one("Vary", "Origin")[0] for _ in range(2))
        other, lowered = encode_one("Allow", "Origin"), encode_one("vary", "Origin")

        assert again is first == (b"Vary", b"Origin")
        assert other == [(b"Allow", b"Origin")]
        assert lowered == [(b"vary", b"Origin")]
        assert encode_one("Vary", "Origin", lower=True) == lowered
        assert encode_one("Vary", b"Origin") == [first]

    @pytest.mark.parametrize("value", ["a\r\nSet-Cookie: b=1", "☃", " a", "\x85"])
    def test_refuses_a_bad_value_again_and_again(self, value, monkeypatch):
        """What is remembered passed the checks."""
        forget_values(monkeypatch)
        for _ in range(3):
            with pytest.raises(BadResponse, match="'Vary'"):
                encode_one("Vary", value)

        assert rules._PAIRS == {}

    def test_remembers_few_and_short_values(self, monkeypatch):
        """Nobody fills the memory with values, and the rest are sent as well."""
        forget_values(monkeypatch)
        values = [*map(str, range(100)), "a" * 257]
        encoded = [encode_one("Vary", value) for value in reversed(values)]

        assert encoded == [[(b"Vary", value.encode())] for value in reversed(values)]
        assert len(rules._PAIRS) == 32
        assert ("Vary", "a" * 257) not in rules._PAIRS

    def test_remembers_plain_text_alone(self, monkeypatch):
        """Other text may hold a request on, and white space is no part of a value."""
        forget_values(monkeypatch)

        class Text(str):
            __slots__ = ("request",)

        encoded = [
            encode_one(Text("Vary"), "Origin"),
            encode_one("Vary", Text("Origin")),
            encode_one("Vary", "Origin" + " " * 256),
        ]

        assert encoded == [[(b"Vary", b"Origin")]] * 3
        assert rules._PAIRS == {}

    @pytest.mark.parametrize("name", ["Location", "Set-Cookie", "ETag", "X-Own"])
    def test_remembers_no_value_that_may_be_a_secret(self, name, monkeypatch):
        forget_values(monkeypatch)
        encode_one(name, "secret")

        assert rules._PAIRS == {}

    def test_values_in_the_cases_of_a_name_share_its_places(self, monkeypatch):
        """A view that writes a name as clients do fills no memory with values."""
        forget_values(monkeypatch)
        for case in itertools.product(*zip("vary", "VARY", strict=True)):
            for value in range(4):
                encode_one("".join(case), str(value))

        assert len(rules._PAIRS) == 32

    def test_text_and_bytes_of_the_same_letters_are_not_compared(self, monkeypatch):
        """``python -bb`` forbids it, and their hash is the same."""
        forget_values(monkeypatch)

        class Name(bytes):
            __hash__ = bytes.__hash__

            def __eq__(self, other: object) -> bool:
                assert not isinstance(other, str)
                return super().__eq__(other)

        encode_one("Vary", "Origin")

        assert encode_one(Name(b"Vary"), b"Origin") == [(b"Vary", b"Origin")]

    def test_raises_an_error_of_both_families(self):
        """Callers may catch it as the package's error or as a ValueError."""
        assert issubclass(BadResponse, BridgeError)
        assert issubclass(BadResponse, ValueError)


class TestStatus:
    @pytest.mark.parametrize(
        ("method", "status", "expected"),
        [
            ("GET", 200, True),
            ("POST", 500, True),
            ("GET", 203, True),
            ("GET", 205, True),
            ("GET", 304, False),
            ("GET", 204, False),
            ("HEAD", 200, False),
            ("HEAD", 404, False),
            ("OPTIONS", 200, True),
            (None, 200, True),
        ],
    )
    def test_knows_which_responses_have_a_body(self, method, status, expected):
        assert has_body(method, status) is expected

    @pytest.mark.parametrize("status", [100, 101, 103, 199])
    def test_refuses_an_interim_status_as_the_final_one(self, status):
        for refuses in (check_status, partial(has_body, "GET")):
            with pytest.raises(BadResponse, match=f"{status} is interim"):
                refuses(status)

    @pytest.mark.parametrize("status", [-1, 0, 99, 600, 1000])
    def test_refuses_a_status_outside_http(self, status):
        for refuses in (check_status, partial(has_body, "GET")):
            with pytest.raises(BadResponse, match=f"{status} is not valid"):
                refuses(status)

    @pytest.mark.parametrize("status", [200, 204, 304, 404, 599])
    def test_accepts_a_final_status(self, status):
        check_status(status)


class TestContentLengthGuard:
    @without_deadline
    @given(st.lists(st.binary(max_size=5)))
    def test_lets_the_announced_bytes_through(self, chunks):
        """A body of the right length passes unchanged, however it is cut."""
        guard = ContentLengthGuard(len(b"".join(chunks)))

        sent = [guard.take(chunk) for chunk in chunks]
        guard.finish()

        assert sent == chunks

    @without_deadline
    @given(st.lists(st.binary(max_size=5)), st.integers(0, 20))
    def test_never_lets_a_byte_too_many_through(self, chunks, declared):
        """The chunk that is too long is refused whole, before it is sent."""
        guard = ContentLengthGuard(declared)
        sent = b""

        try:
            for chunk in chunks:
                sent += guard.take(chunk)
        except BadResponse:
            assert len(b"".join(chunks)) > declared
        else:
            assert sent == b"".join(chunks)
        assert len(sent) == guard.taken <= declared

    def test_names_both_lengths(self):
        """The message says what was announced and what came."""
        guard = ContentLengthGuard(3)
        guard.take(b"ab")

        with pytest.raises(BadResponse, match=r"ended after 2 bytes.*announced 3"):
            guard.finish()
        with pytest.raises(BadResponse, match=r"has 4 bytes or more.*announced 3"):
            guard.take(b"cd")
        assert guard.take(b"c") == b"c"
        guard.finish()


START = ("http.response.start", False)
START_T = ("http.response.start", True)
MORE = ("http.response.body", True)
LAST = ("http.response.body", False)
TRAILERS = ("http.response.trailers", False)
TRAILERS_MORE = ("http.response.trailers", True)
HINT = ("http.response.early_hint", False)
PUSH = ("http.response.push", False)
DEBUG = ("http.response.debug", False)
PATH = ("http.response.pathsend", False)
ZERO_MORE = ("http.response.zerocopysend", True)
ZERO = ("http.response.zerocopysend", False)
EVENTS = {
    "s": START,
    "S": START_T,
    "b": MORE,
    "B": LAST,
    "t": TRAILERS_MORE,
    "T": TRAILERS,
    "h": HINT,
    "p": PUSH,
    "d": DEBUG,
    "f": PATH,
    "z": ZERO_MORE,
    "Z": ZERO,
}


def state_of(events):
    """Return the state after these events."""
    state: ResponseState = "waiting"
    for letter in events:
        state = state_after(state, *EVENTS[letter])
    return state


class TestStateAfter:
    @pytest.mark.parametrize(
        "events",
        [
            *("sB", "sbbB", "hhdsB", "sf", "szZ", "sbzB", "psB", "spbpB"),
            *("SBT", "SbBttT", "SfT", "SZT", "SBpT"),
        ],
    )
    def test_accepts_an_order_of_the_specification(self, events):
        """A complete response ends in ``done``."""
        assert state_of(events) == "done"

    @pytest.mark.parametrize(
        ("before", "event"),
        [
            ("", MORE),
            ("", LAST),
            ("", PATH),
            ("", ZERO),
            ("", TRAILERS),
            ("s", START),
            ("s", START_T),
            ("sb", START),
            ("sB", START),
            ("sB", MORE),
            ("sB", LAST),
            ("sB", TRAILERS),
            ("sB", PUSH),
            ("s", TRAILERS),
            ("S", TRAILERS),
            ("Sb", TRAILERS),
            ("SB", LAST),
            ("SBT", TRAILERS),
            ("s", HINT),
            ("sb", HINT),
            ("s", DEBUG),
            ("sb", PATH),
            ("Sb", PATH),
            ("sf", LAST),
            ("sZ", ZERO),
            ("", ("http.response.unheard_of", False)),
            ("", ("websocket.accept", False)),
        ],
    )
    def test_refuses_an_event_out_of_order(self, before, event):
        """The message names state and event."""
        state = state_of(before)

        with pytest.raises(BadResponse) as caught:
            state_after(state, *event)

        assert repr(event[0]) in str(caught.value)
        assert state in str(caught.value)

    def test_knows_when_another_response_is_too_late(self):
        """From the start on, an error page can no longer be sent."""
        assert state_of("hdp") == "waiting"
        assert state_of("hs") == "started"

    def test_starts_once_and_ends_once_in_every_order(self):
        """All accepted sequences of up to five events have one start, in front."""
        for letters in itertools.product("sSbBTph", repeat=5):
            state: ResponseState = "waiting"
            accepted = ""
            for letter in letters:
                try:
                    state = state_after(state, *EVENTS[letter])
                except BadResponse:
                    continue
                accepted += letter
            starts = [letter for letter in accepted if letter in "sS"]
            assert len(starts) <= 1
            if starts:
                before, _, after = accepted.partition(starts[0])
                assert not set(before) & set("bBT")
                assert "h" not in after
                assert after.count("B") <= 1
                assert "b" not in after.partition("B")[2]
                assert "T" not in after or starts == ["S"]
