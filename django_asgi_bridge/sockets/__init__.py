"""One WebSocket connection: what it receives, what it sends, how it is refused."""

from __future__ import annotations

from django_asgi_bridge.sockets.bounds import Bounds, Dropped
from django_asgi_bridge.sockets.cast import put_frames
from django_asgi_bridge.sockets.inbox import Inbox
from django_asgi_bridge.sockets.socket import Socket
from django_asgi_bridge.sockets.sync_send import SyncSend

__all__ = ("Bounds", "Dropped", "Inbox", "Socket", "SyncSend", "put_frames")
