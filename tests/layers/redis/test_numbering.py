"""Numbers begin at 1 for each group, under a name that nobody else has."""

import pytest

from django_asgi_bridge.layers.redis import numbering
from django_asgi_bridge.layers.redis.numbering import Numbering


def test_each_group_is_numbered_from_1():
    own = Numbering()

    assert [own.next("a")[1], own.next("b")[1], own.next("a")[1]] == [1, 1, 2]
    assert own.next("a")[0] == own.next("a")[0]


@pytest.mark.parametrize("why", ["forgotten", "another process"])
def test_sender_has_a_new_name_when_it_begins_anew(monkeypatch, why):
    """Its messages would be taken for ones that came before."""
    monkeypatch.setattr(numbering, "_MAX_GROUPS", 1)
    own = Numbering()
    sender, _ = own.next("a")
    if why == "forgotten":
        own.next("b")
    else:
        monkeypatch.setattr(numbering.os, "getpid", lambda: -1)

    again, number = own.next("a")

    assert number == 1
    assert again != sender
