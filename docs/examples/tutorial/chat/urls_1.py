from chat.consumers import ChatConsumer
from django.urls import path

app_name = "chat"

websocket_urlpatterns = [
    path("<slug:room>/", ChatConsumer.as_asgi(), name="socket"),
]
