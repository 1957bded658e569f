"""Sync iterators of bodies: pulled on the request's worker, sent from the event loop.

One trip takes several items. What is made leaves soon, even while the iterator is busy
with its next item, and an event stream beats while it is silent.
"""

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import NamedTuple, Protocol

from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.threads import PINS_STATE

__all__ = ("Beat", "Timer", "TimerHandle", "send_pulled")

_PULL_BYTES = 65536
"""Bytes after which a trip ends."""

_PULL_SECONDS = 0.01
"""Seconds after which it ends, and after which an item leaves that waits for the
next one to be made."""

_Send = Callable[[bytes], Awaitable[None]]


class TimerHandle(Protocol):
    """What a timer returns."""

    def cancel(self) -> object:
        """Make sure that the callback is not called any more."""


Timer = Callable[[float, Callable[[], None]], TimerHandle]
"""``timer(seconds, callback)``, as ``loop.call_later``."""


class Beat(NamedTuple):
    """What is sent when nothing else has been for a while.

    Attributes:
        seconds: of silence.
        chunk: what is sent then; it has to stand between two items.
        timer: calls the beat; ``loop.call_later`` if ``None``.
    """

    seconds: float
    chunk: bytes
    timer: Timer | None = None


async def send_pulled(exchange: Exchange, response: Response, send: _Send) -> None:
    """Send a response with a sync iterator, one body event after another."""
    puller = _Puller(response)
    beat: Beat | None = getattr(response, "sync_beat", None)
    while not exchange.is_disconnected and not puller.is_over:
        meanwhile = _Meanwhile(puller, send, beat)
        failure: Exception | None = None
        try:
            await exchange.lease.run(puller.pull, pins=PINS_STATE)
        except Exception as error:
            failure = error
        except BaseException:
            meanwhile.cancel()
            raise
        await meanwhile.end()
        # What was made before an error still leaves.
        if batch := puller.take():
            await send(batch)
        if failure is not None:
            raise failure


class _Puller:
    """Takes items on the worker; the loop takes them from here."""

    def __init__(self, response: Response) -> None:
        self.is_over = False
        #: When the trip ends with its next item; far away until it has begun.
        self.deadline = math.inf
        self._response = response
        self._parts: Iterator[bytes] | None = None
        self._lock = threading.Lock()
        self._batch: list[bytes] = []
        self._size = 0

    def pull(self) -> None:
        """Take items until there is enough to send."""
        if self._parts is None:
            self._parts = iter(self._response)
        self.deadline = time.monotonic() + _PULL_SECONDS
        for part in self._parts:
            with self._lock:
                self._batch.append(part)
                self._size += len(part)
                is_enough = self._size >= _PULL_BYTES
            if is_enough or time.monotonic() >= self.deadline:
                self.deadline = math.inf
                return
        self.is_over = True

    def take(self) -> bytes:
        """Return what there is; from the event loop."""
        with self._lock:
            batch, self._batch, self._size = self._batch, [], 0
        return b"".join(batch)


class _Meanwhile:
    """Sends during one trip: the items that wait for the next one, and beats.

    Items need it once, when the deadline has passed: any later one ends the trip.
    """

    def __init__(self, puller: _Puller, send: _Send, beat: Beat | None) -> None:
        self._puller = puller
        self._send = send
        self._beat = beat
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None
        self._is_over = False
        self._flush = self._loop.call_later(_PULL_SECONDS, self._on_deadline)
        self._silence: TimerHandle | None = None
        self._await_silence()

    def _on_deadline(self) -> None:
        left = self._puller.deadline - time.monotonic()
        if left > 0:
            # The trip began later than we did, or waits for a worker.
            wait = min(left, _PULL_SECONDS)
            self._flush = self._loop.call_later(wait, self._on_deadline)
        elif self._task is not None and not self._task.done():
            self._task.add_done_callback(lambda _: self._flush_items())
        else:
            self._flush_items()

    def _flush_items(self) -> None:
        if self._can_send() and (batch := self._puller.take()):
            self._start(batch)

    def _await_silence(self) -> None:
        if self._beat is not None:
            timer = self._beat.timer or self._loop.call_later
            self._silence = timer(self._beat.seconds, self._on_silence)

    def _on_silence(self) -> None:
        if self._beat is None or self._is_over:
            return
        if self._can_send():
            self._start(self._puller.take() or self._beat.chunk)
        self._await_silence()

    def _can_send(self) -> bool:
        """Tell whether nothing is being sent, and nothing is missing before."""
        task = self._task
        if self._is_over or task is None:
            return not self._is_over
        return task.done() and not task.cancelled() and task.exception() is None

    def _start(self, batch: bytes) -> None:
        self._task = self._loop.create_task(self._send_batch(batch))

    async def _send_batch(self, batch: bytes) -> None:
        await self._send(batch)

    def _stop(self) -> None:
        self._is_over = True
        self._flush.cancel()
        if self._silence is not None:
            self._silence.cancel()

    def cancel(self) -> None:
        """Stop at once: the request was cancelled."""
        self._stop()
        if self._task is not None:
            self._task.cancel()

    async def end(self) -> None:
        """Stop, and wait for what is being sent."""
        self._stop()
        if self._task is not None:
            await self._task
