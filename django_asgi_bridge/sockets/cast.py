"""One frame for many sockets, in one task as long as no send has to wait.

That task goes from socket to socket. Where a send waits it stays, as that socket's
writer, so that what the server finds as the current task is so to the end; a new task
goes on with the others. Python 3.11 has no tasks that begin at once: there each socket
gets a writer of its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
import types
from asyncio import _get_running_loop
from collections.abc import Generator, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from django_asgi_bridge.sockets.inbox import Inbox
from django_asgi_bridge.sockets.socket import Socket
from django_asgi_bridge.sockets.turns import Turn
from django_asgi_bridge.threads import go_on, start_task
from django_asgi_bridge.types import Message
from django_asgi_bridge.types.layers import Mailbox

__all__ = ("put_frames",)

logger = logging.getLogger("django_asgi_bridge.sockets")

_FREE, _PASSING = Turn.FREE, Turn.PASSING
_COROUTINE = types.CoroutineType
_DONE: Final = object()


class _Holder(Protocol):
    """Who has a mailbox."""

    @property
    def mailbox(self) -> Mailbox:
        """Where a frame goes."""


_H = TypeVar("_H", bound=_Holder)


def put_frames(holders: Sequence[_H], frame: Message, key: str) -> list[_H]:
    """Put a frame into many mailboxes, as ``put_frame()`` of each one would.

    What fails at one of them is logged, and no matter of the others.

    Args:
        frame: shared between sockets: nobody may change it.
        key: what ``latest_by_key`` goes by, the group's name.

    Returns:
        Those that dropped the frame.
    """
    cast = _Cast(holders, frame, key)
    loop = _get_running_loop()
    if sys.version_info < (3, 12) or loop is None:
        cast.put_apart()
        return cast.refused
    while not cast.is_over:
        # It has reached the end, or a send that waits, when this returns.
        start_task(loop, cast.go(), contextvars.Context())
    return cast.refused


class _Cast(Generic[_H]):
    """One frame on its way to many mailboxes."""

    __slots__ = ("_frame", "_key", "_rest", "is_over", "refused")

    def __init__(self, holders: Sequence[_H], frame: Message, key: str) -> None:
        # What the tasks have in common: each mailbox has its turn once.
        self._rest = iter(holders)
        self._frame = frame
        self._key = key
        self.is_over = not holders
        self.refused: list[_H] = []

    async def go(self) -> None:
        """Go from mailbox to mailbox, to the first where a send has to wait."""
        task: Any = asyncio.current_task()
        loop, frame = task.get_loop(), self._frame
        passing: Any = _passing(frame)
        write = passing.send
        write(None)
        for holder in self._rest:
            mailbox = holder.mailbox
            if not isinstance(mailbox, Inbox) or mailbox.loop is not loop:
                self._put(holder)
                continue
            socket = mailbox.socket
            if socket is None or socket.turn is not _FREE:
                self._put(holder)
                continue
            # The send belongs to the connection, not to who sends to the group.
            context = socket._context.copy()
            try:
                awaited = context.run(write, socket)
            except StopIteration:
                # More than this frame was to be sent.
                passing = _passing(frame)
                write = passing.send
                write(None)
            else:
                if awaited is not _DONE:
                    socket.keep_writer(task)
                    # It may wait for long: nothing of the other members is to.
                    del self, holder, mailbox, task
                    await go_on(context, passing, awaited)
                    return
            if task.cancelling():
                # By a send: the others are not to see it.
                return
        self.is_over = True

    def put_apart(self) -> None:
        """Give each mailbox the frame, for a task of its own."""
        for holder in self._rest:
            self._put(holder)

    def _put(self, holder: _H) -> None:
        try:
            is_taken = holder.mailbox.put_frame(self._frame, self._key)
        except Exception:
            logger.exception("a consumer could not be given its message")
            is_taken = False
        if not is_taken:
            self.refused.append(holder)


@types.coroutine
def _passing(frame: Message) -> Generator[Any, Socket, None]:
    """Write a frame to one socket after another, as ``write()`` of each one would.

    Each, while it is free, is sent into this generator inside the context that its
    send belongs to. What that returns is ``_DONE``, or what the send waits for: then
    this is that socket's alone, and ends with it. So it does where more is to be sent.
    A coroutine for each socket would cost twice as much.
    """
    socket = yield _DONE
    while True:
        socket.turn = _PASSING
        try:
            sending: Any = socket._send(frame)
            if type(sending) is not _COROUTINE and hasattr(sending, "__await__"):
                sending = sending.__await__()
            yield from sending
        except OSError as error:
            socket.lose(error)
        except Exception as error:
            socket.fail(error)
        except BaseException:
            socket.end_writing()
            raise
        if socket.turn is not _PASSING:
            yield from socket.write(None)
            return
        socket.turn = _FREE
        socket = yield _DONE
