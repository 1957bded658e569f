"""The application for the ``lifespan`` scope, and its lazy start without one.

Specification: ASGI lifespan protocol 2.0.
"""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.lifespan.hooks import (
    Hook,
    LifespanState,
    RunSync,
    dotted_name,
)
from django_asgi_bridge.types import App, Receive, Scope, Send

if TYPE_CHECKING:
    from django_asgi_bridge.lifespan.run import Run

__all__ = ("Lifespan",)


class Lifespan:
    """Runs startup and shutdown hooks, once for each event loop that serves.

    It is the application for the ``lifespan`` scope. For servers without that scope,
    call :meth:`ensure_started` before each request.

    Args:
        hooks: Entered in this order, left in the reverse order.
        guests: Mounted ASGI applications, whose own lifespan runs inside the hooks'.
        timeout: Seconds that each hook or guest may take to start, and to stop.
            A sync hook is not interrupted by it, only no longer waited for.
        run_sync: Calls the two halves of a hook that is a sync context manager, which
            may run on different threads. Without it such a hook is an error.
    """

    def __init__(
        self,
        hooks: Sequence[Hook] = (),
        *,
        guests: Sequence[App] = (),
        timeout: float = 30.0,
        run_sync: RunSync | None = None,
    ) -> None:
        self.hooks = tuple(hooks)
        self.timeout = timeout
        #: True while a request must call `ensure_started()` before its work.
        self.needs_start = bool(self.hooks)
        self._run_sync = run_sync
        self._guests: list[App] = []
        # A run in a task of our own holds its loop, so `_begin` drops closed loops.
        # Where there is nothing to run it only notes that the loop serves.
        self._runs: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, Run | None]
        self._runs = weakref.WeakKeyDictionary()
        self._served: list[Run] = []
        self._lock = threading.Lock()
        for guest in guests:
            self.add_guest(guest)
        if self.hooks:
            _load_run()

    @property
    def guests(self) -> tuple[App, ...]:
        """The mounted applications that take part, each once."""
        return tuple(self._guests)

    def add_guest(self, guest: App) -> None:
        """Let a mounted ASGI application take part; a second time does nothing.

        Raises:
            LifespanError: The hooks have already been started.
        """
        if any(known is guest for known in self._guests):
            return
        if self._runs:
            raise LifespanError(
                f"Guest {dotted_name(guest)!r} came after the start of the lifespan: "
                "mount it before the application serves."
            )
        self._guests.append(guest)
        self.needs_start = True
        _load_run()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Speak the lifespan protocol with a server, in the server's own task.

        Raises:
            ValueError: The scope is not a ``lifespan`` scope.
            LifespanError: A hook's own background task failed while serving.
        """
        if scope["type"] != "lifespan":
            raise ValueError(
                f"Lifespan can only handle lifespan scopes, not {scope['type']}."
            )
        await receive()
        loop = asyncio.get_running_loop()
        if not self.hooks and not self._guests:
            self._runs[loop] = None
            await _complete_startup(receive, send)
            await send({"type": "lifespan.shutdown.complete"})
            return
        run = self._begin(loop)
        self._served.append(run)
        self.needs_start = False
        try:
            try:
                await run.start()
            except LifespanError as error:
                await send({"type": "lifespan.startup.failed", "message": str(error)})
                return
            if scope.get("state") is not None:
                scope["state"].update(run.state)
            failures = await run.stop_after(_complete_startup(receive, send))
        finally:
            self._served.remove(run)
            self.needs_start = not self._served and bool(self.hooks or self._guests)
        if failures:
            message = " ".join(failures)
            await send({"type": "lifespan.shutdown.failed", "message": message})
        else:
            await send({"type": "lifespan.shutdown.complete"})

    async def ensure_started(self) -> None:
        """Start the hooks if no server has; return at once when they run.

        Requests that come at the same time wait for one start. After a failed start
        the next request tries again. After the server's own shutdown a late request
        of the same loop starts nothing.

        Raises:
            LifespanError: The start failed; the message names the hook.
        """
        if not self.needs_start:
            return
        loop = asyncio.get_running_loop()
        run = self._runs.get(loop)
        phase = None if run is None else run.phase
        if phase in {"ready", "stopped"}:
            return
        if run is None or phase == "failed":
            run = self._begin(loop)
            run.own(loop)
        await run.wait_until_settled()

    async def stop(self) -> None:
        """Leave the hooks that a request of this loop started; else do nothing.

        The next request starts them again.
        """
        loop = asyncio.get_running_loop()
        run = self._runs.get(loop)
        if run is not None and await run.stop_owned():
            self._runs.pop(loop, None)

    def request_state(self, scope: Scope) -> LifespanState:
        """The state for one request: a copy of the hooks', and what the scope brings.

        Where both have a value, that of the scope (from ASGI middleware) counts.
        """
        run = self._current_run()
        return {**(run.state if run else {}), **(scope.get("state") or {})}

    def guest_state(self, guest: App, scope: Scope) -> LifespanState:
        """The state for one request to a guest: a copy of its own, without the hooks'.

        Values that ASGI middleware put into the scope's state stay.
        """
        run = self._current_run()
        brought: LifespanState = scope.get("state") or {}
        if run is None:
            return dict(brought)
        kept = {key: value for key, value in brought.items() if key not in run.state}
        return {**run.guest_states.get(id(guest), {}), **kept}

    def _begin(self, loop: asyncio.AbstractEventLoop) -> Run:
        run_class = _load_run()
        with self._lock:
            for known in [known for known in self._runs if known.is_closed()]:
                del self._runs[known]
            run = self._runs[loop] = run_class(
                self.hooks, self.guests, self.timeout, self._run_sync
            )
        return run

    def _current_run(self) -> Run | None:
        """This loop's run, else the server's, whose loop may be another."""
        run = self._runs.get(asyncio.get_running_loop())
        if run is None and self._served:
            return self._served[-1]
        return run


def _load_run() -> type[Run]:
    # Most sites have no hooks and do not pay for this room.
    from django_asgi_bridge.lifespan.run import Run  # noqa: PLC0415

    return Run


async def _complete_startup(receive: Receive, send: Send) -> None:
    """Tell the server that it may serve, and wait for its shutdown."""
    await send({"type": "lifespan.startup.complete"})
    await receive()
