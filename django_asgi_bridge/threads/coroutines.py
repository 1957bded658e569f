"""Coroutines that cost less than those that ``async def`` and tasks make by themselves.

A task of ``start_task()`` takes its first step at once: what does not have to wait
costs no turn of the event loop. A function with ``tail_call`` hands on the coroutine
of another: each one that waits takes some 250 bytes, as long as its connection lives,
and each one that is made takes time.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import sys
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, NoReturn, TypeVar

__all__ = ("hand_on", "raising", "start_task", "tail_call")

_F = TypeVar("_F", bound=Callable[..., Awaitable[Any]])


def start_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, None],
    context: contextvars.Context | None = None,
) -> asyncio.Task[None]:
    """Start a task on the running loop; it may have ended on return.

    Before Python 3.12 it has not begun.

    Args:
        context: the task's; a copy of the current one when left out.
    """
    if sys.version_info < (3, 12):
        return loop.create_task(coroutine, context=context)
    return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)


def tail_call(function: _F) -> _F:
    """Mark a function that returns what another one lets it await.

    Servers, and others who ask, are told that it is a coroutine function. What it does
    by itself is done when it is called, in the caller's context; what it raises has to
    come by ``raising()``.
    """
    if sys.version_info < (3, 12):
        # Nothing else would show there that it is one.
        return _awaiting(function)
    return inspect.markcoroutinefunction(function)


def _awaiting(function: Any) -> Any:
    """Return a coroutine function that awaits what another one returns."""
    asked = tuple(inspect.signature(function).parameters)

    # uvicorn calls an application without arguments: one that allows it is taken for
    # a factory. So these have the arguments of an application, and no others.
    if asked == ("self", "scope", "receive", "send"):

        @functools.wraps(function)
        async def method(self: Any, scope: Any, receive: Any, send: Any) -> Any:
            return await function(self, scope, receive, send)

        return method
    if asked == ("scope", "receive", "send"):

        @functools.wraps(function)
        async def application(scope: Any, receive: Any, send: Any) -> Any:
            return await function(scope, receive, send)

        return application

    @functools.wraps(function)
    async def awaiting(*args: Any, **kwargs: Any) -> Any:
        return await function(*args, **kwargs)

    return awaiting


def hand_on(
    application: Callable[..., Awaitable[Any]], scope: Any, receive: Any, send: Any
) -> Coroutine[Any, Any, Any]:
    """Return the coroutine of an ASGI application, which may be anybody's.

    One that returns a future gets a coroutine around it, since servers and test tools
    make a task of what they are given.
    """
    serving = application(scope, receive, send)
    return serving if inspect.iscoroutine(serving) else _wait_for(serving)


async def _wait_for(awaitable: Awaitable[Any]) -> Any:
    return await awaitable


async def raising(error: Exception) -> NoReturn:
    """Raise an error once this is awaited, as a coroutine function would."""
    raise error
