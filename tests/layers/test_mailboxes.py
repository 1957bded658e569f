"""Live consumers on the in-memory layer: events and frames go to them at once."""

import asyncio
import logging
import sys

import pytest

from django_asgi_bridge.exceptions import BadMessage, ChannelFull
from django_asgi_bridge.layers import InMemoryChannelLayer, LayerStats
from tests.layers.clocks import Clock
from tests.layers.mailboxes import Box

EVENT = {"type": "test.event"}


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def layer(clock):
    return InMemoryChannelLayer(capacity=3, clock=clock)


@pytest.mark.asyncio
async def test_mailbox_gets_what_is_sent_to_its_channel(layer):
    box = Box()
    name = await layer.open_mailbox(box)

    await layer.send(name, EVENT)

    assert layer.require_valid_channel_name(name)
    assert box.events == [EVENT]
    assert box.capacities == {3}
    assert list(layer.channels) == [name]
    assert layer.channels[name].empty()
    assert layer.stats() == LayerStats(
        sent=1, delivered=1, dropped=0, expired=0, waiting=0
    )


@pytest.mark.asyncio
async def test_mailboxes_have_names_of_their_own(layer):
    names = {await layer.open_mailbox(Box()) for _ in range(1000)}

    assert len(names) == 1000


@pytest.mark.asyncio
async def test_mailbox_has_the_capacity_of_its_channels_name():
    box = Box()
    layer = InMemoryChannelLayer(channel_capacity={"specific.*": 7})

    await layer.send(await layer.open_mailbox(box), EVENT)

    assert box.capacities == {7}


@pytest.mark.asyncio
async def test_mailbox_has_no_bound_when_the_capacity_is_0():
    box = Box()
    layer = InMemoryChannelLayer(capacity=0)

    await layer.send(await layer.open_mailbox(box), EVENT)

    assert box.capacities == {sys.maxsize}


@pytest.mark.asyncio
async def test_send_raises_when_the_mailbox_refuses(layer):
    name = await layer.open_mailbox(Box(room=1))
    await layer.send(name, EVENT)

    with pytest.raises(ChannelFull):
        await layer.send(name, EVENT)

    assert layer.stats() == LayerStats(
        sent=2, delivered=1, dropped=1, expired=0, waiting=0
    )


@pytest.mark.asyncio
async def test_group_send_counts_and_logs_what_mailboxes_refuse(layer, caplog):
    boxes = [Box(), Box(room=0), Box(room=0)]
    for box in boxes:
        await layer.group_add("room", await layer.open_mailbox(box))

    with caplog.at_level(logging.WARNING, "django_asgi_bridge.layers"):
        await layer.group_send("room", EVENT)
        await layer.group_send("room", EVENT)

    assert [record.args for record in caplog.records] == [(2, "room")]
    assert boxes[0].events == [EVENT, EVENT]
    assert layer.stats() == LayerStats(
        sent=6, delivered=2, dropped=4, expired=0, waiting=0
    )


@pytest.mark.parametrize("content", [1, [1, {"a": [2]}]])
@pytest.mark.asyncio
async def test_members_get_events_of_their_own(layer, content):
    boxes = [Box(), Box()]
    for box in boxes:
        await layer.group_add("room", await layer.open_mailbox(box))
    message = {"type": "test.event", "content": content}

    await layer.group_send("room", message)

    first, second = boxes[0].events[0], boxes[1].events[0]
    assert first == second == message
    assert first is not second
    assert first is not message
    if isinstance(content, list):
        first["content"][1]["a"].append(3)
        assert second["content"] == message["content"] == [1, {"a": [2]}]


@pytest.mark.asyncio
async def test_group_reaches_consumers_and_plain_channels_alike(layer):
    box = Box()
    await layer.group_add("room", "plain")
    await layer.group_add("room", await layer.open_mailbox(box))

    await layer.group_send("room", EVENT)

    assert box.events == [EVENT]
    assert await layer.receive("plain") == EVENT


@pytest.mark.asyncio
async def test_closed_mailbox_leaves_every_group_and_gets_nothing(layer):
    box = Box()
    name = await layer.open_mailbox(box)
    for group in ("a", "b"):
        await layer.group_add(group, name)

    layer.close_mailbox(name)
    layer.close_mailbox(name)
    layer.close_mailbox("never.opened")
    await layer.group_send("a", EVENT)
    await layer.send(name, EVENT)

    assert box.events == []
    assert layer.groups == {}
    assert layer.channels == {}
    assert layer.stats() == LayerStats(
        sent=1, delivered=0, dropped=1, expired=0, waiting=0
    )


@pytest.mark.asyncio
async def test_closed_mailbox_joins_no_group_any_more(layer):
    """A ``group_add`` that is late, from another task, leaves nothing behind."""
    name = await layer.open_mailbox(Box())
    layer.close_mailbox(name)

    await layer.group_add("room", name)

    assert layer.groups == {}


@pytest.mark.asyncio
async def test_live_consumer_keeps_its_groups_however_old_they_are(layer, clock):
    """C7: a socket older than ``group_expiry`` still receives."""
    box = Box()
    name = await layer.open_mailbox(box)
    await layer.group_add("room", name)
    await layer.group_add("room", "plain")
    await layer.send("plain", EVENT)
    clock.pass_(200_000)

    await layer.group_send("room", EVENT)

    assert box.events == [EVENT]
    assert set(layer.groups["room"]) == {name}


