"""The loop that takes messages and runs handlers.

In serial mode the handlers run in the server's own task. No task is made, no
thread used and no setting read for a message.
"""

import asyncio
import contextvars
import logging
from collections.abc import Callable, Hashable

from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.consumer.contract import Consumer
from django_asgi_bridge.consumer.worker import HandlerWorker
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.sockets import Inbox
from django_asgi_bridge.threads import drive
from django_asgi_bridge.types import Message

__all__ = ("HandlerLoop",)

logger = logging.getLogger("django_asgi_bridge.consumer")

_TURN = 64
"""Messages after which everything else on the loop gets a turn.

Handlers that do not wait and have the next message there already, since they sent it
themselves, say, would hold the loop for ever.
"""

_POLICIES = ("finish", "cancel")


class HandlerLoop:
    """Runs the handlers of one connection.

    Args:
        consumer: whose handlers they are.
        inbox: where the messages wait.

    Raises:
        ImproperlyConfigured: an option of the consumer is none that it can have.

    Attributes:
        message_type: of the message that was handled last.
    """

    __slots__ = (
        "_busy",
        "_consumer",
        "_dispatch_sync",
        "_grace",
        "_inbox",
        "_is_begun",
        "_is_ended",
        "_workers",
        "message_type",
    )

    def __init__(self, consumer: Consumer, inbox: Inbox) -> None:
        _require(consumer, "concurrency", consumer.concurrency >= 1, "at least 1")
        is_known = consumer.on_disconnect in _POLICIES
        _require(consumer, "on_disconnect", is_known, "'finish' or 'cancel'")
        self._consumer = consumer
        self._inbox = inbox
        self._grace: asyncio.TimerHandle | None = None
        self._workers: list[HandlerWorker] = []
        # Keys of the handlers that run beside each other: an empty dictionary is a
        # third of an empty set, and most connections never have any.
        self._busy: dict[Hashable, None] = {}
        # The consumer has seen its first message; and its last one.
        self._is_begun = False
        self._is_ended = False
        self.message_type: object = None
        # What a sync consumer does on its worker, unless it has its own dispatch().
        self._dispatch_sync = consumer.sync_dispatch()
        if consumer.on_disconnect == "cancel":
            inbox.on_end = self._start_grace

    async def run(self) -> None:
        """Handle messages until the connection ends.

        Raises:
            StopConsumer: a handler says that it is over.
            Exception: what a handler, or the server's ``receive``, raised.
        """
        worker = self._new_worker(is_handshake=self._inbox.socket is not None)
        try:
            if self._consumer.concurrency == 1:
                await self._handle_all(worker, self._inbox.take)
            else:
                await self._handle_beside_each_other(worker)
            if self._inbox.end is not None:
                await self._handle_last(worker, self._inbox.end)
        except StopConsumer:
            if self._inbox.error is None:
                raise
        finally:
            if self._grace is not None:
                self._grace.cancel()
        if self._inbox.error is not None:
            raise self._inbox.error

    async def end(self, message: Message) -> None:
        """Handle the last message, unless that was done; its errors are logged."""
        if not self._is_begun or self._is_ended:
            return
        try:
            if self._consumer._sync:
                context = contextvars.copy_context()
                await drive(context, self._handle_with_new_worker(message))
            else:
                await self._handle_with_new_worker(message)
        except StopConsumer:
            return
        except Exception:
            logger.exception(
                "%s failed in its disconnect", type(self._consumer).__qualname__
            )

    def takes_cancel(self) -> bool:
        """Tell whether a cancellation was only that of a handler, by the grace time.

        Handlers tell that themselves, except a sync one that went on: it was left.
        """
        task = asyncio.current_task()
        own = [worker for worker in self._workers if worker.task is task]
        return any(worker.takes_cancel() for worker in own)

    async def _handle_with_new_worker(self, message: Message) -> None:
        await self._handle_last(self._new_worker(), message)

    def _new_worker(self, *, is_handshake: bool = False) -> HandlerWorker:
        is_sync = self._consumer._sync
        worker = HandlerWorker(is_sync=is_sync, is_handshake=is_handshake)
        self._workers.append(worker)
        return worker

    # One message after the other.

    async def _handle_all(
        self, worker: HandlerWorker, take: Callable[[], Message | None]
    ) -> None:
        inbox, handled = self._inbox, 0
        while True:
            if inbox.has_notices:
                await self._tell(worker)
            message = take()
            if message is not None:
                await self._handle(worker, message)
                handled += 1
                if handled % _TURN == 0:
                    await asyncio.sleep(0)
            elif inbox.end is not None:
                return
            else:
                await inbox.wait()

    async def _handle(self, worker: HandlerWorker, message: Message) -> None:
        self.message_type = message.get("type")
        self._is_begun = True
        worker.is_running = True
        try:
            if self._dispatch_sync is None:
                await self._consumer.dispatch(message)
            else:
                await worker.call(self._dispatch_sync, message)
        except asyncio.CancelledError:
            if not worker.takes_cancel():
                raise
        finally:
            worker.is_running = False
            worker.release()

    async def _handle_last(self, worker: HandlerWorker, message: Message) -> None:
        if self._is_ended:
            return
        self._is_ended = True
        if self._grace is not None:
            self._grace.cancel()
        await self._handle(worker, message)

    async def _tell(self, worker: HandlerWorker) -> None:
        """Tell the consumer what was lost, before its next message."""
        inbox = self._inbox
        inbox.has_notices = False
        dropped = inbox.lost_since()
        if dropped is not None:
            await self._handle(worker, {"type": "bridge.overflow", "dropped": dropped})
        gaps = inbox.take_gaps()
        if gaps:
            await self._handle(worker, {"type": "bridge.gap", "groups": gaps})

    # Several beside each other.

    async def _handle_beside_each_other(self, worker: HandlerWorker) -> None:
        inbox = self._inbox
        first = inbox.take()
        while first is None and inbox.end is None:
            await inbox.wait()
            first = inbox.take()
        if first is not None:
            await self._handle(worker, first)
        runners = [
            asyncio.create_task(self._run_driven())
            for _ in range(self._consumer.concurrency)
        ]
        try:
            await asyncio.wait(runners, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for runner in runners:
                runner.cancel()
            await asyncio.wait(runners)
        errors = [
            error
            for runner in runners
            if not runner.cancelled() and (error := runner.exception())
        ]
        # An error says more than "it is over".
        errors.sort(key=lambda error: isinstance(error, StopConsumer))
        if errors:
            raise errors[0]

    async def _run_driven(self) -> None:
        if self._consumer._sync:
            await drive(contextvars.copy_context(), self._run_one())
        else:
            await self._run_one()

    async def _run_one(self) -> None:
        worker = self._new_worker()
        key_of, busy, inbox = self._consumer.concurrency_key, self._busy, self._inbox
        handled = 0
        while True:
            if inbox.has_notices:
                await self._tell(worker)
            message = inbox.take_first(lambda each: key_of(each) not in busy)
            if message is None:
                if inbox.end is not None:
                    return
                await inbox.wait()
                continue
            key = key_of(message)
            if key is not None:
                busy[key] = None
            try:
                await self._handle(worker, message)
            finally:
                busy.pop(key, None)
                inbox.wake()
            handled += 1
            if handled % _TURN == 0:
                await asyncio.sleep(0)

    # A client that left, with the policy "cancel".

    def _start_grace(self) -> None:
        if self._is_ended:
            # The clean-up runs already; it is not what the time is for.
            return
        self._grace = asyncio.get_running_loop().call_later(
            self._consumer.disconnect_grace, self._lose_patience
        )

    def _lose_patience(self) -> None:
        dropped = self._inbox.drop_frames()
        cancelled = sum(worker.cancel_handler() for worker in self._workers)
        if dropped or cancelled:
            logger.info(
                "%s: the client left %g s ago; %d handlers were cancelled and %d "
                "messages dropped",
                type(self._consumer).__qualname__,
                self._consumer.disconnect_grace,
                cancelled,
                dropped,
            )


def _require(consumer: Consumer, name: str, holds: bool, expected: str) -> None:
    if not holds:
        raise ImproperlyConfigured(
            f"{type(consumer).__qualname__}.{name} is {getattr(consumer, name)!r}: "
            f"expected {expected}."
        )
