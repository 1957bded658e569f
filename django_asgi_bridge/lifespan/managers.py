"""How any kind of hook is entered and left."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.lifespan.hooks import (
    Hook,
    LifespanState,
    Manager,
    RunSync,
    SyncManager,
    Yielded,
)

__all__ = ("HookManager", "StepError")


class StepError(LifespanError):
    """A hook or guest did not do what it must; the message says it in full."""


class HookManager(AbstractAsyncContextManager[Yielded, bool | None]):
    """A hook, sync or async, as an async context manager.

    The hook is called when it is entered, not before.

    Args:
        hook: The hook.
        state: What the hooks before it yielded.
        run_sync: Calls both halves of a sync context manager; such a hook needs it.
    """

    __slots__ = ("_hook", "_manager", "_run_sync", "_state")

    def __init__(
        self, hook: Hook, state: LifespanState, run_sync: RunSync | None
    ) -> None:
        self._hook = hook
        self._state = state
        self._run_sync = run_sync
        self._manager: Manager | SyncManager | None = None

    async def __aenter__(self) -> Yielded:
        made = self._hook(self._state) if _takes_state(self._hook) else self._hook()
        if isinstance(made, AbstractAsyncContextManager):
            yielded: object = await made.__aenter__()
        elif not isinstance(made, AbstractContextManager):
            raise StepError(
                f"it returned {made!r}, expected a context manager: decorate it with "
                "@contextlib.asynccontextmanager."
            )
        elif self._run_sync is None:
            raise StepError(
                "it is a sync context manager and there is no `run_sync` to call it."
            )
        else:
            yielded = await self._run_sync(made.__enter__)
        self._manager = made
        if yielded is None or isinstance(yielded, Mapping):
            return yielded
        await self.__aexit__(None, None, None)
        raise StepError(
            f"it yielded {yielded!r}, expected a mapping for request.state, or nothing."
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        made = self._manager
        if isinstance(made, AbstractAsyncContextManager):
            await made.__aexit__(exc_type, exc, traceback)
        elif made is not None and self._run_sync is not None:
            await self._run_sync(made.__exit__, exc_type, exc, traceback)


def _takes_state(hook: Hook) -> bool:
    try:
        parameters = list(inspect.signature(hook).parameters.values())
    except (TypeError, ValueError):
        return False  # a builtin without a signature
    if not parameters:
        return False
    first = parameters[0]
    if first.kind not in {first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD}:
        return False
    return first.default is first.empty or first.name == "state"
