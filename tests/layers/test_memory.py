"""The in-memory layer: receivers, expiry, capacity and counters."""

import asyncio
import logging
from collections import OrderedDict
from typing import Any

import pytest
from django.test import override_settings

from django_asgi_bridge.exceptions import ChannelFull
from django_asgi_bridge.layers import InMemoryChannelLayer, LayerStats, losses
from django_asgi_bridge.layers.members import Members
from tests.layers.clocks import Clock

EVENT = {"type": "test.event"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def layer(clock):
    return InMemoryChannelLayer(capacity=3, clock=clock)


async def waiting(*coroutines):
    """Start coroutines, and let each come to where it waits."""
    tasks = [asyncio.ensure_future(each) for each in coroutines]
    await turns()
    return tasks


async def turns():
    for _ in range(5):
        await asyncio.sleep(0)


def balanced(layer):
    counted = layer.stats()
    return counted.sent == (
        counted.delivered + counted.dropped + counted.expired + counted.waiting
    )


# What Channels' users see.


def test_layer_has_the_arguments_and_attributes_of_channels():
    layer = InMemoryChannelLayer(
        expiry=1, group_expiry=2, capacity=3, channel_capacity={"a": 4}
    )

    assert (layer.expiry, layer.group_expiry, layer.capacity) == (1, 2, 3)
    assert layer.get_capacity("a") == 4
    assert layer.extensions == ["groups", "flush"]
    assert layer.channels == {}
    assert layer.groups == {}


def test_layer_refuses_an_argument_that_it_does_not_know():
    unknown: dict[str, Any] = {"hosts": []}

    with pytest.raises(TypeError, match="hosts"):
        InMemoryChannelLayer(**unknown)


@pytest.mark.asyncio
async def test_new_channel_has_the_shape_of_channels(layer):
    name = await layer.new_channel()
    prefixed = await layer.new_channel(prefix="mine")

    assert name.startswith("specific..inmemory!")
    assert len(name) == len("specific..inmemory!") + 12
    assert name.rpartition("!")[2].isalpha()
    assert prefixed.startswith("mine.inmemory!")


@pytest.mark.asyncio
async def test_channel_is_gone_when_nothing_waits_in_it(layer):
    await layer.send("jobs", EVENT)
    await layer.send("jobs", EVENT)
    assert len(layer.channels["jobs"]) == layer.channels["jobs"].qsize() == 2

    await layer.receive("jobs")
    assert list(layer.channels) == ["jobs"]
    assert not layer.channels["jobs"].empty()
    await layer.receive("jobs")

    assert layer.channels == {}


@pytest.mark.asyncio
async def test_channel_is_gone_when_its_receiver_gave_up(layer):
    (task,) = await waiting(layer.receive("jobs"))
    assert "jobs" in layer.channels
    assert layer.channels["jobs"].empty()

    task.cancel()
    await turns()

    assert layer.channels == {}


@pytest.mark.asyncio
async def test_groups_are_empty_when_all_members_left(layer):
    await layer.group_add("room", "a")
    await layer.group_add("room", "b")
    assert set(layer.groups["room"]) == {"a", "b"}

    await layer.group_discard("room", "a")
    await layer.group_discard("room", "b")

    assert layer.groups == {}


@pytest.mark.asyncio
async def test_receiver_gets_its_message_when_its_channel_was_removed(layer):
    """Others may take the channel away between the message and its receiver."""
    (task,) = await waiting(layer.receive("jobs"))

    await layer.send("jobs", EVENT)
    del layer.channels["jobs"]

    assert await task == EVENT
    assert balanced(layer)


@pytest.mark.asyncio
async def test_close_leaves_the_layer_usable(layer):
    await layer.close()

    await layer.send("jobs", EVENT)
    assert await layer.receive("jobs") == EVENT


# Receivers.


@pytest.mark.asyncio
async def test_second_receiver_is_woken_when_two_wait_on_a_channel(layer):
    """C13: in Channels the second one never wakes."""
    first, second = await waiting(layer.receive("jobs"), layer.receive("jobs"))

    await layer.send("jobs", {"type": "test.1"})
    assert await first == {"type": "test.1"}
    await layer.send("jobs", {"type": "test.2"})

    assert await second == {"type": "test.2"}
    assert layer.channels == {}


@pytest.mark.asyncio
async def test_receivers_are_served_in_the_order_in_which_they_came(layer):
    tasks = await waiting(*[layer.receive("jobs") for _ in range(3)])

    for number in range(3):
        await layer.send("jobs", {"type": "test", "number": number})

    got = [message["number"] for message in await asyncio.gather(*tasks)]
    assert got == [0, 1, 2]


@pytest.mark.asyncio
async def test_message_goes_to_the_next_when_the_woken_receiver_is_cancelled(layer):
    first, second = await waiting(layer.receive("jobs"), layer.receive("jobs"))

    await layer.send("jobs", EVENT)
    first.cancel()
    await turns()

    assert first.cancelled()
    assert second.done()
    assert await second == EVENT


@pytest.mark.asyncio
async def test_message_waits_when_the_only_woken_receiver_is_cancelled(layer):
    (task,) = await waiting(layer.receive("jobs"))
    errors: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, what: errors.append(what)
    )

    await layer.send("jobs", EVENT)
    task.cancel()
    await turns()

    assert errors == []
    assert layer.stats().waiting == 1
    assert await layer.receive("jobs") == EVENT


