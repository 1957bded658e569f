"""Losses are counted by number, and messages that change places are none."""

import pytest

from django_asgi_bridge.layers.redis.arrivals import Arrivals

SENDER = b"8 bytes."


@pytest.fixture
def lost():
    return []


@pytest.fixture
def timers():
    return []


@pytest.fixture
def arrivals(lost, timers):
    return Arrivals(
        lambda group, count: lost.append((group, count)),
        lambda delay, callback: timers.append(callback),
    )


def come(arrivals, *numbers, group="room"):
    for number in numbers:
        arrivals.note(group, SENDER, number)


def test_members_are_told_how_many_are_missing_when_none_came_late(
    arrivals, lost, timers
):
    come(arrivals, 3, 4, 8, 10)
    assert lost == []

    [ring] = timers
    ring()

    assert lost == [("room", 4)]


def test_members_are_told_nothing_when_messages_changed_places(arrivals, lost, timers):
    come(arrivals, 1, 3, 2, 6, 5, 4, 7)

    for ring in timers:
        ring()

    assert lost == []


def test_members_are_told_at_once_when_very_many_are_missing(arrivals, lost):
    come(arrivals, 1, 1_000_000)

    assert lost == [("room", 999_998)]


def test_members_are_told_nothing_of_a_group_that_was_left(arrivals, lost, timers):
    come(arrivals, 1, 5)
    arrivals.forget("room")
    come(arrivals, 9)

    for ring in timers:
        ring()

    assert lost == []
