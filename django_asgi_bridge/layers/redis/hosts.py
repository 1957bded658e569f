"""Which Redis servers a layer uses, and which of them a name is on."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.asyncio.sentinel import SentinelConnectionPool as _SentinelPool
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

__all__ = ("Host", "check_hosts", "connect", "disconnect", "shard_of")

Host = str | tuple[str, int] | Mapping[str, Any]

_DEFAULT: tuple[Host, ...] = ("redis://localhost:6379/0",)
_EXPECTED = (
    "expected a list of URLs such as 'redis://localhost:6379/0', (host, port) pairs, "
    "and dictionaries with 'address' or 'sentinels'"
)


def check_hosts(hosts: object) -> tuple[Host, ...]:
    """Return the hosts of a layer's options; one on this machine for None.

    Raises:
        ValueError: it is a bare string.
        ImproperlyConfigured: it is something else that cannot be meant.
    """
    if hosts is None:
        return _DEFAULT
    if isinstance(hosts, str | bytes):
        raise ValueError(  # noqa: TRY004 - as channels_redis
            f"hosts is the string {hosts!r}: {_EXPECTED}."
        )
    if not isinstance(hosts, Sequence) or not hosts:
        raise ImproperlyConfigured(f"hosts is {hosts!r}: {_EXPECTED}.")
    return tuple(_checked(host) for host in hosts)


def _checked(host: object) -> Host:
    if isinstance(host, str) and "://" in host:
        return host
    if isinstance(host, tuple | list) and len(host) == 2:
        return str(host[0]), int(host[1])
    if isinstance(host, Mapping):
        has_sentinels = "sentinels" in host
        if has_sentinels and "master_name" not in host:
            raise ImproperlyConfigured(
                f"hosts has {host!r}: 'sentinels' needs 'master_name' beside it."
            )
        return dict(host)
    raise ImproperlyConfigured(f"hosts has {host!r}: {_EXPECTED}.")


def connect(host: Host, *, connections: int, timeout: float) -> Redis:
    """Return a client that opens its connections when it needs them.

    Args:
        connections: that may be open at once; who asks for more, waits or fails.
        timeout: seconds for connecting, for an answer and for a free connection.
    """
    options: dict[str, Any] = {
        # Redis 5 knows no other, and with RESP3 redis-py 8.1 hands out connections
        # that the server has closed (redis-py #4252).
        "protocol": 2,
        # For CLIENT LIST; and its answer is where a server that has no room says so.
        "client_name": "django-asgi-bridge",
        "socket_connect_timeout": timeout,
        "socket_timeout": timeout,
    }
    if isinstance(host, Mapping) and "sentinels" in host:
        return _from_sentinels(dict(host), options, connections)
    address: Any = host
    if isinstance(host, Mapping):
        options.update(host)
        address = options.pop("address", None)
    options["max_connections"] = connections
    if isinstance(address, str):
        pool = BlockingConnectionPool.from_url(address, timeout=timeout, **options)
    else:
        if address is not None:
            options["host"], options["port"] = address
        pool = BlockingConnectionPool(timeout=timeout, **options)
    return Redis.from_pool(pool)


def _from_sentinels(
    host: dict[str, Any], options: dict[str, Any], connections: int
) -> Redis:
    sentinels, name = host.pop("sentinels"), host.pop("master_name")
    # By itself redis-py asks a dead Sentinel again and again, for longer than a
    # failover takes, before it asks the next one.
    kwargs = {
        **options,
        "retry": Retry(NoBackoff(), 0),
        **(host.pop("sentinel_kwargs", None) or {}),
    }
    # Without types in redis-py.
    make_sentinel: Any = Sentinel
    make_pool: Any = _SentinelPool
    sentinel = make_sentinel(sentinels, sentinel_kwargs=kwargs, **options)
    options |= {"max_connections": connections, **host}
    pool = make_pool(name, sentinel, **options)
    return Redis.from_pool(pool)


async def disconnect(client: Redis) -> None:
    """Close the connections of a client, and those to the Sentinels it asks."""
    pool: Any = client.connection_pool
    sentinel = getattr(pool, "sentinel_manager", None)
    for each in (client, *(sentinel.sentinels if sentinel is not None else ())):
        with contextlib.suppress(RedisError, OSError):
            await each.aclose()
    await pool.disconnect()


def shard_of(name: str, count: int) -> int:
    """Return which of ``count`` servers a name is on, in every process alike."""
    return 0 if count == 1 else zlib.crc32(name.encode()) % count
