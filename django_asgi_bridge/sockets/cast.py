"""One frame for many sockets, in one task as long as no send has to wait.

That task goes from socket to socket. Where a send waits it stays, as that socket's
writer, so that what the server finds as the current task is so to the end; a new task
goes on with the others. Python 3.11 has no tasks that begin at once: there each socket
gets a writer of its own.
"""

import asyncio
import contextvars
import logging
import sys
from asyncio import _get_running_loop
from collections.abc import Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

from django_asgi_bridge.protocol.overflow import EMPTY
from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets.inbox import Inbox
from django_asgi_bridge.threads import go_on, start_task
from django_asgi_bridge.types import Message
from django_asgi_bridge.types.layers import Mailbox

__all__ = ("put_frames",)

logger = logging.getLogger("django_asgi_bridge.sockets")

_OPEN = SocketState.OPEN
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
        # Unlike `send(None)` it raises nothing at the end.
        first_step: Any = next
        loop, frame = task.get_loop(), self._frame
        for holder in self._rest:
            mailbox = holder.mailbox
            if not isinstance(mailbox, Inbox) or mailbox.loop is not loop:
                self._put(holder)
                continue
            socket = mailbox.socket
            # What `put_frame()` asks, here where no call is made for it.
            if (
                socket is None
                or socket.state is not _OPEN
                or socket._is_sending
                or socket._writer is not None
                or socket._line
                or (socket._outbox is not EMPTY and socket._outbox)
            ):
                self._put(holder)
                continue
            # The send belongs to the connection, not to who sends to the group.
            context = socket._context.copy()
            writing = socket.write(frame)
            awaited = context.run(first_step, writing.__await__(), _DONE)
            if awaited is not _DONE:
                socket.keep_writer(task)
                # It may wait for long: nothing of the other members is to.
                del self, holder, mailbox, task
                await go_on(context, writing, awaited)
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
