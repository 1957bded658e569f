"""Heartbeats: what a stream sends when it has sent nothing else for a while."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import NamedTuple, Protocol

from django_asgi_bridge.http.contracts import Client

__all__ = ("Beat", "Pulse", "Timer", "TimerHandle")


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


class Pulse:
    """Sends the beats of a stream whose items the calling task makes and sends.

    The loop's own timer serves many items: it looks, when it fires, how long the
    silence has been by then. To set and cancel one for each item costs as much as
    the item.

    Args:
        beat: what is sent, and when; None for never.
        send: sends it.
        client: where it has left when a beat was sent, the task is cancelled.

    Attributes:
        is_silent: whether a beat may begin: the task sends nothing.
        since: when it began to be silent, on the clock ``time.monotonic()``.
        needs_timer: whether ``set_timer()`` has to be called then.
        sending: the beat that is being sent, which has to end before the next item.
        failure: what kept a beat from being sent.
    """

    __slots__ = (
        "_beat",
        "_client",
        "_handle",
        "_loop",
        "_send",
        "_task",
        "failure",
        "is_silent",
        "needs_timer",
        "sending",
        "since",
    )

    def __init__(
        self,
        beat: Beat | None,
        send: Callable[[bytes], Awaitable[None]],
        client: Client,
    ) -> None:
        self._beat = beat
        self._send = send
        self._client = client
        self._loop = asyncio.get_running_loop()
        self._task = asyncio.current_task()
        self._handle: TimerHandle | None = None
        self.is_silent = False
        self.since = 0.0
        self.needs_timer = beat is not None
        self.sending: asyncio.Task[None] | None = None
        self.failure: BaseException | None = None

    def set_timer(self) -> None:
        """Let a beat come after the silence that begins now."""
        self.since = monotonic()
        if self._beat is not None:
            self._arm(self._beat, self._beat.seconds)

    def stop(self) -> None:
        """Send no beat any more."""
        self.is_silent = False
        if self._handle is not None:
            self._handle.cancel()
        if self.sending is not None:
            self.sending.cancel()

    def _arm(self, beat: Beat, seconds: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        start = beat.timer or self._loop.call_later
        self._handle = start(seconds, self._on_timer)
        # One that was given has its own time, and is set anew for each item.
        self.needs_timer = beat.timer is not None

    def _on_timer(self) -> None:
        self._handle = None
        self.needs_timer = True
        beat = self._beat
        if beat is None or not self.is_silent:
            return
        left = self.since + beat.seconds - monotonic()
        if beat.timer is None and left > 0:
            self._arm(beat, left)
            return
        self.sending = self._loop.create_task(self._send_beat(beat.chunk))
        self.sending.add_done_callback(self._on_sent)

    async def _send_beat(self, chunk: bytes) -> None:
        await self._send(chunk)

    def _on_sent(self, sending: asyncio.Task[None]) -> None:
        self.sending = None
        if not sending.cancelled():
            self.failure = sending.exception()
        if not self.is_silent:
            return
        is_over = self.failure is not None or self._client.is_disconnected
        if is_over and self._task is not None:
            self._task.cancel()
        else:
            self.set_timer()
