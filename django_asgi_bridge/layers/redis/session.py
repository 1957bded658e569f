"""The commands of a layer, over the connections of one event loop."""

import contextlib
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from redis.exceptions import RedisError

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis.hosts import Host, connect, shard_of

__all__ = ("Session",)

# Adds a message to a list unless that is full; what is too old goes first. Each
# element begins with its deadline. Returns 1, or 0 for "full", and how many expired.
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
if capacity > 0 and redis.call('LLEN', KEYS[1]) >= capacity then
  return {0, expired}
end
local deadline = string.format('%014d', now + ARGV[2])
redis.call('RPUSH', KEYS[1], deadline .. ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('PUBLISH', KEYS[2], '')
return {1, expired}
"""
# Takes the first message that is not too old, and tells how many were.
_POP = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local expired = 0
while true do
  local head = redis.call('LPOP', KEYS[1])
  if not head then return {false, expired} end
  if tonumber(string.sub(head, 1, 14)) > now then return {head, expired} end
  expired = expired + 1
end
"""
_DEADLINE = 14
_SCANNED = 500


class Session:
    """The Redis clients of one loop, one for each server.

    Args:
        hosts: the servers.
        prefix: of all keys.
        connections: that may be open to one server at once.
        timeout: seconds for a command.
    """

    def __init__(
        self, hosts: Sequence[Host], prefix: str, *, connections: int, timeout: float
    ) -> None:
        self.prefix = prefix
        self.clients = [
            connect(host, connections=connections, timeout=timeout) for host in hosts
        ]
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
        self, channel: str, data: bytes, expiry: float, capacity: int
    ) -> tuple[bool, int]:
        """Add a message to a list.

        Returns:
            Whether there was room, and how many earlier ones had expired.
        """
        keys = [self.key("list", channel), self.key("wake", channel)]
        async with self._talking(channel):
            push, _ = self._scripts[self.shard_of(channel)]
            arguments: list[Any] = [data, int(expiry * 1000), capacity]
            is_stored, expired = await push(keys=keys, args=arguments)
        return bool(is_stored), expired

    async def pop(self, channel: str) -> tuple[bytes | None, int]:
        """Take the first message of a list.

        Returns:
            The message or None, and how many had expired before it.
        """
        async with self._talking(channel):
            _, pop = self._scripts[self.shard_of(channel)]
            element, expired = await pop(keys=[self.key("list", channel)])
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
        """Close the connections."""
        for client in self.clients:
            with contextlib.suppress(RedisError, OSError):
                await client.aclose()
            await client.connection_pool.disconnect()

    @asynccontextmanager
    async def _talking(self, name: str | int) -> AsyncIterator[Any]:
        """Give the client of a name's server; what fails there is an error of ours."""
        index = name if isinstance(name, int) else self.shard_of(name)
        try:
            yield self.clients[index]
        except (TimeoutError, RedisError, OSError) as error:
            raise LayerUnavailable(
                f"Redis did not do what was asked ({type(error).__name__}: {error}); "
                "the message was not sent, or nobody knows whether it was."
            ) from error


async def _scanned(client: Any, pattern: str) -> AsyncIterator[Iterable[bytes]]:
    cursor = 0
    while True:
        cursor, keys = await client.scan(cursor, match=pattern, count=_SCANNED)
        if keys:
            yield keys
        if not cursor:
            return
