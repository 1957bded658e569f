"""Handlers of one connection: each is called for its message, the last one once.

No task is made, no thread used and no setting read for a message.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging

from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.consumer.contract import Consumer
from django_asgi_bridge.consumer.worker import HandlerWorker
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.sockets import Inbox
from django_asgi_bridge.threads import drive
from django_asgi_bridge.types import Message

__all__ = ("TURN", "Handling")

logger = logging.getLogger("django_asgi_bridge.consumer")

TURN = 64
"""Messages after which everything else on the loop gets a turn.

Handlers that do not wait and have the next message there already, since they sent it
themselves, say, would hold the loop for ever.
"""

_POLICIES = ("finish", "cancel")


class Handling:
    """Calls the handlers of one connection.

    Args:
        consumer: whose handlers they are.
        inbox: where the messages wait.

    Raises:
        ImproperlyConfigured: an option of the consumer is none that it can have.

    Attributes:
        consumer: whose handlers they are.
        inbox: where the messages wait.
        context: what handlers run in, one after the other: whatever task they are
            in, and workers too, see what an earlier one has set.
        message_type: of the message that was handled last.
    """

    __slots__ = (
        "_dispatch_sync",
        "_grace",
        "_is_begun",
        "_is_ended",
        "_others",
        "_worker",
        "consumer",
        "context",
        "inbox",
        "message_type",
    )

    def __init__(self, consumer: Consumer, inbox: Inbox) -> None:
        _require(consumer, "concurrency", consumer.concurrency >= 1, "at least 1")
        is_known = consumer.on_disconnect in _POLICIES
        _require(consumer, "on_disconnect", is_known, "'finish' or 'cancel'")
        self.consumer = consumer
        self.inbox = inbox
        self.context = contextvars.copy_context()
        self.message_type: object = None
        self._grace: asyncio.TimerHandle | None = None
        # Few connections have more than one.
        self._worker: HandlerWorker | None = None
        self._others: tuple[HandlerWorker, ...] = ()
        # The consumer has seen its first message; and its last one.
        self._is_begun = False
        self._is_ended = False
        # What a sync consumer does on its worker, unless it has its own dispatch().
        self._dispatch_sync = consumer.sync_dispatch()
        if consumer.on_disconnect == "cancel":
            inbox.on_end = self._start_grace

    def new_worker(self, *, is_handshake: bool = False) -> HandlerWorker:
        """Return what handlers in the current context have of the worker threads."""
        is_sync = self.consumer._sync
        worker = HandlerWorker(is_sync=is_sync, is_handshake=is_handshake)
        if self._worker is None:
            self._worker = worker
        else:
            self._others += (worker,)
        return worker

    def _workers(self) -> tuple[HandlerWorker, ...]:
        return () if self._worker is None else (self._worker, *self._others)

    async def handle_waiting(
        self, worker: HandlerWorker, message: Message | None
    ) -> None:
        """Handle a message, if one is given, and others that wait.

        That is until none waits, or everything else has to get a turn.
        """
        inbox, handled = self.inbox, 0
        while handled < TURN:
            if inbox.has_notices:
                await self.tell(worker)
            if message is None:
                message = inbox.take()
                if message is None:
                    return
            await self.handle(worker, message)
            message = None
            handled += 1

    async def handle(self, worker: HandlerWorker, message: Message) -> None:
        """Call the handler of one message."""
        self.message_type = message.get("type")
        self._is_begun = True
        worker.is_running = True
        try:
            if self._dispatch_sync is None:
                await self.consumer.dispatch(message)
            else:
                await worker.call(self._dispatch_sync, message)
        except asyncio.CancelledError:
            if not worker.takes_cancel():
                raise
        finally:
            worker.is_running = False
            lease = worker.lease
            if lease.is_refusable or lease.worker is not None or lease.pending:
                worker.release()

    async def handle_last(self, worker: HandlerWorker, message: Message) -> None:
        """Call the handler of the last message, unless that was done."""
        if self._is_ended:
            return
        self._is_ended = True
        self.stop_grace()
        await self.handle(worker, message)

    async def end(self, message: Message) -> None:
        """Handle the last message, unless that was done; its errors are logged."""
        if not self._is_begun or self._is_ended:
            return
        # A handler that was left to itself may still be inside the other one.
        context = self.context.copy()
        worker = context.run(self.new_worker)
        try:
            await drive(context, self.handle_last(worker, message))
        except StopConsumer:
            return
        except Exception:
            logger.exception(
                "%s failed in its disconnect", type(self.consumer).__qualname__
            )

    def takes_cancel(self) -> bool:
        """Tell whether a cancellation was only that of a handler, by the grace time.

        Handlers tell that themselves, except a sync one that went on: it was left.
        """
        task = asyncio.current_task()
        own = [worker for worker in self._workers() if worker.task is task]
        return any(worker.takes_cancel() for worker in own)

    async def tell(self, worker: HandlerWorker) -> None:
        """Tell the consumer what was lost, before its next message."""
        inbox = self.inbox
        inbox.has_notices = False
        dropped = inbox.lost_since()
        if dropped is not None:
            await self.handle(worker, {"type": "bridge.overflow", "dropped": dropped})
        gaps = inbox.take_gaps()
        if gaps:
            await self.handle(worker, {"type": "bridge.gap", "groups": gaps})

    def close(self) -> None:
        """Let go of the worker threads, and of the time that handlers have."""
        self.stop_grace()
        for worker in self._workers():
            worker.close()

    # A client that left, with the policy "cancel".

    def stop_grace(self) -> None:
        """Cancel no handler any more."""
        if self._grace is not None:
            self._grace.cancel()

    def _start_grace(self) -> None:
        if self._is_ended:
            # The clean-up runs already; it is not what the time is for.
            return
        self._grace = asyncio.get_running_loop().call_later(
            self.consumer.disconnect_grace, self._lose_patience
        )

    def _lose_patience(self) -> None:
        dropped = self.inbox.drop_frames()
        cancelled = sum(worker.cancel_handler() for worker in self._workers())
        if dropped or cancelled:
            logger.info(
                "%s: the client left %g s ago; %d handlers were cancelled and %d "
                "messages dropped",
                type(self.consumer).__qualname__,
                self.consumer.disconnect_grace,
                cancelled,
                dropped,
            )


def _require(consumer: Consumer, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ImproperlyConfigured(
            f"{type(consumer).__qualname__}.{name} is {getattr(consumer, name)!r}: "
            f"expected {expected}."
        )