@pytest.mark.asyncio
async def test_live_consumer_keeps_its_channel_when_the_layer_is_flushed(layer):
    box = Box()
    name = await layer.open_mailbox(box)
    await layer.group_add("room", name)

    await layer.flush()
    await layer.group_send("room", EVENT)
    await layer.send(name, EVENT)

    assert box.events == [EVENT]


@pytest.mark.asyncio
async def test_receive_is_refused_on_the_channel_of_a_consumer(layer):
    """Two readers would each get half; before, the call waited for ever."""
    name = await layer.open_mailbox(Box())

    with pytest.raises(RuntimeError, match="is read by its consumer"):
        await layer.receive(name)


def test_mailbox_is_forgotten_when_its_loop_is_closed(layer):
    dead, full = Box(room=0), Box(room=0)

    async def join(box):
        name = await layer.open_mailbox(box)
        await layer.group_add("room", name)
        return name

    gone = asyncio.run(join(dead))

    async def send():
        alive = await join(full)
        await layer.group_send("room", EVENT)
        assert set(layer.groups["room"]) == {alive}
        await layer.send(gone, EVENT)

    asyncio.run(send())

    assert layer.stats() == LayerStats(
        sent=3, delivered=0, dropped=3, expired=0, waiting=0
    )


def test_send_to_a_mailbox_of_a_closed_loop_is_no_error(layer):
    name = asyncio.run(layer.open_mailbox(Box(room=0)))

    asyncio.run(layer.send(name, EVENT))

    assert layer._mailboxes == {}


# Broadcasts.


@pytest.mark.parametrize(
    ("given", "content"),
    [
        ({"text_data": "a"}, {"text": "a"}),
        ({"text_data": ""}, {"text": ""}),
        ({"bytes_data": b""}, {"bytes": b""}),
        ({"json": {"a": [1, None]}}, {"text": '{"a": [1, null]}'}),
        ({"json": None}, {"text": "null"}),
    ],
)
@pytest.mark.asyncio
async def test_broadcast_gives_all_sockets_one_frame(layer, given, content):
    boxes = [Box(), Box()]
    for box in boxes:
        await layer.group_add("room", await layer.open_mailbox(box))

    await layer.group_broadcast("room", **given)

    (first,), (second,) = boxes[0].frames, boxes[1].frames
    assert first == {"type": "websocket.send", **content}
    assert first is second
    assert boxes[0].keys == ["room"]
    assert boxes[0].events == []


@pytest.mark.asyncio
async def test_broadcast_encodes_once_whatever_the_size_of_the_group(layer):
    class Counted(dict):
        times = 0

        def items(self):
            Counted.times += 1
            return super().items()

    for _ in range(100):
        await layer.group_add("room", await layer.open_mailbox(Box()))

    await layer.group_broadcast("room", json=Counted(a=1))

    assert Counted.times == 1
    assert layer.stats().delivered == 100


@pytest.mark.asyncio
async def test_broadcast_reaches_plain_channels_as_an_event(layer):
    await layer.group_add("room", "plain")

    await layer.group_broadcast("room", text_data="a")

    assert await layer.receive("plain") == {
        "type": "bridge.broadcast",
        "group": "room",
        "text": "a",
    }


@pytest.mark.asyncio
async def test_broadcast_counts_and_logs_what_sockets_refuse(layer, caplog):
    for box in (Box(), Box(room=0)):
        await layer.group_add("room", await layer.open_mailbox(box))

    with caplog.at_level(logging.WARNING, "django_asgi_bridge.layers"):
        await layer.group_broadcast("room", text_data="a")

    assert [record.args for record in caplog.records] == [(1, "room")]
    assert layer.stats() == LayerStats(
        sent=2, delivered=1, dropped=1, expired=0, waiting=0
    )


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({}, ValueError, "got no content; give exactly one"),
        (
            {"text_data": "a", "json": None},
            ValueError,
            "got text_data and json; give exactly one",
        ),
        ({"text_data": b"a"}, BadMessage, "text_data is b'a'; it must be a str"),
        ({"bytes_data": "a"}, BadMessage, "bytes_data is 'a'; it must be bytes"),
        ({"text_data": "\ud800"}, BadMessage, r"broadcast\['text'\] has the lone surr"),
        ({"json": {1}}, BadMessage, r"broadcast\['json'\] is \{1\} of type set"),
        ({"json": [0, float("nan")]}, BadMessage, r"broadcast\['json'\]\[1\] is nan"),
        ({"json": {"a": b"b"}}, BadMessage, r"\['a'\] is b'b' of type bytes"),
        ({"json": {("a",): 1}}, BadMessage, r"\['json'\] has the key \('a',\)"),
    ],
)
@pytest.mark.asyncio
async def test_broadcast_is_refused_when_its_content_is_wrong(
    layer, given, error, text
):
    with pytest.raises(error, match=text):
        await layer.group_broadcast("room", **given)

    assert layer.stats().sent == 0


@pytest.mark.asyncio
async def test_broadcast_is_refused_when_the_name_is_wrong(layer):
    with pytest.raises(TypeError, match="Group name must be"):
        await layer.group_broadcast("a b", text_data="a")
