"""Copies of messages: equal to deepcopy's, and nothing that can change is shared."""

import collections
import copy
import datetime
import decimal
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_bridge.layers.copies import is_flat, isolated


class Point:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return type(other) is Point and self.x == other.x

    def __hash__(self):
        raise TypeError


class Text(str):
    """A string that can change: it has attributes."""

    __slots__ = ("__dict__",)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.datetimes()
    | st.dates()
    | st.uuids()
)
values = st.recursive(
    scalars | st.builds(Point, scalars) | st.sets(st.integers()),
    lambda items: (
        st.lists(items)
        | st.dictionaries(st.text(), items)
        | st.tuples(items, items)
        | st.builds(Point, items)
        | st.lists(items).map(collections.deque)
    ),
    max_leaves=15,
)


def changeable(value, found=None):
    """Return the ids of everything in a value that can change."""
    found = {} if found is None else found
    if id(value) in found:
        return found
    if isinstance(value, dict | list | set | collections.deque | Point):
        found[id(value)] = value
    if isinstance(value, dict):
        value = [*value, *value.values()]
    if isinstance(value, Point):
        value = [value.x]
    if isinstance(value, list | tuple | set | collections.deque):
        for item in value:
            changeable(item, found)
    return found


@given(st.dictionaries(st.text(), values))
def test_copy_is_equal_and_shares_nothing_that_can_change(message):
    copied = isolated(message)

    assert copied == message == copy.deepcopy(message)
    assert not changeable(copied).keys() & changeable(message).keys()


@given(st.dictionaries(st.text(), values))
def test_message_is_flat_only_when_a_shallow_copy_shares_nothing(message):
    if is_flat(message):
        shallow = dict(message)
        assert not changeable(shallow).keys() & changeable(message).keys()


@pytest.mark.parametrize(
    "value",
    [
        1,
        "a",
        b"a",
        None,
        datetime.date(2026, 1, 1),
        decimal.Decimal(1),
        uuid.UUID(int=1),
    ],
)
def test_message_is_flat_when_its_values_are_plain(value):
    assert is_flat({"type": "a", "value": value})
    assert isolated({"value": value})["value"] is value


@pytest.mark.parametrize("value", [[], {}, (), set(), Point(1), Text("a"), bytearray()])
def test_message_is_not_flat_when_a_value_may_change(value):
    assert not is_flat({"type": "a", "value": value})


@pytest.mark.parametrize(
    "message", [collections.OrderedDict(a=1), {Text("a"): 1}, {("a",): 1}]
)
def test_message_is_not_flat_when_it_or_a_key_is_of_another_kind(message):
    copied = isolated(message)

    assert not is_flat(message)
    assert copied == message
    assert type(copied) is type(message)


def test_copy_of_a_subclass_keeps_its_type_and_attributes():
    text = Text("a")
    text.tags = [1]

    copied = isolated({"text": text})["text"]
    text.tags.append(2)

    assert type(copied) is Text
    assert copied.tags == [1]


def test_copy_of_a_key_that_can_change_is_its_own():
    key = Text("a")
    key.tags = [1]

    (copied,) = isolated({key: []})

    assert copied == key
    assert copied.tags is not key.tags


def test_what_stands_twice_stands_twice_in_the_copy():
    shared = [1]
    message = {"a": shared, "b": [shared], "c": Point(shared), "d": (shared,)}

    copied = isolated(message)

    assert copied["a"] is copied["b"][0] is copied["c"].x is copied["d"][0]
    assert copied["a"] is not shared


def test_message_that_contains_itself_is_copied_as_such():
    message: dict[str, object] = {"list": []}
    message["self"] = message
    message["list"].append(message["list"])

    copied = isolated(message)

    assert copied["self"] is copied
    assert copied["list"][0] is copied["list"]
    assert copied is not message


def iter_nothing():
    yield


def test_value_that_cannot_be_copied_raises_what_deepcopy_raises():
    message = {"a": [iter_nothing()]}

    with pytest.raises(TypeError, match="generator"):
        isolated(message)
