"""Who may send to one client, and what waits to be sent."""

from __future__ import annotations

import asyncio
import enum

from django_asgi_bridge.protocol.overflow import (
    EMPTY,
    BoundedQueue,
    Overflow,
    make_queue,
)
from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets.bounds import Bounds
from django_asgi_bridge.sockets.contract import OwnSend
from django_asgi_bridge.types import Message

__all__ = ("NO_LINE", "Turn", "Turns")

NO_LINE: list[OwnSend] = []
"""Stands for a line in which nothing has waited yet."""


class Turn(enum.Enum):
    """Who may send to a client now."""

    FREE = "free"
    """Anybody: the connection is open, nobody sends, and nothing waits to be sent."""
    PASSING = "passing"
    """Who passes a frame to the server; so far nothing waits behind it."""
    SENDING = "sending"
    """Who sends, and looks for more when that is done."""
    HELD = "held"
    """Who begins with what waits, or nobody: the connection is not open."""


_FREE, _HELD = Turn.FREE, Turn.HELD
_PASSING, _SENDING = Turn.PASSING, Turn.SENDING


class Turns:
    """The order in which one client gets what is sent.

    Args:
        bounds: of the outbox.

    Attributes:
        state: how far the connection is.
        turn: who may send now. It follows from the state, from who sends, and from
            what waits; it is kept beside them, since each frame asks for it.
    """

    __slots__ = ("_bounds", "_line", "_outbox", "_writer", "state", "turn")

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        # Made when a frame has to wait: in most connections none does.
        self._outbox: BoundedQueue[Message] = EMPTY
        # Own sends that wait for their turn: the frames that go first, and who waits.
        self._line: list[OwnSend] = NO_LINE
        # The task that sends what waits.
        self._writer: asyncio.Task[None] | None = None
        self.state = SocketState.CONNECTING
        self.turn = _HELD

    def _has_to_wait(self, event: Message) -> bool:
        """Tell whether something goes before an event; no frame does before accept."""
        if self.turn is not _HELD or self._line or self._writer is not None:
            return True
        return bool(self._outbox) and event["type"] != "websocket.accept"

    def _stir(self) -> None:
        """Let whoever sends now look for more, and nobody else send past that."""
        if self.turn is _PASSING:
            self.turn = _SENDING
        elif self.turn is _FREE:
            self.turn = _HELD

    def _own_outbox(self) -> BoundedQueue[Message]:
        if self._outbox is EMPTY:
            bounds = self._bounds
            policy = Overflow(bounds.outgoing_overflow)
            self._outbox = make_queue(policy, bounds.outgoing, bounds.outgoing_bytes)
        return self._outbox
