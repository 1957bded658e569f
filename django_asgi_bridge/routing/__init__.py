"""Which application serves which scope; the interface is ``channels.routing``'s.

Routes may also stand in the URLconf, as ``websocket_urlpatterns``: then Django's
own ``path()``, ``include()``, converters and namespaces apply, and ``reverse()``
finds them by name.
"""

from __future__ import annotations

from django_asgi_bridge.routing.routers import (
    ChannelNameRouter,
    ProtocolTypeRouter,
    URLRouter,
    get_default_application,
)
from django_asgi_bridge.routing.site import WebSocketSite
from django_asgi_bridge.routing.urlconf import reverse

__all__ = (
    "ChannelNameRouter",
    "ProtocolTypeRouter",
    "URLRouter",
    "WebSocketSite",
    "get_default_application",
    "reverse",
)
