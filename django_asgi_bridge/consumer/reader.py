"""Puts what the server says into the inbox of a connection.

While no handler waits, the connection's own task calls the server's ``receive()``;
once one does, a task of the reader's, which ends when the consumer is quick again.
A ``receive()`` that may have taken a message is never cancelled before the end.
"""

from __future__ import annotations

import asyncio

from django_asgi_bridge.sockets import Inbox
from django_asgi_bridge.types import Message, Receive

__all__ = ("ENDS", "Reader", "is_being_cancelled")

ENDS = frozenset({"websocket.disconnect", "http.disconnect", "bridge.end"})
_NO_STATUS = 1005


class Reader:
    """Reads for one connection.

    Args:
        receive: the server's.
        inbox: the connection's.
        is_ahead: read while a handler runs. No client is behind a worker's channel:
            what is read early would only be lost if the handler fails.

    Attributes:
        receive: the server's.
        task: what reads beside the connection's own task, if anything does.
    """

    __slots__ = ("_inbox", "_is_ahead", "_is_for_good", "_is_needed", "receive", "task")

    def __init__(self, receive: Receive, inbox: Inbox, *, is_ahead: bool) -> None:
        self.receive = receive
        self.task: asyncio.Task[None] | None = None
        self._inbox = inbox
        self._is_ahead = is_ahead
        # A handler has waited since the last message that found none running.
        self._is_needed = False
        self._is_for_good = False

    def start(self, *, for_good: bool = False) -> None:
        """Read beside the connection's task: a handler waits there.

        Args:
            for_good: to the end, whatever handlers do.
        """
        self._is_needed = True
        self._is_for_good = for_good
        is_wanted = self._is_ahead or for_good
        if self.task is None and is_wanted and self._inbox.end is None:
            self.task = asyncio.get_running_loop().create_task(self._read())

    def offer(self, message: Message) -> bool:
        """Put an event of the server's into the inbox; False if it has no room."""
        if message["type"] in ENDS:
            self._inbox.finish(_completed(message))
            return True
        return self._inbox.offer_client(message)

    def hands_on(self, message: Message) -> bool:
        """Give an event of the server's to who handles it at once, if that can be."""
        return message["type"] not in ENDS and self._inbox.hands_on(message)

    async def _read(self) -> None:
        try:
            while True:
                while not (self._is_ahead or self._inbox.waiters):
                    await self._inbox.wait_for_room()
                message = await self.receive()
                if self.hands_on(message):
                    if not self._is_needed:
                        # The consumer does not wait in its handlers.
                        return
                    self._is_needed = self._is_for_good
                    continue
                while not self.offer(message):
                    await self._inbox.wait_for_room()
                if message["type"] in ENDS:
                    return
        except asyncio.CancelledError as error:
            if not is_being_cancelled():
                # The server's own receive() was: nothing will come any more.
                self._inbox.fail(error)
            raise
        except Exception as error:
            self._inbox.fail(error)
        finally:
            self.task = None


def is_being_cancelled() -> bool:
    """Tell whether somebody has cancelled the current task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _completed(message: Message) -> Message:
    """Return a disconnect with what older servers leave out (ASGI 2.5)."""
    if message["type"] != "websocket.disconnect":
        return message
    code = message.get("code")
    return {
        **message,
        "code": _NO_STATUS if code is None else code,
        "reason": message.get("reason") or "",
    }
