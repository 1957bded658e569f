"""Heartbeats: what a stream sends when it has sent nothing else for a while."""

import asyncio
from collections.abc import Awaitable, Callable
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
        failure: what kept a beat from being sent.
    """

    __slots__ = (
        "_beat",
        "_client",
        "_handle",
        "_is_silent",
        "_loop",
        "_send",
        "_sending",
        "_since",
        "_task",
        "failure",
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
        self._sending: asyncio.Task[None] | None = None
        self._handle: TimerHandle | None = None
        self._is_silent = False
        self._since = 0.0
        self.failure: BaseException | None = None

    def resume(self) -> None:
        """Note that nothing is being sent from now on."""
        beat = self._beat
        if beat is None:
            return
        self._is_silent = True
        self._since = self._loop.time()
        if self._handle is None or beat.timer is not None:
            self._arm(beat, beat.seconds)

    def pause(self) -> "asyncio.Task[None] | None":
        """Let no beat begin; return the one that has to end first, if any."""
        self._is_silent = False
        return self._sending

    def stop(self) -> None:
        """Send no beat any more."""
        self._is_silent = False
        if self._handle is not None:
            self._handle.cancel()
        if self._sending is not None:
            self._sending.cancel()

    def _arm(self, beat: Beat, seconds: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        start = beat.timer or self._loop.call_later
        self._handle = start(seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._handle = None
        beat = self._beat
        if beat is None or not self._is_silent:
            # `resume()` sets the next one.
            return
        # A timer that was given has its own time, and was set anew for each item.
        left = self._since + beat.seconds - self._loop.time()
        if beat.timer is None and left > 0:
            self._arm(beat, left)
            return
        self._sending = self._loop.create_task(self._send_beat(beat.chunk))
        self._sending.add_done_callback(self._on_sent)

    async def _send_beat(self, chunk: bytes) -> None:
        await self._send(chunk)

    def _on_sent(self, sending: "asyncio.Task[None]") -> None:
        self._sending = None
        if not sending.cancelled():
            self.failure = sending.exception()
        if not self._is_silent:
            return
        is_over = self.failure is not None or self._client.is_disconnected
        if is_over and self._task is not None:
            self._task.cancel()
        else:
            self.resume()
