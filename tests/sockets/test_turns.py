"""Who may send next, after a frame was passed on and whatever came meanwhile."""

import asyncio
import types
from random import Random

import pytest

from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets.turns import Turn
from tests.sockets.test_cast import cast, clients, everybody_has, until, who

pytestmark = pytest.mark.asyncio


class Sending:
    """An awaitable, as a server's ``send()`` may return it."""

    def __init__(self, steps):
        self._steps = steps

    def __await__(self):
        return self._steps


def awaitable(steps):
    return lambda *given: Sending(steps(*given))


@pytest.mark.parametrize("waits", [False, True])
@pytest.mark.parametrize("kind", [awaitable, types.coroutine])
async def test_send_may_return_any_awaitable_and_is_called_in_its_own_context(
    kind, waits
):
    def steps(member, event):
        if waits:
            yield from asyncio.sleep(0).__await__()
        member.sent.append(event["text"])

    members = await clients(3)
    for each in members:

        def send(event, each=each):
            each.names.append(who.get())
            return kind(steps)(each, event)

        each.socket._send = send
    who.set("the caller")

    assert cast(members) == []
    await everybody_has(members, "a")

    assert [each.names for each in members] == [["0"], ["1"], ["2"]]
    assert [each.end for each in members] == [None] * 3


async def test_own_send_that_lines_up_behind_a_frame_follows_it():
    members = await clients(3)
    waiters = []

    def answer():
        members[1].on_send = lambda: None
        event = {"type": "websocket.send", "text": "own"}
        waiters.append(members[1].socket.line_up(event))

    members[1].on_send = answer

    cast(members)
    await everybody_has([members[0], members[2]], "a")
    await everybody_has([members[1]], "a", "own")

    assert waiters[0].done()
    assert is_told_rightly(members[1].socket)


async def test_connection_that_is_closed_by_a_send_takes_no_more():
    members = await clients(3)
    members[1].on_send = members[1].socket.client_left

    cast(members)
    await everybody_has(members, "a")

    assert members[1].socket.turn is Turn.HELD
    assert cast(members, "b") == [members[1]]


async def test_next_frame_comes_after_a_send_that_was_cancelled():
    members = await clients(3)
    send = members[1].socket._send

    async def cancel(event):
        raise asyncio.CancelledError

    members[1].socket._send = cancel
    cast(members)
    await everybody_has([members[0], members[2]], "a")

    members[1].socket._send = send
    cast(members, "b")

    await everybody_has([members[1]], "b")


def is_told_rightly(socket):
    """Tell whether ``turn`` says what it is kept in place of."""
    waits = bool(socket._line or socket._outbox or socket._writer)
    is_free = socket.state is SocketState.OPEN and not waits
    is_busy = socket.turn in (Turn.SENDING, Turn.PASSING)
    return is_busy or (socket.turn is Turn.FREE) == is_free


@pytest.mark.parametrize("seed", range(20))
async def test_turn_is_that_of_the_state_whatever_happens(seed):
    random = Random(seed)
    members = await clients(4, outgoing=3, outgoing_overflow="drop_oldest")
    tasks = []

    def own(member, kind="send", **content):
        event = {"type": f"websocket.{kind}", **content}
        tasks.append(asyncio.ensure_future(member.socket.send(event)))

    steps = [
        *[lambda member: cast(members)] * 4,
        *[lambda member: own(member, text="own")] * 2,
        *[lambda member: member.gate.clear()] * 2,
        *[lambda member: member.gate.set()] * 4,
        lambda member: member.socket.put_frame({"text": "alone"}, "room"),
        lambda member: tasks and random.choice(tasks).cancel(),
    ]
    ends = [
        lambda member: own(member, "close", code=1000),
        lambda member: member.socket.give_up("test"),
        lambda member: member.socket.client_left(),
    ]

    for number in range(60):
        step = random.choice(ends if number % 20 == 19 else steps)
        step(random.choice(members))
        for _ in range(random.randrange(3)):
            await asyncio.sleep(0)
        assert all(is_told_rightly(each.socket) for each in members)

    for each in members:
        each.gate.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: all(each.socket._writer is None for each in members))
    for each in members:
        is_open = each.socket.state is SocketState.OPEN
        assert each.socket.turn is (Turn.FREE if is_open else Turn.HELD)
