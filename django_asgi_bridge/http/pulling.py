"""Sync iterators of bodies: pulled on the request's worker, sent from the event loop.

One trip takes several items. What is made leaves soon, even while the iterator is busy
with its next item, and an event stream beats while it is silent.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from time import monotonic
from typing import Any

from django_asgi_bridge.http.beats import Beat, TimerHandle
from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.items import Encoder, encoder_of
from django_asgi_bridge.threads import PINS_STATE

__all__ = ("send_pulled",)

_PULL_BYTES = 65536
"""Bytes after which a trip ends."""

_PULL_SECONDS = 0.01
"""Seconds after which it ends, and after which an item leaves that waits for the
next one to be made."""

_Send = Callable[[bytes], Awaitable[None]]


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
        self._items: Iterator[Any] | None = None
        self._encode: Encoder | None = None
        # The worker adds at one end and the loop takes at the other: no lock is needed.
        self._parts: deque[bytes] = deque()

    def pull(self) -> None:
        """Take items until there is enough to send."""
        items = self._begin() if self._items is None else self._items
        encode, add = self._encode, self._parts.append
        deadline = self.deadline = monotonic() + _PULL_SECONDS
        size = 0
        for item in items:
            part = encode(item) if encode and type(item) is not bytes else item
            add(part)
            size += len(part)
            if size >= _PULL_BYTES or monotonic() >= deadline:
                self.deadline = math.inf
                return
        self.is_over = True

    def take(self) -> bytes:
        """Return what there is; from the event loop."""
        parts = self._parts
        return b"".join([parts.popleft() for _ in range(len(parts))])

    def _begin(self) -> Any:
        response = self._response
        self._encode = encoder_of(response)
        self._items = response._iterator if self._encode else iter(response)
        return self._items


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
        left = self._puller.deadline - monotonic()
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
