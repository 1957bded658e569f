"""A consumer that looks again after messages were lost."""

from collections.abc import Mapping
from typing import Any

from django.core.cache import cache

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer


class ScoreConsumer(AsyncJsonWebsocketConsumer):
    groups = ["score"]

    async def connect(self) -> None:
        await self.accept()
        await self.send_json({"score": await cache.aget("score")})

    async def score_changed(self, event: Any) -> None:
        await self.send_json({"score": event["score"]})

    async def on_gap(self, groups: Mapping[str, int | None]) -> None:
        await self.send_json({"score": await cache.aget("score")})
