"""``manage.py asgi_explain URL``: where a request's code runs, in how many trips."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any
from urllib.parse import unquote, urlsplit

from django.core.management.base import BaseCommand, CommandError, CommandParser

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.http.handler import ASGIHandler
from django_asgi_bridge.management.commands._explanation import Explanation, explain
from django_asgi_bridge.protocol.request import split_path

__all__ = ("Command",)


class Command(BaseCommand):
    """``manage.py asgi_explain URL [--method GET] [--json]``."""

    help = "Tell where the code of a request runs, and in how many trips to a thread."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("url", help="a path such as /notes/, or a whole URL")
        parser.add_argument("--method", default="GET", help="the HTTP method")
        parser.add_argument(
            "--json", action="store_true", dest="is_json", help="write JSON"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the explanation.

        Raises:
            CommandError: the URL has no path.
        """
        path = unquote(urlsplit(options["url"]).path)
        if not path.startswith("/"):
            raise CommandError(
                f"{options['url']!r} is no URL of a site: give a path that begins with "
                "a slash, such as /notes/, or a whole URL."
            )
        _, path = split_path(path, settings.FORCE_SCRIPT_NAME or "")
        explanation = explain(ASGIHandler(), options["method"].upper(), path)
        if options["is_json"]:
            self.stdout.write(json.dumps(asdict(explanation), indent=2))
            return
        for line in _lines(explanation):
            self.stdout.write(line)


def _lines(explanation: Explanation) -> Iterator[str]:
    kind = "async" if explanation.is_async else "sync"
    view = explanation.view
    yield f"{explanation.method} {explanation.path}"
    yield f"  view   {view} ({kind})" if view else "  view   none: the URL is a 404"
    yield f"  trips  {explanation.trips}"
    yield ""
    for step in explanation.steps:
        where = step.where if step.trip is None else f"{step.where}, trip {step.trip}"
        name = f"{step.name}.{step.hook}" if "process_" in step.hook else step.name
        yield f"  {name}"
        yield f"      {where}: {step.why}"
    yield ""
    yield "What adds trips:"
    for each in explanation.more:
        yield f"  {each}"
