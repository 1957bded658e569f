"""Work that no browser waits for, and who does it."""

from typing import Any

from django.core.cache import cache

from django_asgi_bridge.consumer import SyncConsumer
from django_asgi_bridge.layers import get_channel_layer


class ThumbnailConsumer(SyncConsumer):
    concurrency = 4

    def thumbnail_make(self, message: Any) -> None:
        cache.set(f"thumbnail:{message['photo']}", "made")


async def ask_for(photo: int) -> None:
    await get_channel_layer().send(
        "thumbnails", {"type": "thumbnail.make", "photo": photo}
    )
