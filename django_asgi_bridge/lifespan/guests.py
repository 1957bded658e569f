"""Guests: the lifespan of a mounted ASGI application, whose server we are."""

from __future__ import annotations

import asyncio
import logging
from contextlib import AbstractAsyncContextManager

from django_asgi_bridge.lifespan.hooks import (
    LifespanState,
    Yielded,
    dotted_name,
)
from django_asgi_bridge.lifespan.managers import StepError
from django_asgi_bridge.types import App, Message, Scope

__all__ = ("GuestManager",)

logger = logging.getLogger("django_asgi_bridge.lifespan")


class GuestManager(AbstractAsyncContextManager[Yielded, bool | None]):
    """Starts a guest's lifespan when entered and ends it when left.

    The guest runs in a task of its own, which gets our signals and not our
    cancellation. A guest that raises before its first answer has no lifespan.

    Args:
        app: The guest.
        state: Filled by the guest, for its own requests.
    """

    __slots__ = ("_app", "_inbox", "_replies", "_state", "_task")

    def __init__(self, app: App, state: LifespanState) -> None:
        self._app = app
        self._state = state
        # The protocol has two signals and two answers; the third place is for the end.
        self._inbox: asyncio.Queue[Message] = asyncio.Queue(2)
        self._replies: asyncio.Queue[Message | None] = asyncio.Queue(3)
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> None:
        name = f"django_asgi_bridge.lifespan.guest {dotted_name(self._app)}"
        self._task = asyncio.create_task(self._run(), name=name)
        try:
            await self._ask("startup")
        except BaseException:
            await self._end(self._task)
            raise

    async def __aexit__(self, *exc_info: object) -> None:
        if self._task is None or self._task.done():
            return
        try:
            await self._ask("shutdown")
            # What a guest does after its last answer is still its shutdown.
            await asyncio.wait({self._task})
        finally:
            await self._end(self._task)

    async def _ask(self, step: str) -> None:
        self._inbox.put_nowait({"type": f"lifespan.{step}"})
        reply = await self._replies.get()
        if reply is not None and reply["type"] == f"lifespan.{step}.failed":
            raise StepError(reply.get("message") or f"it answered {reply['type']}.")

    async def _end(self, task: asyncio.Task[None]) -> None:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})

    async def _run(self) -> None:
        scope: Scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self._state,
        }
        replies: list[str] = []

        async def send(message: Message) -> None:
            if len(replies) == 2:
                raise StepError(
                    f"{message['type']} came after the end of the lifespan."
                )
            replies.append(message["type"])
            self._replies.put_nowait(message)

        name = dotted_name(self._app)
        try:
            await self._app(scope, self._inbox.get, send)
        except Exception as error:  # any error may mean "no lifespan"
            if not replies:
                logger.info("Guest %s has no lifespan: %r", name, error)
            elif not replies[-1].endswith(".failed"):
                logger.exception("The lifespan of guest %s ended early.", name)
        finally:
            # Whoever waits for an answer learns that none will come.
            self._replies.put_nowait(None)
