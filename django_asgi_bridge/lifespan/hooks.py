"""Hooks: what they are, and where they are declared."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import Any

from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.utils.module_loading import import_string

__all__ = (
    "AppHooks",
    "Hook",
    "LifespanState",
    "Manager",
    "RunSync",
    "SyncManager",
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

SyncManager = AbstractContextManager[Yielded, bool | None]
"""The same of a sync hook."""

Hook = Callable[..., Manager | SyncManager]
"""Called with the state if it asks for it, else with nothing; gives a context manager.

A hook asks for the state by a first positional parameter that is required or is named
``state``.
"""

AppHooks = str | Hook | Sequence[str | Hook]
"""What an ``AppConfig.asgi_lifespan`` may be."""

RunSync = Callable[..., Awaitable[Any]]
"""``run_sync(function, *args)``: calls a function that blocks outside the loop."""


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