@pytest.mark.asyncio
async def test_receiver_stays_first_in_line_when_its_message_was_taken(layer):
    """A newcomer may be faster; the one that was woken does not lose its place."""
    first, second = await waiting(layer.receive("jobs"), layer.receive("jobs"))

    await layer.send("jobs", {"type": "test.1"})
    assert await layer.receive("jobs") == {"type": "test.1"}
    await turns()
    await layer.send("jobs", {"type": "test.2"})
    await turns()

    assert first.done()
    assert not second.done()
    second.cancel()


@pytest.mark.asyncio
async def test_receiver_goes_on_waiting_when_the_layer_is_flushed(layer):
    (task,) = await waiting(layer.receive("jobs"))
    await layer.send("other", EVENT)

    await layer.flush()
    await turns()
    assert layer.stats() == LayerStats(
        sent=1, delivered=0, dropped=1, expired=0, waiting=0
    )
    await layer.send("jobs", EVENT)

    assert await task == EVENT
    assert layer.channels == {}


# Capacity.


@pytest.mark.asyncio
async def test_send_says_which_channel_is_full(layer):
    for _ in range(3):
        await layer.send("jobs", EVENT)

    with pytest.raises(ChannelFull, match="'jobs' is full: its capacity is 3"):
        await layer.send("jobs", EVENT)

    assert layer.stats() == LayerStats(
        sent=4, delivered=0, dropped=1, expired=0, waiting=3
    )


@pytest.mark.asyncio
async def test_channel_has_no_bound_when_its_capacity_is_0():
    layer = InMemoryChannelLayer(capacity=0)

    for _ in range(500):
        await layer.send("jobs", EVENT)

    assert layer.stats().waiting == 500


@pytest.mark.asyncio
async def test_overflow_of_a_group_is_counted_and_logged_once_for_a_burst(
    layer, clock, caplog
):
    """C18: Channels drops these without a word."""
    await layer.group_add("room", "a")
    with caplog.at_level(logging.WARNING, "django_asgi_bridge.layers"):
        for _ in range(50):
            await layer.group_send("room", EVENT)
        assert [record.args for record in caplog.records] == [(1, "room")]
        clock.pass_(11)
        await layer.group_send("room", EVENT)

    assert [record.args for record in caplog.records] == [(1, "room"), (47, "room")]
    assert "readers are slower than senders" in caplog.text
    assert layer.stats() == LayerStats(
        sent=51, delivered=0, dropped=48, expired=0, waiting=3
    )


# Expiry.


@pytest.mark.asyncio
async def test_message_is_dropped_and_counted_when_it_expires(layer, clock):
    await layer.send("jobs", EVENT)
    clock.pass_(59.9)
    await layer.send("jobs", {"type": "test.late"})
    clock.pass_(0.1)

    assert await layer.receive("jobs") == {"type": "test.late"}
    assert layer.channels == {}
    assert layer.stats() == LayerStats(
        sent=2, delivered=1, dropped=0, expired=1, waiting=0
    )


@pytest.mark.asyncio
async def test_full_channel_takes_a_message_when_all_in_it_have_expired(clock):
    layer = InMemoryChannelLayer(capacity=1, clock=clock)
    await layer.send("jobs", EVENT)
    clock.pass_(60)

    await layer.send("jobs", {"type": "test.new"})

    assert list(layer.channels) == ["jobs"]
    assert await layer.receive("jobs") == {"type": "test.new"}
    assert layer.channels == {}


@pytest.mark.parametrize("by", ["receive", "group_send"])
@pytest.mark.asyncio
async def test_channel_leaves_its_groups_when_its_message_expires(layer, clock, by):
    """Nobody reads it, so no group sends to it any more."""
    await layer.group_add("room", "dead")
    await layer.group_add("room2", "dead")
    await layer.group_add("room", "alive")
    await layer.send("dead", EVENT)
    await layer.send("other", EVENT)
    clock.pass_(60)
    await layer.send("other", EVENT)
    assert "dead" in layer.channels

    if by == "receive":
        await layer.receive("other")
    else:
        await layer.group_send("empty", EVENT)

    assert "dead" not in layer.channels
    assert {group: list(of) for group, of in layer.groups.items()} == {
        "room": ["alive"]
    }
    assert balanced(layer)


@pytest.mark.asyncio
async def test_membership_ends_when_it_was_not_renewed(clock):
    layer = InMemoryChannelLayer(group_expiry=100, clock=clock)
    await layer.group_add("room", "renewed")
    await layer.group_add("room", "old")
    clock.pass_(60)
    await layer.group_add("room", "renewed")
    clock.pass_(60)

    await layer.group_send("room", EVENT)

    assert set(layer.groups["room"]) == {"renewed"}
    assert list(layer.channels) == ["renewed"]


