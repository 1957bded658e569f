"""A consumer that shows prices: of each, only the latest counts."""

from collections.abc import Hashable
from typing import Any

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.sockets import Bounds, Dropped


class PricesConsumer(AsyncJsonWebsocketConsumer):
    groups = ["prices"]
    bounds = Bounds(layer_events=50, layer_overflow="latest_by_key")

    def overflow_key(self, message: Any) -> Hashable:
        return message.get("symbol")

    async def price_changed(self, event: Any) -> None:
        await self.send_json({"symbol": event["symbol"], "price": event["price"]})

    async def on_overflow(self, dropped: Dropped) -> None:
        await self.send_json({"skipped": dropped.layer_events})
