"""``manage.py runworker``: run consumers for channels of the layer."""

from __future__ import annotations

import logging
from typing import Any

from django.core.management import BaseCommand, CommandError, CommandParser

from django_asgi_bridge.layers import DEFAULT_CHANNEL_LAYER, get_channel_layer
from django_asgi_bridge.routing import get_default_application
from django_asgi_bridge.worker import Worker

__all__ = ("Command",)

logger = logging.getLogger("django_asgi_bridge.management")


class Command(BaseCommand):
    """Receives from channels until it is told to stop.

    Attributes:
        worker_class: what does the work.
    """

    help = "Runs consumers for the messages of one or more channels."
    leave_locale_alone = True
    worker_class = Worker

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the layer and the channels."""
        super().add_arguments(parser)
        parser.add_argument(
            "--layer",
            default=DEFAULT_CHANNEL_LAYER,
            help="Channel layer alias to use, if not the default.",
        )
        parser.add_argument("channels", nargs="+", help="Channels to listen on.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the worker.

        Raises:
            CommandError: there is no such layer.
        """
        layer = get_channel_layer(options.get("layer") or DEFAULT_CHANNEL_LAYER)
        if layer is None:
            raise CommandError("You do not have any CHANNEL_LAYERS configured.")
        logger.info("Running worker for channels %s", options["channels"])
        self.worker_class(
            application=get_default_application(),
            channels=options["channels"],
            channel_layer=layer,
        ).run()
