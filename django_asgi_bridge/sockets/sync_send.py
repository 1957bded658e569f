"""Sending from a worker thread, without waiting for the loop each time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets.socket import Socket
from django_asgi_bridge.threads import call_async
from django_asgi_bridge.types import Message

__all__ = ("SyncSend",)

_AHEAD = 16


class SyncSend:
    """What ``Socket.send`` is for sync consumers.

    A frame is handed to the loop and the handler goes on, until ``_AHEAD`` frames
    are under way: then it waits, as the client does not read. Everything else that
    is sent, an accept or a close, waits until the server has it. The order is kept.

    Args:
        socket: of the connection.
    """

    __slots__ = ("_arrivals", "_departures", "_loop", "_socket")

    def __init__(self, socket: Socket) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        # Two counts, since a worker and the loop would lose steps of a shared one.
        self._departures = 0
        self._arrivals = 0

    def __call__(self, event: Message) -> None:
        """Send an event, from any thread but the loop's.

        Raises:
            SocketStateError: the event may not be sent now.
        """
        socket = self._socket
        if (
            event["type"] != "websocket.send"
            or self._departures - self._arrivals >= _AHEAD
            or socket.is_strict
            or socket.state is not SocketState.OPEN
        ):
            send: Callable[[Message], Coroutine[Any, Any, None]] = socket.send
            call_async(send, event)
            return
        # Only one handler of a connection sends at a time, or a frame more is under
        # way than meant, which does no harm.
        self._departures += 1
        self._loop.call_soon_threadsafe(self._line_up, event)

    def _line_up(self, event: Message) -> None:
        if self._socket.state is SocketState.OPEN:
            self._socket.line_up(event).add_done_callback(self._sent)
        else:
            self._arrivals += 1

    def _sent(self, waiter: asyncio.Future[None]) -> None:
        self._arrivals += 1
        if not waiter.cancelled() and (error := waiter.exception()):
            # No handler waits for it.
            self._socket.fail(error)
