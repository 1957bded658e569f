"""`setup_demo`: a database that is ready to look at."""

import hashlib
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth.models import User
from django.core.files.base import ContentFile
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from testproject.notes.models import Attachment, Note
from testproject.talk.models import Room

_USER = "demo"
_PASSWORD = "field-notes"  # noqa: S105 - on one's own machine, with DEBUG only

_NOTES = (
    (
        "Two ospreys above the loch",
        (
            "Both birds circled for ten minutes, one with a fish. Wind from the west, "
            "light rain. The nest of last year is still in the dead pine."
        ),
    ),
    (
        "First frogspawn",
        "Three clumps in the ditch behind the mill, a week earlier than last year.",
    ),
    (
        "Tracks in the snow",
        (
            "A pine marten crossed the forest road at the second bend. Prints in pairs, "
            "about sixty centimetres apart."
        ),
    ),
    (
        "Water level",
        "The gauge at the footbridge reads 84 cm. The lower path is under water.",
    ),
    (
        "Bats at dusk",
        (
            "Nine left the roof of the chapel between 21:40 and 21:55. By the detector "
            "at 45 kHz they are common pipistrelles."
        ),
    ),
    (
        "Orchids on the south slope",
        "Forty-one flowering stems inside the fence, none outside. Sheep were in.",
    ),
)
_WEATHER = ("clear", "overcast", "light rain", "fog", "wind from the north")


class Command(BaseCommand):
    help = "Create the tables, some notes and a demo user. Needs DEBUG."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--readings",
            type=int,
            default=300,
            help="Number of transect readings beside the written notes (300).",
        )

    def handle(self, *args: Any, readings: int, **options: Any) -> None:
        if not settings.DEBUG:
            message = "setup_demo makes a user with a known password: it runs with DEBUG only."
            raise CommandError(message)
        call_command("migrate", interactive=False, verbosity=0)
        Room.objects.get_or_create(slug="hide", defaults={"name": "The hide"})
        user = self._user()
        if not Note.objects.exists():
            self._write(user, readings)
        self.stdout.write(
            f"{Note.objects.count()} notes are there. "
            f"Sign in as {_USER!r} with the password {_PASSWORD!r}."
        )

    def _user(self) -> User:
        user, _ = User.objects.get_or_create(
            username=_USER, defaults={"is_staff": True, "is_superuser": True}
        )
        user.set_password(_PASSWORD)
        user.save()
        return user

    def _write(self, user: User, readings: int) -> None:
        now = timezone.now()
        Note.objects.bulk_create(
            [
                Note(
                    title=f"Transect reading {number}",
                    body=f"{number * 37 % 23} birds, {number * 11 % 7} species; "
                    f"{_WEATHER[number % len(_WEATHER)]}.",
                    author=user,
                    created=now - timedelta(hours=6 * (readings - number + 1), days=2),
                )
                for number in range(1, readings + 1)
            ]
        )
        written = [
            Note.objects.create(
                title=title, body=body, author=user, created=now - timedelta(hours=age)
            )
            for age, (title, body) in enumerate(_NOTES, start=1)
        ]
        log = "".join(
            f"{second * 5:>6} s  {45 + second % 3} kHz\n" for second in range(20_000)
        ).encode()
        Attachment.objects.create(
            note=written[4],
            file=ContentFile(log, name="bat-detector.txt"),
            name="bat-detector.txt",
            size=len(log),
            sha256=hashlib.sha256(log).hexdigest(),
        )
