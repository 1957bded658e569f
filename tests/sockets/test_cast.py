"""One frame for many sockets: few tasks, and no socket feels another."""

import asyncio
import contextvars
import gc
import sys
import threading
import weakref

import pytest

from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets import Bounds, Inbox, Socket, put_frames
from django_asgi_bridge.sockets.turns import Turn

pytestmark = pytest.mark.asyncio

eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks")

WATCHDOG = 20.0

who = contextvars.ContextVar("who", default="nobody")


class Client:
    """A connection whose server notes the task and the context of each send."""

    def __init__(self, name="client", **bounds):
        self.sent = []
        self.tasks = []
        self.names = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.on_send = lambda: None
        self.mailbox = Inbox(Bounds(**bounds))
        context = contextvars.copy_context()
        context.run(who.set, name)
        self.socket = self.mailbox.socket = Socket(
            self._send, self.mailbox.bounds, owner=self.mailbox, context=context
        )

    async def _send(self, event):
        self._note()
        self.on_send()
        who.set("changed by a send")
        if not self.gate.is_set():
            await self.gate.wait()
            who.set(self.names[-1])
            self._note()
        self.sent.append(event.get("text"))

    def _note(self):
        self.tasks.append(asyncio.current_task())
        self.names.append(who.get())

    async def accept(self):
        await self.socket.send({"type": "websocket.accept"})
        for each in (self.sent, self.tasks, self.names):
            each.clear()
        return self

    @property
    def end(self):
        return self.mailbox.end and self.mailbox.end["code"]


async def clients(count, **bounds):
    return [await Client(str(number), **bounds).accept() for number in range(count)]


def cast(members, text="a"):
    return put_frames(members, {"type": "websocket.send", "text": text}, "room")


async def until(condition):
    async with asyncio.timeout(WATCHDOG):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0)


async def everybody_has(members, *texts):
    await until(lambda: all(each.sent == list(texts) for each in members))


@eager
async def test_frame_takes_one_task_when_no_send_waits():
    members = await clients(50)

    assert cast(members) == []

    assert all(each.sent == ["a"] for each in members)
    (task,) = {task for each in members for task in each.tasks}
    assert task is not asyncio.current_task()
    assert task.done()


@eager
async def test_frame_takes_one_task_more_for_each_send_that_waits():
    members = await clients(7)
    slow = [members[1], members[2], members[4]]
    for each in slow:
        each.gate.clear()

    assert cast(members) == []

    assert [each.sent for each in members if each not in slow] == [["a"]] * 4
    assert len({task for each in members for task in each.tasks}) == 1 + len(slow)
    for each in slow:
        assert each.tasks == [each.socket._writer]
        each.gate.set()
    await everybody_has(members, "a")


@eager
async def test_send_that_waits_has_one_task_from_first_to_last():
    """Time-outs and cancel scopes inside the server's send go by it."""
    members = await clients(3)
    for each in members:
        each.gate.clear()
    cast(members)

    for each in reversed(members):
        each.gate.set()
    await everybody_has(members, "a")

    for each in members:
        before, after = each.tasks
        assert before is after
        assert each.socket._writer is None


async def test_hundreds_of_sends_may_wait():
    members = await clients(600)
    for each in members:
        each.gate.clear()

    assert cast(members) == []
    for each in members:
        each.gate.set()

    await everybody_has(members, "a")


async def test_send_sees_the_context_of_its_own_connection():
    members = await clients(4)
    members[1].gate.clear()
    who.set("the caller")

    cast(members)
    members[1].gate.set()
    await everybody_has(members, "a")
    cast(members, "b")
    await everybody_has(members, "a", "b")

    assert who.get() == "the caller"
    for number, each in enumerate(members):
        assert set(each.names) == {str(number)}


@pytest.mark.parametrize(
    ("error", "code"), [(OSError("gone"), 1006), (ValueError("odd"), 1011)]
)
@pytest.mark.parametrize("waits", [False, True])
async def test_send_that_fails_ends_its_own_connection_alone(error, code, waits):
    members = await clients(3)
    failing = members[1]

    async def fail(event):
        if waits:
            await asyncio.sleep(0)
        raise error

    failing.socket._send = fail

    assert cast(members) == []
    await until(lambda: failing.end)
    await everybody_has([members[0], members[2]], "a")

    assert failing.end == code
    assert failing.socket._writer is None
    assert [each.end for each in members] == [None, code, None]
    assert cast(members, "b") == [failing]


@pytest.mark.parametrize("error", [asyncio.CancelledError, BaseExceptionGroup])
async def test_others_have_the_frame_when_a_send_raises_what_ends_its_task(error):
    members = await clients(3)

    async def fail(event):
        raise error("x", [ValueError()]) if error is BaseExceptionGroup else error

    members[1].socket._send = fail

    cast(members)

    await everybody_has([members[0], members[2]], "a")


