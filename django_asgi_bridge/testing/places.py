"""Where a task of an application waits, for messages of time-outs."""

from __future__ import annotations

import asyncio
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any

__all__ = ("place_of",)


def place_of(task: asyncio.Future[Any]) -> str:
    """Say in which functions a task waits, the innermost of the project last."""
    waits: list[str] = []
    step: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    while step is not None:
        frame = None
        if isinstance(step, CoroutineType):
            frame, step = step.cr_frame, step.cr_await
        elif isinstance(step, GeneratorType):
            frame, step = step.gi_frame, step.gi_yieldfrom
            if frame is not None and not isinstance(step, GeneratorType):
                # threads.drive() steps a coroutine itself.
                step = frame.f_locals.get("coroutine", step)
        elif isinstance(step, AsyncGeneratorType):
            frame, step = step.ag_frame, step.ag_await
        else:
            break
        if frame is not None:
            name = frame.f_code.co_qualname
            waits.append(
                f"{name} (line {frame.f_lineno} of {frame.f_code.co_filename})"
            )
    return " > ".join(waits[-3:]) or "code that cannot be looked into"
