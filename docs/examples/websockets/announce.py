"""chat/management/commands/announce.py: tells a room something."""

from typing import Any

from asgiref.sync import async_to_sync
from django.core.management import BaseCommand, CommandParser

from django_asgi_bridge.layers import get_channel_layer, group_name


class Command(BaseCommand):
    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("room")
        parser.add_argument("text")

    def handle(self, *args: Any, **options: Any) -> None:
        send = async_to_sync(get_channel_layer().group_send)
        event = {"type": "chat.message", "text": options["text"]}
        send(group_name("chat", options["room"]), event)
