"""This package's application with WebSocket routes, as a Channels project has it."""

from django.urls import path

from django_asgi_bridge.asgi import get_asgi_application
from django_asgi_bridge.routing import ProtocolTypeRouter, URLRouter
from testproject.bench.site.consumers import consumers

http = get_asgi_application()
routes = [
    path(name, each.as_asgi()) for name, each in consumers("django_asgi_bridge").items()
]
application = ProtocolTypeRouter({"http": http, "websocket": URLRouter(routes)})
