"""Test clients that take the whole way: scope, events, body, stream, socket.

The communicators and ``ChannelsLiveServerTestCase`` have the interface of
``channels.testing``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from django_asgi_bridge.testing.client import AsyncClient
from django_asgi_bridge.testing.communicators import (
    ApplicationCommunicator,
    HttpCommunicator,
    WebsocketCommunicator,
)
from django_asgi_bridge.testing.stream import StreamedResponse

if TYPE_CHECKING:
    from django_asgi_bridge.testing.live import (
        ASGILiveServerTestCase,
        ChannelsLiveServerTestCase,
    )

__all__ = (
    "ASGILiveServerTestCase",
    "ApplicationCommunicator",
    "AsyncClient",
    "ChannelsLiveServerTestCase",
    "HttpCommunicator",
    "StreamedResponse",
    "WebsocketCommunicator",
)

_LIVE = {"ASGILiveServerTestCase", "ChannelsLiveServerTestCase"}


def __getattr__(name: str) -> Any:
    # They bring Django's static files handler, which the others do not need.
    if name not in _LIVE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("django_asgi_bridge.testing.live"), name)
