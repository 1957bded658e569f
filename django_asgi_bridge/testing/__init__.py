"""A test client whose requests take the whole way: scope, events, body, stream."""

from django_asgi_bridge.testing.client import AsyncClient
from django_asgi_bridge.testing.stream import StreamedResponse

__all__ = ("AsyncClient", "StreamedResponse")
