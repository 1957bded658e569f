"""What a message may contain, and how an error names what it may not."""

import datetime
import enum
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_bridge.exceptions import BadMessage
from django_asgi_bridge.protocol.messages import check_frame, check_message


class Colour(enum.StrEnum):
    RED = "red"


class Broken:
    def __repr__(self):
        raise RuntimeError


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"a": [0, 1, 2, object]}, "message['a'][3] is <class 'object'> of type type"),
        ({"a": {"b": {1}}}, "message['a']['b'] is {1} of type set"),
        ({"a": math.nan}, "message['a'] is nan; it must be finite"),
        ({"a": [math.inf]}, "message['a'][0] is inf"),
        ({"a": -math.inf}, "message['a'] is -inf"),
        ({"a": 2**63}, "message['a'] is an integer of 64 bits; it must be from -2**63"),
        ({"a": -(2**63) - 1}, "message['a'] is an integer of 64 bits"),
        ({"a": 10**5000}, "message['a'] is an integer of 16610 bits"),
        ({1: "a"}, "message has the key 1 of type int; keys must be str"),
        ({"a": [{None: 1}]}, "message['a'][0] has the key None of type NoneType"),
        ({"a": {b"b": 1}}, "message['a'] has the key b'b' of type bytes"),
        ({"a": "x\ud800"}, "message['a'] has the lone surrogate '\\ud800' at posit"),
        ({"a": ["\udfff"]}, "message['a'][0] has the lone surrogate"),
        ({"\ud800": 1}, "message['\\ud800'] has the lone surrogate"),
        ({"a": datetime.date(2026, 1, 2)}, "of type date; it must be str, bytes"),
        ({"a": bytearray(b"b")}, "of type bytearray"),
        ({"a": Broken()}, "message['a'] is of type Broken"),
        ({"a": ("b", {"c": (1, math.nan)})}, "message['a'][1]['c'][1] is nan"),
        ("text", "message is 'text' of type str; a message is a dict"),
        ([("type", "a")], "of type list; a message is a dict"),
    ],
)
def test_message_is_refused_with_the_path_of_what_is_wrong(message, expected):
    with pytest.raises(BadMessage) as caught:
        check_message(message)

    assert expected in str(caught.value)


def test_message_is_refused_under_the_name_it_is_given():
    with pytest.raises(BadMessage, match=r"^event\['a'\] is nan"):
        check_message({"a": math.nan}, noun="event")


@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"a": b"b"}, r"message\['a'\]"),
        ({"a": [{"b": (b"c",)}]}, r"message\['a'\]\[0\]\['b'\]\[0\]"),
    ],
)
def test_bytes_are_refused_when_the_format_has_none(message, path):
    check_message(message)

    with pytest.raises(BadMessage, match=f"{path} is .* it must be str, int, float"):
        check_message(message, allows_bytes=False)


def test_error_shows_the_beginning_of_a_long_value():
    with pytest.raises(BadMessage) as caught:
        check_message({"a": set(range(10_000))})

    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"type": "a", "n": None, "b": b"\xff", "t": True, "f": -0.5, "u": "ü🌍"},
        {"a": 2**63 - 1, "b": -(2**63)},
        {"a": (1, [2, {"b": ()}])},
        {"a": Colour.RED, "ü": 1},
    ],
)
def test_message_is_accepted_when_asgi_allows_it(message):
    check_message(message)


def test_message_is_refused_when_it_contains_itself():
    message: dict[str, object] = {"type": "a"}
    message["self"] = [message]

    with pytest.raises(BadMessage, match="beyond 500 levels"):
        check_message(message)


def test_message_is_refused_when_it_is_deeper_than_the_stack():
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(BadMessage, match="beyond 500 levels"):
        check_message({"a": value})


valid = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary(),
    lambda items: st.lists(items) | st.dictionaries(st.text(), items),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), valid))
def test_message_is_accepted_whatever_it_is_made_of(message):
    check_message(message)


@given(
    st.dictionaries(st.text(), valid, min_size=1),
    st.sampled_from([math.nan, 2**64, set(), object(), "\ud800", {1: 2}]),
    st.data(),
)
def test_message_is_refused_wherever_the_wrong_value_stands(message, wrong, data):
    key = data.draw(st.sampled_from(sorted(message)))
    message[key] = [message[key], {"k": wrong}]

    with pytest.raises(BadMessage) as caught:
        check_message(message)

    assert f"message[{key!r}][1]['k']" in str(caught.value)


@pytest.mark.parametrize(
    "frame",
    [{"text": "a"}, {"text": ""}, {"bytes": b""}, {"text": None, "bytes": b"a"}],
)
def test_frame_is_accepted_with_exactly_one_content(frame):
    check_frame({"type": "websocket.send", **frame})


@pytest.mark.parametrize(
    ("frame", "expected"),
    [
        ({}, "neither of 'text' and 'bytes'"),
        ({"text": None, "bytes": None}, "neither of 'text' and 'bytes'"),
        ({"text": "", "bytes": b""}, "both of 'text' and 'bytes'"),
        ({"text": b"a"}, r"message\['text'\] is b'a' of type bytes; it must be a str"),
        ({"bytes": "a"}, r"message\['bytes'\] is 'a' of type str; it must be bytes"),
    ],
)
def test_frame_is_refused_when_its_content_is_wrong(frame, expected):
    with pytest.raises(BadMessage, match=expected):
        check_frame({"type": "websocket.send", **frame})
