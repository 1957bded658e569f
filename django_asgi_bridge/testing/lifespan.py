"""The server's half of the lifespan protocol, for one client.

Specification: ASGI lifespan protocol 2.0.
"""

from __future__ import annotations

import asyncio
from typing import Any

from django_asgi_bridge.exceptions import LifespanError
from django_asgi_bridge.testing.worker import borrowed_connections
from django_asgi_bridge.types import App, Message

__all__ = ("LifespanRun",)


class LifespanRun:
    """Runs an application's startup and shutdown hooks in one task.

    Args:
        application: serves ``lifespan`` scopes.
    """

    def __init__(self, application: App) -> None:
        self.state: dict[str, Any] = {}
        self._application = application
        self._events: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Run the startup hooks.

        Raises:
            LifespanError: one failed; the message names it.
        """
        self._task = asyncio.create_task(self._serve())
        self._task.add_done_callback(lambda _: self._answers.put_nowait(None))
        await self._ask("startup")

    async def stop(self) -> None:
        """Run the shutdown hooks and wait for the task's end.

        Raises:
            LifespanError: one failed; the message names it.
        """
        await self._ask("shutdown")
        if self._task is not None:
            await self._task

    async def _ask(self, phase: str) -> None:
        self._events.put_nowait({"type": f"lifespan.{phase}"})
        answer = await self._answers.get()
        if answer is None:
            if self._task is not None:
                await self._task
            raise LifespanError(f"the application ended without an answer to {phase}")
        if answer["type"] == f"lifespan.{phase}.failed":
            raise LifespanError(str(answer.get("message", "")))

    async def _serve(self) -> None:
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        with borrowed_connections():
            await self._application(scope, self._events.get, self._answers.put)
