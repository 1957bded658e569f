"""Channel layers: messages between consumers, and from anywhere to them.

The interface is that of ``channels.layers``.
"""

from django_asgi_bridge.layers.base import BaseChannelLayer
from django_asgi_bridge.layers.broadcast import group_broadcast
from django_asgi_bridge.layers.manager import (
    DEFAULT_CHANNEL_LAYER,
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
)
