"""Sockets that end when their user signs out."""

from typing import Any

from asgiref.sync import async_to_sync
from django.contrib.auth.signals import user_logged_out
from django.core.exceptions import PermissionDenied
from django.dispatch import receiver

from django_asgi_bridge.generic.websocket import AsyncJsonWebsocketConsumer
from django_asgi_bridge.layers import get_channel_layer, group_name


class AccountConsumer(AsyncJsonWebsocketConsumer):
    async def connect(self) -> None:
        user = self.scope["user"]
        if not user.is_authenticated:
            raise PermissionDenied
        group = group_name("user", user.pk)
        await self.channel_layer.group_add(group, self.channel_name)
        await self.accept()

    async def user_left(self, event: Any) -> None:
        await self.close(4401, "signed out")


@receiver(user_logged_out)
def end_sockets(*, user: Any, **kwargs: Any) -> None:
    if user is not None:
        send = async_to_sync(get_channel_layer().group_send)
        send(group_name("user", user.pk), {"type": "user.left"})
