"""A root URLconf with WebSocket routes."""

from django.http import HttpResponse
from django.urls import include, path

from tests.routing.consumers import Echo

urlpatterns = [path("", lambda request: HttpResponse("page"), name="page")]
websocket_urlpatterns = [
    path("ws/plain/", Echo.as_asgi(), name="plain"),
    path("ws/<slug:org>/", include("tests.routing.chat_urls")),
]
