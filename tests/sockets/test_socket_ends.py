"""What a socket owes to those who wait when a send is cut off or a client stalls."""

import asyncio

import pytest

from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets.turns import Turn
from tests.sockets.test_socket import Line, opened

asynchronous = pytest.mark.asyncio


@asynchronous
async def test_frame_put_right_after_the_writer_ended_is_sent():
    """Between the writer's last step and its end nothing may be left behind."""
    line = await opened()

    async def send(event):
        await asyncio.sleep(0)
        line.sent.append(event["text"])
        if event["text"] == "first":
            # Runs after the writer's last step, before what watches its end.
            asyncio.get_running_loop().call_soon(line.frames, "second")

    line.socket._send = send
    line.frames("first")
    await line.until(lambda: line.sent == ["first", "second"])


@asynchronous
async def test_close_never_overtakes_a_frame_of_a_sync_handler():
    line = await opened()
    sent = []

    line.socket.line_up({"type": "websocket.send", "text": "1"})
    await line.socket.send({"type": "websocket.close"})
    sent = list(line.sent)

    assert sent == ["1", "websocket.close"]


@asynchronous
async def test_socket_stays_open_when_a_handler_gives_up_its_send():
    """A time-out around one send is no end of the connection."""
    line = await opened()
    line.gate.clear()
    own = asyncio.create_task(line.say("slow"))
    await line.until(lambda: line.socket.turn is Turn.SENDING)

    own.cancel()
    await asyncio.wait([own])
    line.gate.set()
    await line.say("next")

    assert line.socket.state is SocketState.OPEN
    assert line.sent == ["next"]


@asynchronous
async def test_no_frame_is_sent_after_an_accept_that_was_cut_off():
    """The server may not have had it, and takes no frames then."""
    line = Line()
    line.gate.clear()
    own = asyncio.create_task(line.socket.send({"type": "websocket.accept"}))
    await line.until(lambda: line.socket.turn is Turn.SENDING)
    line.frames("waits for the accept")

    own.cancel()
    await asyncio.wait([own])
    line.gate.set()
    await line.socket.close()

    assert line.sent == []
    assert line.socket.dropped == 1
    assert line.socket.state is SocketState.CLOSED


@asynchronous
async def test_close_is_sent_though_its_caller_gave_up():
    line = await opened()
    line.gate.clear()
    line.frames("1")
    own = asyncio.create_task(line.socket.send({"type": "websocket.close"}))
    await line.until(lambda: line.socket._line)

    own.cancel()
    await asyncio.wait([own])
    line.gate.set()

    await line.until(lambda: line.sent == ["1", "websocket.close"])


@asynchronous
async def test_handler_is_freed_when_the_client_is_given_up():
    line = await opened(send_timeout=0.001)
    line.gate.clear()
    own = asyncio.create_task(line.say("never read"))
    await line.until(lambda: line.socket.turn is Turn.SENDING)

    line.frames("behind it")
    async with asyncio.timeout(20):
        await own

    assert line.stops == [1013]
    assert own.cancelling() == 0
    assert line.socket.state is SocketState.CLOSED


@asynchronous
async def test_handler_is_freed_when_the_writer_sends_for_it():
    """A frame went first, so the handler's own one is the writer's to send."""
    line = await opened(send_timeout=0.001)
    line.gate.clear()

    async def send(event):
        await (asyncio.Event() if event["text"] == "never read" else line.gate).wait()

    line.socket._send = send
    line.frames("first")
    own = asyncio.create_task(line.say("never read"))
    await line.until(lambda: line.socket._line)
    line.gate.set()
    async with asyncio.timeout(20):
        await own

    assert line.stops == [1013]


@asynchronous
@pytest.mark.parametrize("is_first", [True, False], ids=["own", "in line"])
async def test_nothing_is_sent_behind_a_send_that_failed(is_first, caplog):
    """The handler that sent it has the error; frames that waited are counted."""
    line = await opened()
    line.gate.clear()
    calls = []

    async def send(event):
        calls.append(event["text"])
        await line.gate.wait()
        if event["text"] == "own":
            raise ValueError("the server's own")

    line.socket._send = send
    if not is_first:
        line.frames("first")
    own = asyncio.create_task(line.say("own"))
    await line.until(lambda: line.socket._line or calls == ["own"])
    line.frames("behind it")
    line.gate.set()
    with pytest.raises(ValueError, match="the server's own"):
        await own
    await line.socket.close()

    assert calls == (["own"] if is_first else ["first", "own"])
    assert line.socket.dropped == 1
    assert not caplog.records


@asynchronous
async def test_own_send_does_not_overtake_frames_when_others_are_replaced():
    """Frames that the latest of their key replaces leave from the line's middle."""
    line = await opened(outgoing_overflow="latest_by_key")
    line.gate.clear()
    line.frames("under way")
    for text, key in (("a", "one"), ("b", "two")):
        line.socket.put_frame({"type": "websocket.send", "text": text}, key)
    own = asyncio.create_task(line.say("own"))
    await line.until(lambda: line.socket._line)

    for text in ("b2", "b3"):
        line.socket.put_frame({"type": "websocket.send", "text": text}, "two")
    line.gate.set()
    await own
    await line.until(lambda: len(line.sent) == 4)

    assert line.sent == ["under way", "a", "own", "b3"]