@pytest.mark.asyncio
async def test_send_alone_does_not_fill_the_memory(clock):
    """A process that only sends to channels that nobody reads drops what expires."""
    layer = InMemoryChannelLayer(clock=clock)
    for number in range(3000):
        clock.pass_(1)
        await layer.send(f"gone.{number}", EVENT)

    assert layer.stats().waiting <= 1024
    assert balanced(layer)


@pytest.mark.asyncio
async def test_receive_and_group_send_look_only_at_what_expired(layer, clock):
    """C14: Channels looks at each channel and each membership at each call.

    Counted in reads of the waiting messages' deadlines and the memberships' ages,
    not in time.
    """
    for number in range(2000):
        await layer.send(f"jobs.{number}", EVENT)
        await layer.group_add(f"room.{number}", f"jobs.{number}")
    looks = Looks(layer)

    await layer.send("mine", EVENT)
    await layer.receive("mine")
    await layer.group_send("room.7", EVENT)
    assert looks.count <= 10

    clock.pass_(30)
    await layer.send("late", EVENT)
    clock.pass_(30)
    looks.count = 0
    await layer.group_send("room.7", EVENT)

    assert looks.count <= 2 * 2001 + 10
    assert list(layer.channels) == ["late"]
    looks.count = 0
    await layer.receive("late")
    assert looks.count <= 10


class Looks:
    """Counts each entry that a sweep reads from what is ordered by age."""

    def __init__(self, layer):
        self.count = 0
        storage, members = layer._storage, layer._members
        storage._waiting = self.counting(storage._waiting)
        members._aging = self.counting(members._aging)

    def counting(self, ordered):
        looks = self

        class Counted(OrderedDict):
            def values(self):
                return map(looks.seen, super().values())

            def items(self):
                return map(looks.seen, super().items())

        return Counted(ordered)

    def seen(self, entry):
        self.count += 1
        return entry


def test_leaving_all_groups_costs_the_groups_of_the_channel_alone():
    """C14: Channels walks through the groups of everybody."""

    class NoWalk(dict):
        def __iter__(self):
            raise AssertionError("walked through all groups")

        keys = values = items = __iter__

    members = Members()
    for number in range(100):
        members.add(f"room.{number}", "other", 1.0, None)
    members.add("room.5", "mine", 1.0, None)
    members.groups = NoWalk(members.groups)

    members.leave("mine")

    assert members.others("room.5") == ["other"]


# Content.


@pytest.fixture
def _never_warned(monkeypatch):
    monkeypatch.setattr(losses, "_has_warned", False)


@pytest.mark.usefixtures("_never_warned")
@pytest.mark.asyncio
async def test_layer_warns_once_of_content_that_other_layers_refuse(caplog):
    with (
        override_settings(DEBUG=True),
        caplog.at_level(logging.WARNING, "django_asgi_bridge.layers"),
    ):
        layer = InMemoryChannelLayer()
        await layer.send("jobs", EVENT)
        assert caplog.records == []
        await layer.send("jobs", {"type": "test.event", "a": [object]})
        await layer.group_send("room", {"type": "test.event", "a": {1}})

    assert len(caplog.records) == 1
    assert "message['a'][0] is <class 'object'>" in caplog.text


@pytest.mark.parametrize("method", ["send", "group_send"])
@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({1: 2}, "message['a'] has the key 1 "),
        ({None: 2}, "message['a'] has the key None "),
        ({("b",): 2}, "message['a'] has the key ('b',) "),
        ([float("nan")], "message['a'][0] is nan"),
        ({"b": 2**63}, "message['a']['b'] is an integer of 64 bits"),
        ({"b": {2}}, "message['a']['b'] is {2} of type set"),
    ],
)
@pytest.mark.usefixtures("_never_warned")
@pytest.mark.asyncio
async def test_warning_names_the_path_of_each_forbidden_content(
    content, path, method, caplog
):
    with override_settings(DEBUG=True):
        layer = InMemoryChannelLayer()
    for _ in range(2):
        await getattr(layer, method)("jobs", {"type": "test.event", "a": content})

    (record,) = caplog.records
    assert path in record.getMessage()


@pytest.mark.usefixtures("_never_warned")
@pytest.mark.asyncio
async def test_layer_does_not_look_at_the_content_without_debug(caplog):
    layer = InMemoryChannelLayer()

    await layer.send("jobs", {"type": "test.event", "a": {1}})

    assert caplog.records == []


@pytest.mark.asyncio
async def test_any_object_arrives_as_a_copy(layer):
    message = {"type": "test.event", "set": {1}, "error": ValueError("a"), 5: Clock(7)}

    await layer.send("jobs", message)
    message["set"].add(2)
    got = await layer.receive("jobs")

    assert got["set"] == {1}
    assert got[5].now == 7
    assert got[5] is not message[5]
    assert repr(got["error"]) == repr(message["error"])
