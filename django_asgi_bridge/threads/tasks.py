"""Tasks that take their first step at once, where Python can (3.12 and later).

What does not have to wait then costs no turn of the event loop.
"""

import asyncio
import contextvars
import sys
from collections.abc import Coroutine
from typing import Any

__all__ = ("start_task",)


def start_task(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, None],
    context: contextvars.Context | None = None,
) -> "asyncio.Task[None]":
    """Start a task on the running loop; it may have ended on return.

    Args:
        context: the task's; a copy of the current one when left out.
    """
    if sys.version_info < (3, 12):
        return loop.create_task(coroutine, context=context)
    return asyncio.Task(coroutine, loop=loop, context=context, eager_start=True)
