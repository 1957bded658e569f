"""One run of the lifespan: every hook entered and left, in one task.

Specification: ASGI lifespan protocol 2.0.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import logging
import os
from collections.abc import Coroutine, Iterator
from types import TracebackType
from typing import Any, Literal, TypeAlias, TypeVar

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.lifespan.hooks import (
    Hook,
    LifespanState,
    Manager,
    RunSync,
    dotted_name,
)
from django_asgi_bridge.lifespan.managers import HookManager, StepError
from django_asgi_bridge.types import App

__all__ = ("Phase", "Run")

logger = logging.getLogger("django_asgi_bridge.lifespan")

_T = TypeVar("_T")


Phase: TypeAlias = Literal["starting", "ready", "failed", "stopped"]
"""In this order; or failed after either of the first two."""


class Run:
    """One start and one stop of all hooks and guests.

    Args:
        hooks: Entered in their order.
        guests: Entered after them.
        timeout: Seconds that each may take to start, and to stop.
        run_sync: Calls the two halves of a sync hook.
    """

    __slots__ = (
        "_entered",
        "_guests",
        "_hooks",
        "_pid",
        "_run_sync",
        "_settled",
        "_stop_asked",
        "_task",
        "_timeout",
        "error",
        "guest_states",
        "phase",
        "state",
    )

    def __init__(
        self,
        hooks: tuple[Hook, ...],
        guests: tuple[App, ...],
        timeout: float,
        run_sync: RunSync | None,
    ) -> None:
        self._hooks = hooks
        self._guests = guests
        self._timeout = timeout
        self._run_sync = run_sync
        self._entered: list[tuple[str, Manager]] = []
        self._settled = asyncio.Event()
        self._stop_asked = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._pid = os.getpid()
        self.error: LifespanError | None = None
        self.phase: Phase = "starting"
        self.state: LifespanState = {}
        self.guest_states: dict[int, LifespanState] = {}

    async def start(self) -> None:
        """Enter every hook and guest; on any error leave those that were entered.

        Raises:
            LifespanError: One did not start; its traceback has been logged.
        """
        label = ""
        try:
            for label, manager in self._managers():
                yielded = await self._in_time(manager.__aenter__())
                self._entered.append((label, manager))
                self.state.update(yielded or {})
        except Exception as error:
            self.phase = "failed"
            failure = _failure(label, "start", error)
            logger.exception("%s", failure)
            await self.stop(None)
            raise LifespanError(failure) from error
        except BaseException as error:
            self.phase = "failed"
            await self.stop(error)
            raise
        self.phase = "ready"

    async def stop_after(self, signal: Coroutine[Any, Any, object]) -> list[str]:
        """Wait for the signal, then leave the hooks; return what went wrong.

        Raises:
            LifespanError: A hook's own background task ended the wait.
        """
        try:
            await signal
        except asyncio.CancelledError as cancelled:
            failures = await self.stop(cancelled)
            task = asyncio.current_task()
            if failures and task is not None and not task.cancelling():
                # The task group of a hook cancelled us, and took that back when left.
                self.phase = "failed"
                raise LifespanError(failures[0]) from cancelled
            raise
        except BaseException:
            await self.stop(None)
            raise
        return await self.stop(None)

    async def stop(self, cause: BaseException | None) -> list[str]:
        """Leave what was entered, last first, each whatever the others do.

        An error of one hook is never shown to the others, so that clean-up after a
        plain ``yield`` runs.

        Args:
            cause: What ends the run before its time; each hook sees it at its yield.
        """
        failures: list[str] = []
        interrupted: asyncio.CancelledError | None = None
        while self._entered:
            label, manager = self._entered.pop()
            try:
                await self._in_time(manager.__aexit__(*_exc_info(cause)))
            except asyncio.CancelledError as error:
                if cause is None:
                    cause = interrupted = error
            except Exception as error:
                failures.append(_failure(label, "stop", error))
                logger.exception("%s", failures[-1])
        if self.phase != "failed":
            self.phase = "stopped"
        if interrupted is not None:
            raise interrupted
        return failures

    def own(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start in a task of our own, which outlives the request that asked for it."""
        # An empty context: the variables and the leased thread are the request's.
        self._task = loop.create_task(
            self._start_and_hold(),
            name="django_asgi_bridge.lifespan",
            context=contextvars.Context(),
        )
        atexit.register(self._stop_at_exit)

    async def wait_until_settled(self) -> None:
        """Wait for the end of the start; the waiter's own cancellation ends nothing.

        Raises:
            LifespanError: The start failed.
        """
        await self._settled.wait()
        if self.error is not None:
            raise LifespanError(str(self.error)) from self.error

    async def stop_owned(self) -> bool:
        """Stop the task of our own and wait for its end; False if there is none."""
        if self._task is None:
            return False
        self._stop_asked.set()
        await asyncio.wait({self._task})
        return True

    async def _start_and_hold(self) -> None:
        self.error = LifespanError("The start of the lifespan hooks was cancelled.")
        try:
            await self.start()
            self.error = None
            self._settled.set()
            await self.stop_after(self._stop_asked.wait())
        except LifespanError as error:
            self.error = error
        finally:
            self._settled.set()
            atexit.unregister(self._stop_at_exit)

    def _stop_at_exit(self) -> None:
        """Leave the hooks at the exit of the interpreter, if their loop can run."""
        task = self._task
        if task is None or task.done() or os.getpid() != self._pid:
            return
        loop = task.get_loop()
        if loop.is_closed() or loop.is_running():
            return
        self._stop_asked.set()
        loop.run_until_complete(asyncio.wait({task}))

    def _managers(self) -> Iterator[tuple[str, Manager]]:
        for hook in self._hooks:
            manager = HookManager(hook, self.state, self._run_sync)
            yield f"hook {dotted_name(hook)!r}", manager
        for guest in self._guests:
            # Sites that mount nothing do not pay for that room.
            from django_asgi_bridge.lifespan.guests import (  # noqa: PLC0415
                GuestManager,
            )

            state = self.guest_states[id(guest)] = {}
            yield f"of guest {dotted_name(guest)!r}", GuestManager(guest, state)

    async def _in_time(self, step: Coroutine[Any, Any, _T]) -> _T:
        limit = asyncio.timeout(self._timeout)
        try:
            async with limit:
                return await step
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise StepError(
                f"it took longer than {self._timeout:g} s, "
                'see ASGI_BRIDGE["LIFESPAN_TIMEOUT"].'
            ) from error


def _failure(label: str, verb: str, error: Exception) -> str:
    """One line for the server's log."""
    reason = next(iter(str(error).splitlines()), "")
    if not isinstance(error, StepError):
        reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
    return f"Lifespan {label} failed to {verb}: {reason}"


def _exc_info(
    error: BaseException | None,
) -> tuple[type[BaseException] | None, BaseException | None, TracebackType | None]:
    return (type(error), error, error.__traceback__) if error else (None, None, None)