@asynchronous
async def test_patience_counts_from_the_last_frame_that_was_read():
    """Who stops reading in the middle is given up, though no new frame comes."""
    line = await opened(send_timeout=0.001)
    line.gate.clear()
    line.frames("1", "2", "3")

    async def send(event):
        if event["text"] != "1":
            await asyncio.Event().wait()
        line.sent.append(event["text"])

    line.socket._send = send
    line.gate.set()
    await line.until(lambda: line.stops)

    assert line.sent == ["1"]
    assert line.stops == [1013]
    assert line.socket.dropped == 1


@asynchronous
async def test_patience_counts_from_a_later_send_that_nobody_waits_behind():
    """It may have begun for a send that has ended, and for one that was cancelled."""
    line = await opened(send_timeout=20)
    line.gate.clear()
    first, second = (asyncio.create_task(line.say(text)) for text in "12")
    await asyncio.sleep(0)
    second.cancel()
    await asyncio.wait([second])
    line.gate.set()
    await first
    line.gate.clear()
    third = asyncio.create_task(line.say("3"))
    await asyncio.sleep(0)

    if line.socket._patience is not None:
        # Its time is over.
        line.socket._patience.cancel()
        line.socket._look_for_progress()

    assert line.stops == []
    line.gate.set()
    await third
    assert line.sent[-2:] == ["1", "3"]


@asynchronous
async def test_end_waits_for_frames_that_a_handler_believes_sent():
    line = await opened()
    line.gate.clear()
    for text in ("1", "2"):
        line.socket.line_up({"type": "websocket.send", "text": text})

    ending = asyncio.create_task(line.socket.close())
    await asyncio.sleep(0)
    line.gate.set()
    await ending

    assert line.sent == ["1", "2"]


@asynchronous
async def test_end_that_is_cancelled_ends_the_writer():
    line = await opened()
    line.gate.clear()
    line.socket.line_up({"type": "websocket.send", "text": "1"})
    line.socket.line_up({"type": "websocket.send", "text": "2"})
    await line.until(lambda: line.socket.turn is Turn.SENDING)
    writer = line.socket._writer

    ending = asyncio.create_task(line.socket.close())
    await asyncio.sleep(0)
    ending.cancel()
    await asyncio.wait([ending])
    await line.until(writer.done)

    assert line.socket.state is SocketState.CLOSED


def test_socket_of_a_closed_loop_takes_no_frame():
    async def leave_it():
        return await opened()

    line = asyncio.run(leave_it())

    assert line.frames("late") == [False]


async def one_behind_the_other():
    """Return a line, and two own sends: one that hangs, one that waits for it."""
    line = await opened()
    line.gate.clear()
    first, second = (
        asyncio.create_task(line.socket.send({"type": "websocket.send", "text": text}))
        for text in "ab"
    )
    await line.until(lambda: line.socket._line)
    return line, first, second


@asynchronous
async def test_own_send_that_gives_up_its_place_leaves_no_timer():
    line, first, second = await one_behind_the_other()

    second.cancel()
    await asyncio.wait([second])
    line.gate.set()
    await first

    assert line.socket._patience is None
    assert line.socket.turn is Turn.FREE


@asynchronous
async def test_who_gives_up_its_place_gives_the_client_no_more_time():
    """The send before it is still the one that the client does not read."""
    line, first, second = await one_behind_the_other()
    patience = line.socket._patience

    second.cancel()
    await asyncio.wait([second])

    assert patience is not None
    assert line.socket._patience is patience
    assert not patience.cancelled()
    line.gate.set()
    await first


@asynchronous
async def test_send_waits_for_a_writer_that_has_not_begun():
    """Else the writer, which finds nothing, ends the turn of that send."""
    line = await opened()
    under_way, most = 0, 0
    gates = {text: asyncio.Event() for text in ("a", "after b", "c")}

    async def send(event):
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        if event["text"] in gates:
            await gates[event["text"]].wait()
        under_way -= 1

    line.socket._send = send

    async def gives_up():
        try:
            await line.say("b")
        except asyncio.CancelledError:
            await line.say("after b")

    first = asyncio.create_task(line.say("a"))
    await line.until(lambda: under_way)
    second = asyncio.create_task(gives_up())
    await line.until(lambda: line.socket._line)
    gates["a"].set()
    second.cancel()
    for _ in range(5):
        await asyncio.sleep(0)
    third = asyncio.create_task(line.say("c"))
    for _ in range(5):
        await asyncio.sleep(0)
    for gate in gates.values():
        gate.set()
    await asyncio.gather(first, second, third)

    assert most == 1
