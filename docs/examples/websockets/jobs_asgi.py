"""project/asgi.py with consumers for channels."""

from django_asgi_bridge.asgi import get_asgi_application

site = get_asgi_application()

from chat.jobs import ThumbnailConsumer

from django_asgi_bridge.routing import ChannelNameRouter, ProtocolTypeRouter

application = ProtocolTypeRouter(
    {
        "http": site,
        "websocket": site,
        "channel": ChannelNameRouter({"thumbnails": ThumbnailConsumer.as_asgi()}),
    }
)
