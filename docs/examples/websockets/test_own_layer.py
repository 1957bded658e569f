"""The tests that every channel layer must pass, for one of your own."""

from typing import Any

from django_asgi_bridge.layers import InMemoryChannelLayer
from django_asgi_bridge.testing.layers import ChannelLayerConformance, known_failures


class KeepingLayer(InMemoryChannelLayer):
    async def flush(self) -> None:
        """Keep everything."""


@known_failures(
    {
        "test_flush_drops_all_messages": "flush() does nothing",
        "test_flush_ends_memberships": "flush() does nothing",
    }
)
class TestKeepingLayer(ChannelLayerConformance):
    def make_layer(self, **config: Any) -> KeepingLayer:
        return KeepingLayer(**config)
