"""The commands of a layer, over the connections of one event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis.hosts import Host, connect, disconnect, shard_of
from django_asgi_bridge.layers.redis.numbering import Numbering

__all__ = ("Session",)

# Adds a message to a list; what is too old goes first. Each element begins with its
# deadline. If the list is full, its oldest ones go where ARGV[4] is 1, and else the
# message does. Returns 1 if it was stored, how many expired, and how many went.
_PUSH = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = 0
while true do
  local head = redis.call('LINDEX', KEYS[1], 0)
  if not head or tonumber(string.sub(head, 1, 14)) > now then break end
  redis.call('LPOP', KEYS[1])
  expired = expired + 1
end
local capacity = tonumber(ARGV[3])
local dropped = 0
while capacity > 0 and redis.call('LLEN', KEYS[1]) >= capacity do
  if ARGV[4] ~= '1' then return {0, expired, 1} end
  redis.call('LPOP', KEYS[1])
  dropped = dropped + 1
end
local deadline = string.format('%014d', now + ARGV[2])
redis.call('RPUSH', KEYS[1], deadline .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[2], '')
return {1, expired, dropped}
"""
# Takes the first message that is not too old, and tells how many were. It is kept
# beside the list, too, with the reader's number for it: a reader whose answer was
# lost asks again with that number and gets the same message. What was asked before,
# and reaches Redis late, takes nothing.
_POP = """
local kept = redis.call('GET', KEYS[2])
if kept then
  local number = tonumber(string.sub(kept, 1, 14))
  if number == tonumber(ARGV[1]) then return {string.sub(kept, 15), 0} end
  if number > tonumber(ARGV[1]) then return {false, 0} end
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = 0
while true do
  local head = redis.call('LPOP', KEYS[1])
  if not head then return {false, expired} end
  local left = tonumber(string.sub(head, 1, 14)) - now
  if left > 0 then
    local number = string.format('%014d', ARGV[1])
    redis.call('SET', KEYS[2], number .. head, 'PX', left)
    return {head, expired}
  end
  expired = expired + 1
end
"""
_DEADLINE = 14
_SCANNED = 500
_GRACE = 2.0
"""Seconds that commands under way have to end when the session is closed."""


