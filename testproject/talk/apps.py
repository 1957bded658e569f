"""App configuration: sends every new note to the board."""

from typing import Any

from asgiref.sync import async_to_sync
from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_save

from django_asgi_bridge.layers import group_broadcast


class TalkConfig(AppConfig):
    name = "testproject.talk"
    label = "talk"
    verbose_name = "Talk"

    def ready(self) -> None:
        post_save.connect(send_note, sender="notes.Note", dispatch_uid="talk.board")


def send_note(*, instance: Any, created: bool, using: str, **_: Any) -> None:
    """Give a new note to every open board, once others can read it."""
    if not created:
        return
    frame = {
        "title": instance.title,
        "author": instance.author.get_username(),
        "url": instance.get_absolute_url(),
    }
    transaction.on_commit(
        lambda: async_to_sync(group_broadcast)("board", json=frame), using=using
    )