async def test_send_that_cancels_its_task_cancels_no_other():
    members = await clients(3)
    members[0].on_send = lambda: asyncio.current_task().cancel()
    members[1].gate.clear()

    cast(members)
    await asyncio.sleep(0)
    members[1].gate.set()

    await everybody_has(members, "a")


async def test_time_out_inside_a_send_ends_that_send():
    members = await clients(3)

    async def stall(event):
        async with asyncio.timeout(0):
            await asyncio.Event().wait()

    members[1].socket._send = stall

    cast(members)
    await until(lambda: members[1].end)

    # A time-out is an OSError.
    assert members[1].end == 1006
    await everybody_has([members[0], members[2]], "a")


async def test_connection_that_ends_cancels_its_own_send_alone():
    members = await clients(3)
    for each in members:
        each.gate.clear()
    cast(members)

    await members[1].socket.close()

    assert members[1].socket.state is SocketState.CLOSED
    for each in members:
        each.gate.set()
    await everybody_has([members[0], members[2]], "a")
    assert members[1].sent == []


async def test_frames_keep_their_order_behind_a_send_that_waits():
    members = await clients(3)
    members[1].gate.clear()

    for text in "abc":
        assert cast(members, text) == []
    members[1].gate.set()

    await everybody_has(members, "a", "b", "c")


async def test_slow_client_is_given_up_alone():
    members = await clients(3, send_timeout=0.001)
    members[1].gate.clear()

    cast(members, "a")
    cast(members, "b")
    await until(lambda: members[1].end)

    assert members[1].end == 1013
    assert cast(members, "c") == [members[1]]
    await everybody_has([members[0], members[2]], "a", "b", "c")


async def test_full_outbox_refuses_and_others_have_the_frame():
    members = await clients(3, outgoing=1, outgoing_overflow="drop_newest")
    members[1].gate.clear()

    refused = []
    for count, text in enumerate("abc", 1):
        refused.append(cast(members, text))
        await until(lambda: members[1].socket.turn is Turn.SENDING)
        await everybody_has([members[0], members[2]], *"abc"[:count])
    members[1].gate.set()

    assert refused == [[], [], [members[1]]]
    assert members[1].mailbox.dropped.outgoing == 1


async def test_frame_that_a_send_casts_reaches_everybody():
    members = await clients(3)

    def again():
        members[1].on_send = lambda: None
        assert cast(members, "b") == []

    members[1].on_send = again

    cast(members, "a")
    await until(lambda: all(len(each.sent) == 2 for each in members))

    assert members[0].sent == members[1].sent == ["a", "b"]
    assert sorted(members[2].sent) == ["a", "b"]


async def test_nobody_misses_a_frame_when_its_caller_is_cancelled():
    members = await clients(4)
    members[3].gate.clear()

    async def call():
        cast(members)
        await asyncio.sleep(0)

    caller = asyncio.create_task(call())
    members[1].on_send = caller.cancel
    await asyncio.wait([caller])
    members[3].gate.set()

    await everybody_has(members, "a")
    assert caller.cancelled()


async def test_frame_comes_from_a_thread_without_a_loop():
    members = await clients(2)

    thread = threading.Thread(target=cast, args=(members,))
    thread.start()
    await everybody_has(members, "a")
    thread.join()


async def test_frame_comes_from_another_loop():
    members = await clients(2)

    async def elsewhere():
        there = await Client().accept()
        cast([members[0], there, members[1]])
        await everybody_has([there], "a")

    thread = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    thread.start()
    await everybody_has(members, "a")
    thread.join()


async def test_mailbox_that_raises_is_no_matter_of_the_others(caplog):
    class Broken:
        mailbox = None

    broken = Broken()
    members = await clients(2)

    assert cast([members[0], broken, members[1]]) == [broken]
    await everybody_has(members, "a")
    assert "a consumer could not be given its message" in caplog.text


async def test_nothing_happens_when_there_is_nobody():
    before = asyncio.all_tasks()

    assert cast([]) == []
    assert asyncio.all_tasks() == before


@eager
async def test_send_that_waits_keeps_neither_the_sender_nor_other_connections():
    """A slow client may take long; what is not its own is free meanwhile."""
    request = contextvars.ContextVar[object]("request")
    slow, other = await clients(2)
    slow.gate.clear()

    class Request:
        pass

    def send(members):
        current = Request()
        request.set(current)
        cast(members)
        return weakref.ref(current)

    sender = contextvars.copy_context().run(send, [slow, other])
    gone = weakref.ref(other)
    del other
    gc.collect()

    assert (sender(), gone()) == (None, None)
    slow.gate.set()
    await everybody_has([slow], "a")
