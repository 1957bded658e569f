"""The layer in memory: rows C12, C13, C14 and C18 of what Channels does wrong."""

import asyncio
import logging

import pytest

from tests.beside.sides import on_both

EVENT = {"type": "test.event"}


@on_both("C12: get_capacity() of its own layer raises", ValueError)
def test_capacity_of_a_channel_goes_by_its_name(side):
    layer = side("layers").InMemoryChannelLayer(channel_capacity={"jobs.*": 5})

    assert layer.get_capacity("jobs.mail") == 5
    assert layer.get_capacity("other") == 100


@on_both("C13: the second one waits for ever", AssertionError)
@pytest.mark.asyncio
async def test_second_receiver_is_woken_when_two_wait_on_a_channel(side, layer):
    tasks = [asyncio.create_task(layer.receive("jobs")) for _ in range(2)]
    await asyncio.sleep(0)

    for _ in range(2):
        await layer.send("jobs", EVENT)
        for _ in range(10):
            await asyncio.sleep(0)

    assert [task.done() for task in tasks] == [True, True]


@on_both("C14: it makes a task for each member", AssertionError)
@pytest.mark.asyncio
async def test_group_send_makes_no_task(side, layer):
    for number in range(100):
        await layer.group_add("room", f"member.{number}")
    made = []

    def make(loop, coroutine, **options):
        made.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(make)
    try:
        await layer.group_send("room", EVENT)
    finally:
        loop.set_task_factory(None)

    assert len(layer.channels) == 100
    assert made == []


@on_both("C14: it walks through all channels and memberships", AssertionError)
@pytest.mark.asyncio
async def test_receive_costs_its_own_channel_alone(side, layer):
    """In calls that Python makes, with 10 other channels and with 1,000."""
    counts = []
    for first, last in ((0, 10), (10, 1000)):
        for number in range(first, last):
            await layer.send(f"jobs.{number}", EVENT)
            await layer.group_add(f"room.{number}", f"jobs.{number}")
        await layer.send("mine", EVENT)
        counts.append(await calls_of(layer.receive("mine")))

    assert counts[1] < 2 * counts[0]


async def calls_of(awaitable) -> int:
    """Return how many calls, of C functions too, an awaitable makes."""
    import sys

    made = 0

    def note(frame, event, argument):
        nonlocal made
        made += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        await awaitable
    finally:
        sys.setprofile(None)
    return made


@on_both("C18: what a full member misses is dropped without a word", AssertionError)
@pytest.mark.asyncio
async def test_message_that_a_full_member_misses_is_logged(side, layer, caplog):
    await layer.group_add("room", "full")

    with caplog.at_level(logging.INFO):
        for _ in range(101):
            await layer.group_send("room", EVENT)

    assert "room" in caplog.text
