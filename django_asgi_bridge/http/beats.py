"""Heartbeats: what a stream sends when it has sent nothing else for a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

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
    """Sends the beats of a stream whose items one task makes and sends.

    The loop's own timer serves many items: it looks, when it fires, how long the
    silence has been by then. To set and cancel one for each item costs as much as
    the item.

    Args:
        beat: what is sent, and when.
        send: sends it.
        is_left: tells whether the client left.
        task: of the items; it is cancelled where a beat tells that the client left.

    Attributes:
        failure: what kept a beat from being sent.
    """

    __slots__ = (
        "_beat",
        "_handle",
        "_is_left",
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
        beat: Beat,
        send: Callable[[bytes], Awaitable[None]],
        is_left: Callable[[], bool],
        task: "asyncio.Task[None]",
    ) -> None:
        self._beat = beat
        self._send = send
        self._is_left = is_left
        self._task = task
        self._loop = task.get_loop()
        self._sending: asyncio.Task[None] | None = None
        self._handle: TimerHandle | None = None
        self._is_silent = False
        self._since = 0.0
        self.failure: BaseException | None = None

    def resume(self) -> None:
        """Note that nothing is being sent from now on."""
        self._is_silent = True
        if self._beat.timer is not None:
            self._arm(self._beat.seconds)
            return
        self._since = self._loop.time()
        if self._handle is None:
            self._arm(self._beat.seconds)

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

    def _arm(self, seconds: float) -> None:
        if self._handle is not None:
            self._handle.cancel()
        self._handle = (self._beat.timer or self._loop.call_later)(
            seconds, self._on_timer
        )

    def _on_timer(self) -> None:
        self._handle = None
        if not self._is_silent:
            # `resume()` sets the next one.
            return
        if self._beat.timer is None:
            left = self._since + self._beat.seconds - self._loop.time()
            if left > 0:
                self._arm(left)
                return
        self._sending = self._loop.create_task(self._send_beat())
        self._sending.add_done_callback(self._on_sent)

    async def _send_beat(self) -> None:
        await self._send(self._beat.chunk)

    def _on_sent(self, sending: "asyncio.Task[None]") -> None:
        self._sending = None
        if not sending.cancelled():
            self.failure = sending.exception()
        if not self._is_silent:
            return
        if self.failure is not None or self._is_left():
            self._task.cancel()
        else:
            self.resume()
