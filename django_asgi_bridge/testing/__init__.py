"""Test clients that take the whole way: scope, events, body, stream, socket.

The communicators and ``ChannelsLiveServerTestCase`` have the interface of
``channels.testing``.
"""

from __future__ import annotations

from django_asgi_bridge.testing.application import ApplicationCommunicator
from django_asgi_bridge.testing.client import AsyncClient
from django_asgi_bridge.testing.http import HttpCommunicator
from django_asgi_bridge.testing.live import (
    ASGILiveServerTestCase,
    ChannelsLiveServerTestCase,
)
from django_asgi_bridge.testing.stream import StreamedResponse
from django_asgi_bridge.testing.websocket import WebsocketCommunicator

__all__ = (
    "ASGILiveServerTestCase",
    "ApplicationCommunicator",
    "AsyncClient",
    "ChannelsLiveServerTestCase",
    "HttpCommunicator",
    "StreamedResponse",
    "WebsocketCommunicator",
)
