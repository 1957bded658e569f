"""asgiref ``Local`` values: kept by each request, seen on each of its threads.

Django keeps the URLconf, the script prefix, its caches and its connections in such
objects. Each is a context variable underneath (for thread-critical ones, and away
from an event loop, a ``threading.local``). ``LocalView`` asks those directly: an
access through the ``Local`` itself takes a lock and six calls, and a request makes
a dozen. Where a release of asgiref is built otherwise, it goes through the front.
"""

from __future__ import annotations

import contextvars
import threading
from functools import lru_cache
from typing import Any, Final

from asgiref import local as asgiref_local

__all__ = ("IS_SHARED", "LocalView", "rehome_locals", "unshare_locals", "view_of")

# asgiref 3.12 and later tag the values of a Local with their thread; earlier
# releases carry them as plain context variables.
_STORAGE: Any = getattr(asgiref_local, "_Storage", None)

IS_SHARED: Final = _STORAGE is None
"""Copied contexts share the values: each request has to ask for its own."""


class LocalView:
    """A cheap look at the values of one asgiref ``Local``, in the current context.

    Args:
        local: the object; what is set through it is seen here, and the reverse.
    """

    __slots__ = ("_local", "_made", "_of_thread", "_variable")

    def __init__(self, local: Any) -> None:
        self._local = local
        inner = getattr(local, "_storage", None)
        variable = getattr(inner, "_data", None)
        is_variable = isinstance(variable, contextvars.ContextVar)
        self._variable: Any = variable if is_variable else None
        # What was set last: asgiref copies such an object before it changes it, so
        # contexts can share one.
        self._made: Any = None
        self._of_thread: Any = inner if isinstance(inner, threading.local) else None

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value under ``name``."""
        if self._variable is None:
            return getattr(self._local, name, default)
        stored = self._variable.get(None)
        if stored is None:
            return default
        if _STORAGE is None:
            return stored.get(name, default)
        if stored.thread_id != threading.get_ident():
            return default
        return stored.data.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Put ``value`` under ``name``."""
        variable = self._variable
        if variable is None or variable.get(None) is not None:
            setattr(self._local, name, value)
        elif _STORAGE is None:
            variable.set({name: value})
        else:
            made = self._made
            here = threading.get_ident()
            if (
                made is None
                or made.thread_id != here
                or made.data.get(name, made) is not value
            ):
                made = self._made = _STORAGE(here, {name: value})
            variable.set(made)

    def of_thread(self) -> dict[str, Any] | None:
        """Return all that this thread has, if threads and not contexts have values."""
        return None if self._of_thread is None else vars(self._of_thread)

    def is_empty(self) -> bool:
        """Tell whether there surely is no value at all."""
        if self._of_thread is not None:
            return not vars(self._of_thread)
        return self._variable is not None and self._variable.get(None) is None


@lru_cache(maxsize=16)
def view_of(local: Any) -> LocalView:
    """Return the view of an asgiref ``Local`` that may be replaced by another.

    Django puts new ones in place when settings change.
    """
    return LocalView(local)


def unshare_locals() -> None:
    """Give the current context asgiref ``Local`` values of its own.

    asgiref before 3.12 keeps them in a dictionary that copied contexts share, and
    releases before 3.9 change it in place: what one request sets others would see.
    """
    for variable, value in contextvars.copy_context().items():
        if variable.name == "asgiref.local" and isinstance(value, dict):
            variable.set(value.copy())


def rehome_locals(context: contextvars.Context) -> None:
    """Let the values of asgiref ``Local`` objects be seen on this thread.

    Args:
        context: the current one.
    """
    if _STORAGE is None:
        return
    here = threading.get_ident()
    # What is set meanwhile does not disturb the walk.
    for variable, value in context.items():
        if type(value) is _STORAGE and value.thread_id != here:
            variable.set(_STORAGE(here, value.data))
