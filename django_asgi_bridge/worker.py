"""Runs consumers for channels that no client is behind; see ``runworker``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import Iterable
from typing import Any

from asgiref.compatibility import guarantee_single_callable

from django_asgi_bridge.types import Message, Scope

__all__ = ("Worker",)

logger = logging.getLogger("django_asgi_bridge.worker")


class Worker:
    """Receives from channels and hands each message to the channel's consumer.

    A consumer lives as long as the worker; it is made anew for the next message
    after it raised. Messages of one channel are handled one after the other, unless
    the consumer says otherwise (``concurrency``).

    Args:
        application: serves scopes of type ``channel``; see ``ChannelNameRouter``.
        channels: names of the channels to receive from.
        channel_layer: from which.
        max_applications: consumers that may live at once.

    Attributes:
        grace: seconds that running handlers get when the worker is told to stop.

    Raises:
        ValueError: there is no layer.
    """

    grace = 10.0

    def __init__(
        self,
        application: Any,
        channels: Iterable[str],
        channel_layer: Any,
        max_applications: int = 1000,
    ) -> None:
        if channel_layer is None:
            raise ValueError("Channel layer is not valid")
        self.application = application
        self.channels = list(channels)
        self.channel_layer = channel_layer
        self.max_applications = max_applications
        self.application_instances: dict[str, dict[str, Any]] = {}
        # Taken for each message of a channel until its consumer asks for it: the
        # others stay in the layer, where another worker may take them.
        self._turns: dict[str, asyncio.Semaphore] = {}
        self._stopping: asyncio.Event | None = None

    def run(self) -> None:
        """Work until SIGTERM or SIGINT, in an event loop of its own."""
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(self._run_with_signals())

    async def arun(self) -> None:
        """Work until ``stop()``, then let running handlers end.

        Raises:
            Exception: what the layer raised, when it cannot be received from.
        """
        self._stopping = asyncio.Event()
        handling = asyncio.create_task(self.handle())
        stopping = asyncio.create_task(self._stopping.wait())
        try:
            await asyncio.wait(
                [handling, stopping], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in (handling, stopping):
                task.cancel()
            outcome = await asyncio.gather(handling, return_exceptions=True)
            await self._end_applications()
        if isinstance(outcome[0], Exception):
            raise outcome[0]

    def stop(self) -> None:
        """Receive no more; call it on the worker's loop."""
        if self._stopping is not None:
            self._stopping.set()

    async def handle(self) -> None:
        """Receive from all channels until one of them cannot be received from.

        Raises:
            Exception: why it could not; the others are received from no longer.
        """
        try:
            async with asyncio.TaskGroup() as group:
                for channel in self.channels:
                    group.create_task(self.listener(channel))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None

    async def listener(self, channel: str) -> None:
        """Receive from one channel.

        Raises:
            ValueError: a message has no type.
        """
        turn = self._turns[channel] = asyncio.Semaphore(1)
        while True:
            await turn.acquire()
            message = await self.channel_layer.receive(channel)
            if not message.get("type"):
                raise ValueError("Worker received message with no type.")
            scope = {"type": "channel", "channel": channel}
            queue = self.get_or_create_application_instance(channel, scope)
            queue.put_nowait(message)

    def get_or_create_application_instance(
        self, scope_id: str, scope: Scope
    ) -> asyncio.Queue[Message]:
        """Return the queue that feeds the consumer of a channel."""
        details = self.application_instances.get(scope_id)
        if details is None or details["future"].done():
            while len(self.application_instances) >= self.max_applications:
                oldest = next(iter(self.application_instances))
                self.delete_application_instance(oldest)
            details = self._start(scope_id, scope, asyncio.Queue())
        # The one used last is the last to go.
        self.application_instances.pop(scope_id, None)
        self.application_instances[scope_id] = details
        queue: asyncio.Queue[Message] = details["input_queue"]
        return queue

    def delete_application_instance(self, scope_id: str) -> None:
        """Cancel the consumer of a channel and forget it."""
        self.application_instances.pop(scope_id)["future"].cancel()

    async def application_send(self, scope: Scope, message: Message) -> None:
        """Refuse what a consumer sends: there is no client.

        Raises:
            RuntimeError: always; the message says what to do.
        """
        raise RuntimeError(
            f"the consumer of channel {scope['channel']!r} sent {message['type']!r}, "
            "and there is no client behind a channel: send to a channel or a group "
            "of the layer instead."
        )

    def application_exception(
        self, exception: BaseException, application_details: dict[str, Any]
    ) -> None:
        """Log what a consumer raised; the next message makes a new one."""
        logger.error(
            "the consumer of channel %r failed; its message is lost",
            application_details["scope"]["channel"],
            exc_info=exception,
        )

    def _start(
        self, scope_id: str, scope: Scope, queue: asyncio.Queue[Message]
    ) -> dict[str, Any]:
        turn = self._turns.get(scope_id)

        async def receive() -> Message:
            message = await queue.get()
            if turn is not None and turn.locked():
                turn.release()
            return message

        async def send(message: Message) -> None:
            await self.application_send(scope, message)

        adapt: Any = guarantee_single_callable
        serve = adapt(self.application)
        future = asyncio.ensure_future(serve(scope, receive, send))
        details = {"input_queue": queue, "future": future, "scope": scope}
        future.add_done_callback(lambda done: self._ended(scope_id, details, done))
        return details

    def _ended(
        self, scope_id: str, details: dict[str, Any], future: asyncio.Future[Any]
    ) -> None:
        if self.application_instances.get(scope_id) is details:
            del self.application_instances[scope_id]
        if future.cancelled():
            return
        if error := future.exception():
            self.application_exception(error, details)
        if not details["input_queue"].empty():
            # What it did not ask for is the next one's.
            self.application_instances[scope_id] = self._start(
                scope_id, details["scope"], details["input_queue"]
            )

    async def _run_with_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):
                loop.add_signal_handler(number, self.stop)
        await self.arun()

    async def _end_applications(self) -> None:
        """Let the consumers handle what they have, then end them."""
        instances = list(self.application_instances.values())
        if not instances:
            return
        for each in instances:
            each["input_queue"].put_nowait({"type": "bridge.end"})
        futures = [each["future"] for each in instances]
        _, running = await asyncio.wait(futures, timeout=self.grace)
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        if running:
            logger.warning(
                "%d handlers did not end within %g s and were cancelled",
                len(running),
                self.grace,
            )
