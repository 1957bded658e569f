"""App configuration: tells the feed about every saved note."""

from typing import Any

from django.apps import AppConfig
from django.db import transaction
from django.db.models.signals import post_save

from testproject.notes.feed import feed


class NotesConfig(AppConfig):
    name = "testproject.notes"
    label = "notes"
    verbose_name = "Field Notes"

    def ready(self) -> None:
        post_save.connect(
            announce_note, sender="notes.Note", dispatch_uid="notes.announce"
        )


def announce_note(*, created: bool, using: str, **_: Any) -> None:
    """Wake the open streams and long polls once the note can be read by them."""
    if created:
        transaction.on_commit(feed.announce, using=using)
