"""Routes that the tests include."""

from django.urls import path

from tests.routing.consumers import Echo

app_name = "chat"
urlpatterns = []
websocket_urlpatterns = [path("room/<int:pk>/", Echo.as_asgi(), name="room")]
