"""A channel layer between processes, on Redis 5 or later or on Valkey.

Groups, and the channels of consumers, go by publish and subscribe: a message to a
group is published once, and each process that has members decodes it once. All
other channels are lists in Redis, which keep a message until one reader takes it.
"""

from __future__ import annotations

from django_asgi_bridge.layers.redis.layer import RedisChannelLayer
from django_asgi_bridge.layers.redis.serializers import registry

__all__ = ("RedisChannelLayer", "registry")
