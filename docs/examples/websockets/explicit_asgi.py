"""project/asgi.py with the WebSocket half put together by hand, as in Channels."""

from django_asgi_bridge.asgi import get_asgi_application

site = get_asgi_application()

from chat.tickets import PricesConsumer, TicketMiddleware
from django.urls import path

from django_asgi_bridge.auth import AuthMiddlewareStack
from django_asgi_bridge.routing import ProtocolTypeRouter, URLRouter
from django_asgi_bridge.security.websocket import (
    AllowedHostsOriginValidator,
)

sockets = URLRouter([path("ws/prices/", PricesConsumer.as_asgi())])

application = ProtocolTypeRouter(
    {
        "http": site,
        "websocket": AllowedHostsOriginValidator(
            AuthMiddlewareStack(TicketMiddleware(sockets))
        ),
    }
)
