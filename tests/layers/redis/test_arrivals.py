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
    """Let numbers come; return those that are to be delivered."""
    return [number for number in numbers if arrivals.note(group, SENDER, number)]


def ring(timers):
    """Let all time pass."""
    while timers:
        timers.pop(0)()


def test_members_are_told_how_many_are_missing_when_none_came_late(
    arrivals, lost, timers
):
    come(arrivals, 3, 4, 8, 10)
    assert lost == []

    ring(timers)

    assert lost == [("room", 3), ("room", 1)]


def test_members_are_told_nothing_when_messages_changed_places(arrivals, lost, timers):
    come(arrivals, 1, 3, 2, 6, 5, 4, 7)

    ring(timers)

    assert lost == []


def test_members_are_told_at_once_when_very_many_are_missing(arrivals, lost):
    come(arrivals, 1, 1_000_000)

    assert lost == [("room", 999_998)]


def test_members_are_told_nothing_of_a_group_that_was_left(arrivals, lost, timers):
    come(arrivals, 1, 5)
    arrivals.forget("room")
    come(arrivals, 9)

    ring(timers)

    assert lost == []


def test_number_is_no_loss_when_it_comes_during_the_second_wait(arrivals, lost, timers):
    """The first may have ended with messages unread, since the loop was held up."""
    come(arrivals, 1, 3)
    timers.pop(0)()

    assert come(arrivals, 2) == [2]
    ring(timers)
    assert lost == []


def test_each_number_is_waited_for_as_long(arrivals, lost, timers):
    come(arrivals, 1, 3)
    timers.pop(0)()
    come(arrivals, 5)
    timers.pop(0)()

    assert lost == [("room", 1)]
    assert come(arrivals, 4) == [4]


def test_message_is_delivered_or_told_as_lost_and_never_both(arrivals, lost, timers):
    assert come(arrivals, 1, 4, 3) == [1, 4, 3]
    ring(timers)

    assert come(arrivals, 2) == []
    assert lost == [("room", 1)]


def test_message_that_comes_twice_is_delivered_once(arrivals):
    assert come(arrivals, 1, 2, 2, 1, 3, 3) == [1, 2, 3]


def test_message_from_before_the_first_is_delivered(arrivals, lost, timers):
    """Two that were sent at once have changed places as the group was joined."""
    assert come(arrivals, 5, 4) == [5, 4]
    ring(timers)

    assert lost == []
