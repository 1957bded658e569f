"""The site of the live server's tests."""

from django.contrib.auth import get_user_model
from django.http import JsonResponse
from django.urls import path

from django_asgi_bridge.generic.websocket import JsonWebsocketConsumer


def names():
    return sorted(get_user_model().objects.values_list("username", flat=True))


def users(request):
    return JsonResponse(names(), safe=False)


class Users(JsonWebsocketConsumer):
    """Makes a user for each frame and says who there is."""

    def receive(self, text_data=None, bytes_data=None):
        get_user_model().objects.create_user(text_data)
        self.send_json(names())


urlpatterns = [path("users/", users)]
websocket_urlpatterns = [path("ws/users/", Users.as_asgi())]
