"""The sending half of one connection: who may send what, in which order.

Own sends (a handler's) wait for the server, as they do without this package.
Broadcast frames come from elsewhere and may not wait: they go through a bounded
outbox, emptied by a writer that exists only while something waits.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from asyncio import _get_running_loop
from typing import Any

from django_asgi_bridge.protocol.overflow import EMPTY, Overflow
from django_asgi_bridge.protocol.websocket import SocketState, after
from django_asgi_bridge.sockets.bounds import Bounds
from django_asgi_bridge.sockets.content import check_content
from django_asgi_bridge.sockets.contract import NOBODY, SocketOwner
from django_asgi_bridge.sockets.turns import NO_LINE, Turn, Turns
from django_asgi_bridge.threads import start_task
from django_asgi_bridge.types import Message, Send

__all__ = ("Socket",)

logger = logging.getLogger("django_asgi_bridge.sockets")

_TRY_AGAIN_LATER = 1013

_OPEN = SocketState.OPEN
_FREE, _HELD = Turn.FREE, Turn.HELD
_PASSING, _SENDING = Turn.PASSING, Turn.SENDING

# A writer takes its first step at once; see ``threads.start_task()``.
_IS_EAGER = sys.version_info >= (3, 12)


class Socket(Turns):
    """What a server's ``send`` is for a consumer.

    Args:
        send: the server's.
        bounds: of the outbox.
        owner: whom it tells of losses and of the end.
        context: whose variables the writer of broadcast frames sees; those of now
            when left out.
        is_strict: refuse content that ASGI forbids, which servers send, or fail
            with, each in its own way.
    """

    __slots__ = (
        "_abandoned",
        "_context",
        "_is_closing",
        "_loop",
        "_owner",
        "_patience",
        "_progress",
        "_send",
        "_sender",
        "_unsent",
        "is_strict",
    )

    def __init__(
        self,
        send: Send,
        bounds: Bounds,
        *,
        owner: SocketOwner,
        context: contextvars.Context | None = None,
        is_strict: bool = False,
    ) -> None:
        super().__init__(bounds)
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context() if context is None else context
        self._owner: SocketOwner = owner
        self.is_strict = is_strict
        # A close frame of ours waits.
        self._is_closing = False
        self._patience: asyncio.TimerHandle | None = None
        self._progress = 0.0  # when the send that waits began
        # The task of an own send that runs, and one that was cut off for its client.
        self._sender: asyncio.Task[Any] | None = None
        self._abandoned: asyncio.Task[Any] | None = None
        self._unsent = 0  # frames that a closed connection did not want

    @property
    def dropped(self) -> int:
        """How many broadcast frames were lost."""
        return self._outbox.dropped + self._unsent

    # Own sends.

    async def send(self, event: Message) -> None:
        """Send an event when its turn comes; wait while the client reads slowly.

        What comes after the end is left out. A send that fails because the client
        is gone counts as its disconnect.

        Raises:
            SocketStateError: the event may not be sent now.
            BadMessage: its content may not be sent.
        """
        is_frame = self.state is _OPEN and event["type"] == "websocket.send"
        if self.is_strict and is_frame:
            check_content(event, is_strict=self.is_strict)
        elif not is_frame and not self._goes_on(event):
            return
        if self.turn is not _FREE and self._has_to_wait(event):
            await self._in_turn(event)
            return
        self.turn = _SENDING
        if self._patience is not None:  # else nobody asks for it
            self._progress = self._loop.time()
        self._sender = asyncio.current_task()
        try:
            await self._send(event)
        except OSError as error:
            self.lose(error)
        except asyncio.CancelledError:
            if not self._takes_cancel():
                # A handler's own time-out, say, is no end of the connection, unless
                # nobody knows now whether it was accepted.
                if event["type"] != "websocket.send":
                    self.client_left()
                raise
        except BaseException:
            # Nor is anything else sent that waits behind it.
            self.client_left()
            raise
        finally:
            self._sender = None
            self.turn = _HELD
            if self._line or self._outbox is not EMPTY or self._patience is not None:
                self._let_others_send()
            elif self.state is _OPEN:
                self.turn = _FREE

    def _let_others_send(self) -> None:
        """Begin with what waited for an own send, if anything does."""
        if self._line or self._outbox:
            self._start_writer()
            return
        self._relax()
        if self.state is _OPEN:
            self.turn = _FREE

    def _goes_on(self, event: Message) -> bool:
        """Take the state that follows an event; False if it is to be left out."""
        following = after(self.state, event)
        if following is None:
            logger.debug("%s after the end is left out", event["type"])
            return False
        check_content(event, is_strict=self.is_strict)
        if self.state is SocketState.CONNECTING and following is not _OPEN:
            # A refusal: the frames that waited for the accept have no client.
            self._drop_frames()
        self.state = following
        return True

    def _takes_cancel(self) -> bool:
        """Tell whether the send was cut off by ``_abandon``, and by nobody else."""
        sender, self._abandoned = self._abandoned, None
        return sender is not None and sender.uncancel() <= 0

    def line_up(self, event: Message) -> asyncio.Future[None]:
        """Send an event in its turn; what is returned is done when the server has it.

        So it is when nobody wants the event any more; an error of the server's is its.
        """
        waiter: asyncio.Future[None] = self._loop.create_future()
        if self._line is NO_LINE:
            self._line = []
        self._line.append((self._outbox.entered, event, waiter))
        self._stir()
        if self.turn is not _SENDING:
            self._start_writer()
        if self.turn is _SENDING:
            self._be_patient()
        return waiter

    async def _in_turn(self, event: Message) -> None:
        waiter = self.line_up(event)
        try:
            await waiter
        except asyncio.CancelledError:
            # A close stands: the state says already that it was sent.
            if event["type"] == "websocket.send":
                self._line = [own for own in self._line if own[2] is not waiter]
            raise

    # Broadcast frames.

    def put_frame(self, frame: Message, key: str) -> bool:
        """Let a frame go to the client as soon as it can; see ``types.Mailbox``."""
        if _get_running_loop() is not self._loop:
            try:
                self._loop.call_soon_threadsafe(self.put_frame, frame, key)
            except RuntimeError:
                # The loop is closed: the connection went with it.
                return False
            return True
        is_over = self.state in (SocketState.CLOSED, SocketState.DENYING)
        if is_over or self._loop.is_closed():
            self._unsent += 1
            return False
        if _IS_EAGER and self.turn is _FREE:
            self._start_writer(frame)
            return True
        self._stir()
        outbox = self._own_outbox()
        size = len(frame.get("text") or frame.get("bytes") or "")
        before = outbox.dropped
        is_queued = outbox.offer(frame, key, size)
        if outbox.dropped != before:
            if not is_queued and outbox.policy is Overflow.CLOSE:
                self.give_up("too many frames wait for the client")
            self._owner.note_loss()
        if is_queued and self.turn is not _SENDING and self.state is _OPEN:
            self._start_writer()
        if outbox and self.state is _OPEN:
            self._be_patient()
        return is_queued

    def _start_writer(self, frame: Message | None = None) -> None:
        if self._writer is None and self.state is not SocketState.CONNECTING:
            self._stir()
            context = self._context.copy()
            writer = start_task(self._loop, self.write(frame), context)
            if not writer.done():
                self.keep_writer(writer)

    def keep_writer(self, writer: asyncio.Task[None]) -> None:
        """Note the task that writes, when it has to wait for the first time."""
        self._stir()
        self._writer = writer
        self._progress = self._loop.time()

    async def write(self, frame: Message | None) -> None:
        """Send what waits, own sends and frames in the order of their entry.

        Args:
            frame: goes first; it has not entered the outbox.
        """
        self.turn = _SENDING
        try:
            if frame is not None:
                await self._send(frame)
            while self._line or (self._outbox is not EMPTY and self._outbox):
                self._progress = self._loop.time()
                if self._line and self._line[0][0] <= self._outbox.left:
                    _, event, waiter = self._line.pop(0)
                    await self._send_for(event, waiter)
                else:
                    await self._send(self._outbox.take())
        except OSError as error:
            self.lose(error)
        except Exception as error:
            self.fail(error)
        finally:
            self.end_writing()

    def end_writing(self) -> None:
        """Let others send, if nothing waits."""
        # At once: what is put from here on needs a new writer.
        self._writer = None
        waits = self._line or (self._outbox is not EMPTY and self._outbox)
        self.turn = _HELD if waits or self.state is not _OPEN else _FREE
        if self._patience is not None:
            self._relax()

    async def _send_for(self, event: Message, waiter: asyncio.Future[None]) -> None:
        """Send for a handler that waits, and let it see what goes wrong."""
        try:
            await self._send(event)
        except OSError as error:
            self.lose(error)
        except Exception as error:
            self.client_left()
            if not waiter.done():
                waiter.set_exception(error)
        finally:
            # A writer that is cancelled has left its client: the handler goes on.
            if not waiter.done():
                waiter.set_result(None)

    # The end.

    def client_left(self) -> None:
        """Note that nobody reads any more: what waits is dropped and counted."""
        self.state = SocketState.CLOSED
        self._stir()
        self._relax()
        self._drop_frames()
        while self._line:
            _, _, waiter = self._line.pop(0)
            if not waiter.done():
                waiter.set_result(None)

    def _drop_frames(self) -> None:
        if self._outbox.drop_all():
            self._owner.note_loss()

    async def close(self) -> None:
        """End the writer, after what handlers were told was sent.

        That waits for the send time-out at most.
        """
        writer = self._writer
        try:
            if writer is not None and (self._is_closing or self._line):
                self._be_patient()
                await asyncio.wait([writer])
        finally:
            self.client_left()
            if writer is not None:
                writer.cancel()
        if writer is not None:
            await asyncio.wait([writer])
        self._owner = NOBODY  # it refers to this

    def lose(self, error: BaseException) -> None:
        """Take a failed send for what it is: the client is gone."""
        logger.debug("the client left during a send: %r", error)
        self.client_left()
        self._owner.stop(1006, "")

    def fail(self, error: BaseException) -> None:
        """Give up: the server raised for a frame that no handler waits for."""
        logger.error("the server could not send a frame", exc_info=error)
        self.client_left()
        self._owner.stop(1011, "")

    def give_up(self, why: str) -> None:
        """Close with 1013 (try again later) as soon as the running send ends.

        If it does not end within the send time-out, the connection is left as it is.

        Args:
            why: the close reason.
        """
        if self.state is SocketState.CLOSED:
            return
        self.state = SocketState.CLOSED
        self._stir()
        self._is_closing = True
        self._outbox.drop_all()
        waiter: asyncio.Future[None] = self._loop.create_future()
        close = {"type": "websocket.close", "code": _TRY_AGAIN_LATER, "reason": why}
        self._line = [*self._line, (self._outbox.left, close, waiter)]
        if self.turn is not _SENDING:
            self._start_writer()
        self._be_patient()
        self._owner.stop(_TRY_AGAIN_LATER, why)

    def _be_patient(self) -> None:
        if self._patience is None:
            self._patience = self._loop.call_later(
                self._bounds.send_timeout, self._look_for_progress
            )

    def _relax(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _look_for_progress(self) -> None:
        self._patience = None
        rest = self._progress + self._bounds.send_timeout - self._loop.time()
        if self.turn is not _SENDING:
            return
        if rest > 0:
            self._patience = self._loop.call_later(rest, self._look_for_progress)
        else:
            self._abandon()

    def _abandon(self) -> None:
        """Give up a send that the client has not read for ``send_timeout``."""
        logger.warning(
            "a client has read nothing for %g s; its connection is given up",
            self._bounds.send_timeout,
        )
        self.client_left()
        if self._writer is not None:
            self._writer.cancel()
        elif self._sender is not None:
            # A handler hangs in its send: it goes on as after a disconnect.
            self._abandoned = self._sender
            self._sender.cancel()
        self._owner.stop(_TRY_AGAIN_LATER, "the client reads too slowly")
