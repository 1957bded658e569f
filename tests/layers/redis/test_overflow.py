"""A full list drops what its layer says, and every drop is counted."""

import asyncio

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import ChannelFull
from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.layers.redis.support import WATCHDOG


async def numbers(layer, count, channel="jobs"):
    async with asyncio.timeout(WATCHDOG):
        return [(await layer.receive(channel))["n"] for _ in range(count)]


async def send(layer, count, channel="jobs"):
    """Send; return the numbers of the messages that were refused."""
    refused = []
    for number in range(count):
        try:
            await layer.send(channel, {"type": "n", "n": number})
        except ChannelFull:
            refused.append(number)
    return refused


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("overflow", "refused", "kept"),
    [
        ("drop_newest", list(range(3, 10)), [0, 1, 2]),
        ("drop_oldest", [], [7, 8, 9]),
    ],
)
async def test_full_channel_drops_what_the_policy_says(make, overflow, refused, kept):
    """C4: sent = delivered + dropped, exactly."""
    layer = make(capacity=3, overflow=overflow)

    assert await send(layer, 10) == refused
    assert await numbers(layer, 3) == kept
    stats = layer.stats()

    assert (stats.sent, stats.delivered, stats.dropped) == (10, 3, 7)
    await layer.close()


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("overflow", "kept"), [("drop_newest", [0, 1, 2]), ("drop_oldest", [7, 8, 9])]
)
async def test_full_member_of_a_group_drops_what_the_policy_says(make, overflow, kept):
    layer = make(capacity=3, overflow=overflow)
    for channel in ("one", "two"):
        await layer.group_add("room", channel)

    for number in range(10):
        await layer.group_send("room", {"type": "n", "n": number})

    for channel in ("one", "two"):
        assert await numbers(layer, 3, channel) == kept
    stats = layer.stats()
    assert (stats.sent, stats.delivered, stats.dropped) == (20, 6, 14)
    await layer.close()


@pytest.mark.asyncio
async def test_channel_that_became_smaller_drops_all_that_is_too_much(make):
    """As between two processes, one of which has the new configuration."""
    await send(make(capacity=10), 10)
    layer = make(capacity=3, overflow="drop_oldest")

    await layer.send("jobs", {"type": "n", "n": 10})

    assert layer.stats().dropped == 8
    assert await numbers(layer, 3) == [8, 9, 10]
    await layer.close()


@pytest.mark.asyncio
async def test_channel_has_no_bound_when_its_capacity_is_0(make):
    layer = make(capacity=0, overflow="drop_oldest")

    await send(layer, 200)

    assert await numbers(layer, 200) == list(range(200))
    await layer.close()


@pytest.mark.parametrize("overflow", ["block", "close", "latest_by_key", ""])
def test_policy_that_lists_cannot_have_is_an_error(overflow):
    with pytest.raises(ImproperlyConfigured, match="'drop_newest', 'drop_oldest'"):
        RedisChannelLayer(overflow=overflow)
