"""A root URLconf with WebSocket routes."""

from django.http import HttpResponse
from django.urls import include, path

from django_asgi_bridge.auth import AuthMiddlewareStack
from django_asgi_bridge.routing import URLRouter
from tests.routing.consumers import Echo, Looking

urlpatterns = [path("", lambda request: HttpResponse("page"), name="page")]
websocket_urlpatterns = [
    path("ws/plain/", Echo.as_asgi(), name="plain"),
    path("ws/wrapped/", AuthMiddlewareStack(Echo.as_asgi())),
    path("ws/looking/", AuthMiddlewareStack(Looking.as_asgi())),
    path("ws/router/", AuthMiddlewareStack(URLRouter([path("a/", Echo.as_asgi())]))),
    path("ws/<slug:org>/", include("tests.routing.chat_urls")),
]
