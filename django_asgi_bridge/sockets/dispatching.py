"""Two functions of Channels that code outside it uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

__all__ = ("await_many_dispatch", "name_that_thing")


def name_that_thing(thing: Any) -> str:
    """Return the dotted name of a function, method or class, else of its class."""
    owner = getattr(thing, "__self__", None)
    if owner is not None and hasattr(thing, "__func__"):
        kind = owner if isinstance(owner, type) else type(owner)
        return f"{kind.__module__}.{kind.__qualname__}.{thing.__name__}"
    named = thing if hasattr(thing, "__qualname__") else type(thing)
    return f"{named.__module__}.{named.__qualname__}"


async def await_many_dispatch(
    consumer_callables: Sequence[Callable[[], Awaitable[Any]]],
    dispatch: Callable[[Any], Awaitable[Any]],
) -> None:
    """Await several sources again and again; hand what they give to ``dispatch``.

    One message is dispatched at a time, in the order of the sources. When dispatch
    raises, or this is cancelled, the sources are cancelled; what a source had given
    already and was not dispatched is lost only if dispatch raised.

    Args:
        consumer_callables: each returns an awaitable of the next message.
        dispatch: handles one.
    """
    tasks = [asyncio.ensure_future(source()) for source in consumer_callables]
    try:
        while True:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for index, task in enumerate(tasks):
                if task.done():
                    await dispatch(task.result())
                    tasks[index] = asyncio.ensure_future(consumer_callables[index]())
    finally:
        for task in tasks:
            task.cancel()
        # What a source raises now must not hide why this ends.
        await asyncio.gather(*tasks, return_exceptions=True)
