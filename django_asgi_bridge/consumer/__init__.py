"""Consumers: classes whose methods handle the events of one connection.

The interface is that of ``channels.consumer``; the loop underneath is this
package's own.
"""

from django_asgi_bridge.consumer.base import AsyncConsumer, SyncConsumer
from django_asgi_bridge.consumer.names import get_handler_name

__all__ = ("AsyncConsumer", "SyncConsumer", "get_handler_name")
