"""Channel layers: how consumers, views and other processes reach each other.

``RedisChannelLayer`` is imported when it is asked for, since it needs the extra
``redis``.
"""

from __future__ import annotations

import importlib
from typing import Any

# Re-exports: what projects import from the module of Channels.
from django_asgi_bridge.exceptions import ChannelFull as ChannelFull
from django_asgi_bridge.exceptions import (
    InvalidChannelLayerError as InvalidChannelLayerError,
)
from django_asgi_bridge.layers.base import DEFAULT_CHANNEL_LAYER, BaseChannelLayer
from django_asgi_bridge.layers.broadcast import group_broadcast
from django_asgi_bridge.layers.bus import process_bus
from django_asgi_bridge.layers.manager import (
    ChannelLayerManager,
    channel_layers,
    get_channel_layer,
)
from django_asgi_bridge.layers.memory import InMemoryChannelLayer
from django_asgi_bridge.layers.stats import LayerStats
from django_asgi_bridge.protocol.names import group_name

__all__ = (
    "DEFAULT_CHANNEL_LAYER",
    "BaseChannelLayer",
    "ChannelLayerManager",
    "InMemoryChannelLayer",
    "LayerStats",
    "channel_layers",
    "get_channel_layer",
    "group_broadcast",
    "group_name",
    "process_bus",
)

_REDIS = "django_asgi_bridge.layers.redis"


def __getattr__(name: str) -> Any:
    if name != "RedisChannelLayer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return importlib.import_module(_REDIS).RedisChannelLayer
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise ImportError(
            "RedisChannelLayer needs redis-py, which is not installed:"
            ' pip install "django-asgi-bridge[redis]"',
            name="redis",
        ) from error
