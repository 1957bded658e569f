from chat import views
from chat.consumers import ChatConsumer
from django.urls import path

app_name = "chat"

urlpatterns = [
    path("<slug:room>/", views.room, name="room"),
]

websocket_urlpatterns = [
    path("<slug:room>/", ChatConsumer.as_asgi(), name="socket"),
]
