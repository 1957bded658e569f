"""One connection to one Redis server that listens for what is published.

It reconnects by itself and subscribes again to everything; who uses it is told
that something may have been missed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError

__all__ = ("Subscriber",)

logger = logging.getLogger("django_asgi_bridge.layers")

_LISTEN = 10.0
"""Seconds after which a silent connection is asked whether it lives."""

_ALIVE = "django-asgi-bridge"
"""A key that nobody publishes to."""

_FIRST_DELAY, _LAST_DELAY = 0.05, 1.0
"""Seconds between two attempts to reconnect: doubled each time, with jitter."""


class Subscriber:
    """The subscriptions of one loop on one server.

    Args:
        client: the server's.
        on_message: called with the key and the data of each message.
        on_gap: called when the connection is back after it was lost.
        patience: seconds to wait for the confirmation of a subscription.
        sleep: waits between two attempts.
    """

    def __init__(
        self,
        client: Any,
        on_message: Callable[[str, bytes], None],
        on_gap: Callable[[], None],
        *,
        patience: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client = client
        self._on_message = on_message
        self._on_gap = on_gap
        self._patience = patience
        self._sleep = sleep
        self._pubsub: Any = None
        self._lock = asyncio.Lock()
        # How many want each key.
        self._keys: dict[str, int] = {}
        self._confirmed: set[str] = set()
        self._waiters: dict[str, asyncio.Future[None]] = {}
        self._is_lost = False
        self._task: asyncio.Task[None] | None = None

    async def subscribe(self, key: str) -> None:
        """Listen to a key; returns when that is in force, or Redis does not answer.

        While Redis is away the subscription is noted, and made when it is back.
        """
        self._keys[key] = self._keys.get(key, 0) + 1
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._run())
        if key in self._confirmed:
            return
        waiter = self._waiters.get(key)
        if waiter is None:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters[key] = waiter
            await self._tell(key)
        await self.settled(key)

    async def settled(self, key: str) -> None:
        """Return when a subscription is in force, or Redis does not answer."""
        waiter = self._waiters.get(key)
        if waiter is not None and not self._is_lost:
            await asyncio.wait([waiter], timeout=self._patience)

    async def unsubscribe(self, key: str) -> None:
        """Listen to a key no longer, once nobody wants it any more."""
        count = self._keys.get(key, 0) - 1
        if count > 0:
            self._keys[key] = count
            return
        self._keys.pop(key, None)
        self._waiters.pop(key, None)
        await self._tell(key)

    async def _tell(self, key: str) -> None:
        """Tell the server what is wanted of a key now: the last word counts."""
        async with self._lock:
            if self._pubsub is None:
                return
            with contextlib.suppress(RedisError, OSError):
                if key in self._keys:
                    await self._pubsub.subscribe(key)
                else:
                    self._confirmed.discard(key)
                    await self._pubsub.unsubscribe(key)

    async def close(self) -> None:
        """End the connection."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _run(self) -> None:
        delay = _FIRST_DELAY
        while True:
            try:
                await self._connect()
                await self._listen()
            except Exception as error:
                # Whatever it is: without this task nobody here hears anything more.
                if self._confirmed:
                    delay = _FIRST_DELAY
                self._lose(error)
            finally:
                await self._disconnect()
            await self._sleep(delay * (0.5 + random.random()))
            delay = min(2 * delay, _LAST_DELAY)

    async def _connect(self) -> None:
        pubsub = self._client.pubsub()
        try:
            async with self._lock:
                # Something has to be subscribed for the connection to be there.
                await pubsub.subscribe(_ALIVE, *self._keys)
                self._pubsub = pubsub
        except BaseException:
            await pubsub.aclose()
            raise

    async def _listen(self) -> None:
        is_asked = False
        while True:
            message = await self._pubsub.get_message(timeout=_LISTEN)
            if message is None:
                if is_asked:
                    raise TimeoutError(f"no answer to PING within {_LISTEN} s")
                is_asked = True
                await self._pubsub.ping()
                continue
            is_asked = False
            if message["type"] == "message":
                self._on_message(message["channel"].decode(), message["data"])
            elif message["type"] == "subscribe":
                self._confirm(message["channel"].decode())
            elif message["type"] == "unsubscribe":
                self._confirmed.discard(message["channel"].decode())

    def _confirm(self, key: str) -> None:
        if key == _ALIVE and key in self._confirmed:
            raise RedisConnectionError("redis-py has connected anew by itself")
        if key in self._keys or key == _ALIVE:
            # One that was given up before its answer came is not in force for long.
            self._confirmed.add(key)
        waiter = self._waiters.pop(key, None)
        if waiter is not None and not waiter.done():
            waiter.set_result(None)
        if self._is_lost and self._confirmed >= set(self._keys):
            self._is_lost = False
            logger.warning("Redis is back, and all subscriptions with it")
            self._on_gap()

    def _lose(self, error: Exception) -> None:
        """Log once that the connection is lost, and let nobody wait for it."""
        if not self._is_lost:
            logger.warning(
                "the connection to Redis is lost (%s: %s); consumers stay connected "
                "and miss what is sent until it is back",
                type(error).__name__,
                error,
            )
        self._is_lost = True
        for waiter in self._waiters.values():
            if not waiter.done():
                waiter.set_result(None)

    async def _disconnect(self) -> None:
        self._confirmed.clear()
        pubsub, self._pubsub = self._pubsub, None
        if pubsub is not None:
            with contextlib.suppress(RedisError, OSError):
                await pubsub.aclose()
