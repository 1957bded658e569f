"""What one event loop listens to, each name on the server that it is on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.layers.redis.subscriber import Subscriber

__all__ = ("Subscriptions",)


class Subscriptions:
    """The subscriptions of one loop.

    Args:
        session: on this loop.
        on_message: called with the key and the data of each message.
        on_gap: called with the number of a server whose messages may have been lost.
        patience: seconds to wait for the confirmation of a subscription.

    Attributes:
        tasks: that run in the background.
    """

    def __init__(
        self,
        session: Session,
        on_message: Callable[[str, bytes], None],
        on_gap: Callable[[int], None],
        *,
        patience: float,
    ) -> None:
        self.tasks: set[asyncio.Task[None]] = set()
        self._session = session
        self._subscribers = [
            Subscriber(
                client,
                on_message,
                lambda shard=index: on_gap(shard),  # type: ignore[misc] # bound now
                patience=patience,
            )
            for index, client in enumerate(session.clients)
        ]

    async def begin(self, kind: str, name: str) -> None:
        """Listen to a name; returns when that is in force, or Redis is away."""
        await self._subscriber_of(name).subscribe(self._session.key(kind, name))

    async def settled(self, kind: str, name: str) -> None:
        """Wait for a subscription that somebody else here may still wait for."""
        await self._subscriber_of(name).settled(self._session.key(kind, name))

    def end(self, kind: str, name: str) -> None:
        """Listen to it no longer, in a moment."""
        key = self._session.key(kind, name)
        self.in_background(self._subscriber_of(name).unsubscribe(key))

    def in_background(self, coroutine: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that is waited for at the end."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def close(self) -> None:
        """End the connections that listen, and what still runs."""
        tasks = set(self.tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for subscriber in self._subscribers:
            with contextlib.suppress(Exception):
                await subscriber.close()

    def _subscriber_of(self, name: str) -> Subscriber:
        return self._subscribers[self._session.shard_of(name)]
