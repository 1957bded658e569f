"""Names of channels and groups, and safe names from user text."""

import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_asgi_bridge.protocol import names

ALPHABET = string.ascii_letters + string.digits + "-_."


@pytest.mark.parametrize(
    "name",
    ["room", "a", "A-b_c.9", "specific..inmemory!abc", "prefix!", "a!-_.9"],
)
def test_channel_name_is_accepted_when_it_is_ascii_with_one_mark(name):
    assert names.CHANNEL_NAME.match(name)


@pytest.mark.parametrize(
    "name",
    ["", "!", "!a", "a!b!c", "a b", "a\n", "a!b\n", "\na", "é", "a!é", "a٣", "a!٣"],
)
def test_channel_name_is_refused_when_any_character_is_foreign(name):
    assert not names.CHANNEL_NAME.match(name)


@pytest.mark.parametrize("name", ["", "a!b", "a b", "a\n", "٣", "ä", "a/b", "a:b"])
def test_group_name_is_refused_when_any_character_is_foreign(name):
    assert not names.GROUP_NAME.match(name)


@given(st.text())
def test_group_name_pattern_agrees_with_its_alphabet(name):
    expected = bool(name) and all(letter in ALPHABET for letter in name)

    assert bool(names.GROUP_NAME.match(name)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b!c", "a.b!"), ("a!", "a!"), ("abc", "abc"), ("", "")],
)
def test_non_local_name_ends_at_the_mark(name, expected):
    assert names.non_local_name(name) == expected


@pytest.mark.parametrize(("name", "expected"), [("a!b", True), ("a!", True), ("a", 0)])
def test_is_process_local_looks_for_the_mark(name, expected):
    assert names.is_process_local(name) == expected


@pytest.mark.parametrize(
    ("name", "allows_mark", "expected"),
    [
        ("room 1", False, "got 'room 1', with ' ' at position 4"),
        ("a!b", False, "got 'a!b', with '!' at position 1"),
        ("a!b!c", True, "got 'a!b!c', with '!' at position 3"),
        ("!a", True, "got '!a', which begins with '!'"),
        ("", False, "got an empty name"),
        (5, False, "got 5 of type int"),
        ("x" * 100, False, "got 100 characters: " + repr("x" * 100)),
    ],
)
def test_first_fault_says_what_is_wrong(name, allows_mark, expected):
    assert names.first_fault(name, allows_mark=allows_mark) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        (("chat", "lobby"), "chat.lobby"),
        (("user", 7), "user.7"),
        (("room-1_A",), "room-1_A"),
    ],
)
def test_group_name_stays_readable_when_parts_are_plain(parts, expected):
    assert names.group_name(*parts) == expected


@pytest.mark.parametrize(
    "parts",
    [
        ("chat", "Caffè, 2"),
        ("",),
        ("a" * 300,),
        ("chat", "\n"),
        ("a.b",),
        ("x", "\ud800"),
    ],
)
def test_group_name_has_a_digest_when_parts_are_not_plain(parts):
    name = names.group_name(*parts)

    assert re.search(r"\.\.[0-9a-f]{32}\Z", name)
    assert name == names.group_name(*parts)


def test_group_name_keeps_apart_what_would_look_alike():
    """A text that spells another's escaped name gets a name of its own."""
    escaped = names.group_name("room 1")

    found = {
        escaped,
        names.group_name(escaped),
        names.group_name("room-1"),
        names.group_name("room", "1"),
        names.group_name("room.1"),
        names.group_name("ab", "c d"),
        names.group_name("a", "bc d"),
    }

    assert len(found) == 7


def test_group_name_refuses_no_parts():
    with pytest.raises(ValueError, match="no parts"):
        names.group_name()


texts = st.lists(
    st.text() | st.text(alphabet=ALPHABET) | st.text(alphabet=ALPHABET, min_size=90),
    min_size=1,
    max_size=3,
)


@given(texts, texts)
def test_group_name_is_valid_and_different_for_different_parts(one, two):
    first, second = names.group_name(*one), names.group_name(*two)

    assert names.GROUP_NAME.match(first)
    assert len(first) < names.MAX_NAME_LENGTH
    assert (first == second) == (one == two)