class Session:
    """The Redis clients of one loop, one for each server.

    Args:
        hosts: the servers.
        prefix: of all keys.
        connections: that may be open to one server at once, beside one that listens.
        timeout: seconds for a command, and to wait for a connection.

    Attributes:
        timeout: the same.
        numbering: of what is published to groups over these connections. Those of
            two sessions may overtake each other by much.
    """

    def __init__(
        self, hosts: Sequence[Host], prefix: str, *, connections: int, timeout: float
    ) -> None:
        self.prefix = prefix
        self.numbering = Numbering()
        self.timeout = timeout
        self._connections = connections
        self._is_closed = False
        self.clients = [
            connect(host, connections=connections + 1, timeout=timeout)
            for host in hosts
        ]
        # First come, first served, which the pools of redis-py do not promise.
        self._turns = [asyncio.Semaphore(connections) for _ in hosts]
        self._scripts = [
            (client.register_script(_PUSH), client.register_script(_POP))
            for client in self.clients
        ]

    def shard_of(self, name: str) -> int:
        """Return which server a name is on."""
        return shard_of(name, len(self.clients))

    def key(self, kind: str, name: str) -> str:
        """Return a key of this layer."""
        return f"{self.prefix}:{kind}:{name}"

    # Publishing.

    async def publish(self, kind: str, name: str, data: bytes) -> None:
        """Give data to whoever subscribes to a name now."""
        async with self._talking(name) as client:
            await client.publish(self.key(kind, name), data)

    async def publish_to_group(
        self, group: str, data: bytes, since: float
    ) -> list[str]:
        """Publish to a group; return its members that are lists in Redis.

        Args:
            since: members that joined earlier are none any more.
        """
        async with self._talking(group) as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.publish(self.key("group", group), data)
            pipeline.zrangebyscore(self.key("members", group), since, "+inf")
            _, members = await pipeline.execute()
        return [member.decode() for member in members]

    # Lists.

    async def push(
        self,
        channel: str,
        data: bytes,
        expiry: float,
        capacity: int,
        *,
        drops_oldest: bool,
    ) -> tuple[bool, int, int]:
        """Add a message to a list.

        Args:
            drops_oldest: the oldest messages of a full list go, not this one.

        Returns:
            Whether it was stored, how many earlier ones had expired, and how many
            messages were dropped, this one included.
        """
        keys = [self.key("list", channel), self.key("wake", channel)]
        async with self._talking(channel):
            push, _ = self._scripts[self.shard_of(channel)]
            arguments: list[Any] = [data, int(expiry * 1000), capacity]
            arguments.append(int(drops_oldest))
            is_stored, expired, dropped = await push(keys=keys, args=arguments)
        return bool(is_stored), expired, dropped

    async def pop(
        self, channel: str, reader: str, number: int
    ) -> tuple[bytes | None, int]:
        """Take the first message of a list.

        Args:
            reader: who takes it.
            number: the same as before if the reader got no answer, else a higher one.

        Returns:
            The message or None, and how many had expired before it.
        """
        async with self._talking(channel):
            _, pop = self._scripts[self.shard_of(channel)]
            keys = [self.key("list", channel), self.key("taken", f"{channel}:{reader}")]
            element, expired = await pop(keys=keys, args=[number])
        return element and element[_DEADLINE:], expired

    async def put_back(self, channel: str, data: bytes, expiry: float) -> None:
        """Put a message that was taken for nobody in front again."""
        key = self.key("list", channel)
        async with self._talking(channel) as client:
            seconds, _ = await client.time()
            deadline = f"{int((seconds + expiry) * 1000):014d}".encode()
            pipeline = client.pipeline(transaction=True)
            pipeline.lpush(key, deadline + data)
            pipeline.pexpire(key, int(expiry * 1000))
            pipeline.publish(self.key("wake", channel), b"")
            await pipeline.execute()

    # Members that are lists.

    async def join(self, group: str, channel: str, now: float, expiry: float) -> None:
        """Let a list receive what is sent to a group."""
        key = self.key("members", group)
        async with self._talking(group) as client:
            pipeline = client.pipeline(transaction=False)
            pipeline.zremrangebyscore(key, "-inf", now - expiry)
            pipeline.zadd(key, {channel: now})
            pipeline.expire(key, max(1, int(expiry)))
            await pipeline.execute()

    async def leave(self, group: str, channel: str) -> None:
        """Let a list receive it no longer."""
        async with self._talking(group) as client:
            await client.zrem(self.key("members", group), channel)

    # The whole layer.

    async def flush(self) -> None:
        """Delete every key of this layer, step by step: KEYS would block Redis."""
        for index in range(len(self.clients)):
            async with self._talking(index) as client:
                async for keys in _scanned(client, f"{self.prefix}:*"):
                    await client.delete(*keys)

    async def close(self) -> None:
        """Close the connections; who waits for one, or too long, gets an error."""
        self._is_closed = True
        with contextlib.suppress(TimeoutError):
            # redis-py takes it badly when a connection in use is closed.
            async with asyncio.timeout(_GRACE):
                for turn in self._turns:
                    for _ in range(self._connections):
                        await turn.acquire()
        for client in self.clients:
            await disconnect(client)

    @asynccontextmanager
    async def _talking(self, name: str | int) -> AsyncIterator[Any]:
        """Give the client of a name's server; what fails there is an error of ours."""
        index = name if isinstance(name, int) else self.shard_of(name)
        turn = self._turns[index]
        self._require_open()
        try:
            async with asyncio.timeout(self.timeout):
                await turn.acquire()
        except TimeoutError as error:
            raise LayerUnavailable(
                f"all connections to Redis are in use since {self.timeout:g} s; the "
                "message was not sent."
            ) from error
        try:
            self._require_open()
            yield self.clients[index]
        except (TimeoutError, RedisError, OSError) as error:
            raise LayerUnavailable(
                f"Redis did not do what was asked ({type(error).__name__}: {error}); "
                "the message was not sent, or nobody knows whether it was."
            ) from error
        finally:
            turn.release()

    def _require_open(self) -> None:
        if self._is_closed:
            raise LayerUnavailable("the layer was closed; the message was not sent.")


async def _scanned(client: Any, pattern: str) -> AsyncIterator[Iterable[bytes]]:
    cursor = 0
    while True:
        cursor, keys = await client.scan(cursor, match=pattern, count=_SCANNED)
        if keys:
            yield keys
        if not cursor:
            return
