"""Pages, and WebSocket routes beside them."""

from chat.consumers import ChatConsumer
from django.urls import path

urlpatterns: list[object] = []

websocket_urlpatterns = [
    path("ws/chat/<slug:name>/", ChatConsumer.as_asgi(), name="chat"),
]
