"""One WebSocket connection: what it receives, what it sends, how it is refused."""

from django_asgi_bridge.sockets.bounds import Bounds, Dropped
from django_asgi_bridge.sockets.inbox import Inbox
from django_asgi_bridge.sockets.socket import Socket

__all__ = ("Bounds", "Dropped", "Inbox", "Socket")
