"""Consumers: classes whose methods handle the events of one connection.

The interface is that of ``channels.consumer``; the loop underneath is this
package's own.
"""

from __future__ import annotations

from django_asgi_bridge.consumer.base import AsyncConsumer, SyncConsumer
from django_asgi_bridge.consumer.names import get_handler_name

# Re-exports: what projects import from, or patch in, the module of Channels.
from django_asgi_bridge.db import aclose_old_connections as aclose_old_connections
from django_asgi_bridge.db import database_sync_to_async as database_sync_to_async
from django_asgi_bridge.exceptions import StopConsumer as StopConsumer
from django_asgi_bridge.layers import DEFAULT_CHANNEL_LAYER as DEFAULT_CHANNEL_LAYER
from django_asgi_bridge.layers import get_channel_layer as get_channel_layer
from django_asgi_bridge.sockets.dispatching import (
    await_many_dispatch as await_many_dispatch,
)

__all__ = ("AsyncConsumer", "SyncConsumer", "get_handler_name")
