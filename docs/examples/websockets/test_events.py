"""What comes over the layer, and what must not come."""

from chat.consumers import ChatConsumer
from django.test import SimpleTestCase, override_settings

from django_asgi_bridge.layers import get_channel_layer
from django_asgi_bridge.testing import WebsocketCommunicator

LAYER = {"default": {"BACKEND": "django_asgi_bridge.layers.InMemoryChannelLayer"}}


@override_settings(CHANNEL_LAYERS=LAYER)
class EventTests(SimpleTestCase):
    async def test_room_hears_its_own_events_alone(self) -> None:
        socket = WebsocketCommunicator(ChatConsumer.as_asgi(), "/")
        socket.scope["url_route"] = {"args": (), "kwargs": {"name": "hide"}}
        await socket.connect()
        layer = get_channel_layer()

        await layer.group_send("chat.shore", {"type": "chat.message", "text": "no"})
        assert await socket.receive_nothing()

        await layer.group_send("chat.hide", {"type": "chat.message", "text": "yes"})
        assert await socket.receive_json_from() == {"text": "yes"}

        await socket.disconnect()
        assert layer.groups == {}
