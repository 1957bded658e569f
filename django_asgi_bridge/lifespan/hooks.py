"""Hooks: where they are declared, and how any kind of them is entered and left."""

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

from django_asgi_bridge.exceptions import LifespanError

__all__ = (
    "AppHooks",
    "Hook",
    "HookManager",
    "LifespanState",
    "Manager",
    "RunSync",
    "StepError",
    "Yielded",
    "app_hooks",
    "dotted_name",
    "find_hooks",
)

LifespanState = dict[str, Any]
"""What the hooks yielded so far; every request gets a shallow copy of it."""

Yielded = Mapping[str, object] | None
"""What a hook may yield: values for ``request.state``, or nothing."""

Manager = AbstractAsyncContextManager[Yielded, bool | None]
"""What is entered at startup and left at shutdown."""

_SyncManager = AbstractContextManager[Yielded, bool | None]

Hook = Callable[..., Manager | _SyncManager]
"""Called with the state if it asks for it, else with nothing; gives a context manager.

A hook asks for the state by a first positional parameter that is required or is named
``state``.
"""

AppHooks = str | Hook | Sequence[str | Hook]
"""What an ``AppConfig.asgi_lifespan`` may be."""

RunSync = Callable[..., Awaitable[Any]]
"""``run_sync(function, *args)``: calls a function that blocks outside the loop."""


class StepError(LifespanError):
    """A hook or guest did not do what it must; the message says it in full."""


def find_hooks(paths: Sequence[str]) -> list[Hook]:
    """Import the project's hooks, ``ASGI_BRIDGE["LIFESPAN"]``.

    Args:
        paths: Dotted paths such as ``"myproject.lifespan.http_client"``.

    Returns:
        The hooks, in the order of their paths.

    Raises:
        ImproperlyConfigured: A path cannot be imported or is not a hook.
    """
    origin = 'ASGI_BRIDGE["LIFESPAN"]'
    if isinstance(paths, str):
        raise ImproperlyConfigured(
            f"{origin} is the string {paths!r}, expected a list of dotted paths: "
            f"write [{paths!r}]."
        )
    return [_load_hook(path, origin) for path in paths]


def app_hooks() -> list[Hook]:
    """Collect the hooks of the installed apps, in the order of ``INSTALLED_APPS``.

    An app declares them by the attribute ``asgi_lifespan`` of its ``AppConfig``:
    a method decorated with ``asynccontextmanager``, or a list of dotted paths or hooks.

    Returns:
        The hooks of all apps.

    Raises:
        ImproperlyConfigured: A path cannot be imported or is not a hook.
    """
    hooks: list[Hook] = []
    for config in apps.get_app_configs():
        declared: AppHooks = getattr(config, "asgi_lifespan", ())
        if isinstance(declared, str) or callable(declared):
            declared = [declared]
        origin = f"{dotted_name(config)}.asgi_lifespan"
        hooks += [_load_hook(entry, origin) for entry in declared]
    return hooks


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
        self._manager: Manager | _SyncManager | None = None

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


def dotted_name(target: object) -> str:
    """Name a function or class by its path, any other object by that of its class."""
    named = target if hasattr(target, "__qualname__") else type(target)
    return f"{named.__module__}.{named.__qualname__}"


def _load_hook(entry: str | Hook, origin: str) -> Hook:
    hook: Any = entry
    if isinstance(entry, str):
        try:
            hook = import_string(entry)
        except ImportError as error:
            raise ImproperlyConfigured(
                f"{origin} names {entry!r}, which cannot be imported: {error}. "
                'Expected the dotted path of a hook, "package.module.name".'
            ) from error
    if not callable(hook):
        raise ImproperlyConfigured(
            f"{origin} names {entry!r}, expected a function that returns a context "
            f"manager; got {hook!r}."
        )
    for is_bare, decorator in (
        (inspect.isasyncgenfunction, "asynccontextmanager"),
        (inspect.iscoroutinefunction, "asynccontextmanager"),
        (inspect.isgeneratorfunction, "contextmanager"),
    ):
        if is_bare(hook):
            raise ImproperlyConfigured(
                f"{origin} names {dotted_name(hook)!r}, which is not a context "
                "manager: give the function one `yield` and decorate it with "
                f"@contextlib.{decorator}."
            )
    return hook  # type: ignore[no-any-return]  # any callable may be a hook


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
