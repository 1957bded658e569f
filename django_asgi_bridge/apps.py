"""The Django app ``django_asgi_bridge``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.apps import AppConfig
from django.core import checks

__all__ = ("BridgeConfig",)


class BridgeConfig(AppConfig):
    """Brings the commands and the system checks."""

    name = "django_asgi_bridge"
    verbose_name = "ASGI bridge"

    def ready(self) -> None:
        """Register the system checks."""
        checks.register(_check, self.label)


def _check(**kwargs: Any) -> Sequence[checks.CheckMessage]:
    """Make the system checks; a server does not, and so does not load them."""
    from django_asgi_bridge.checks import run_checks  # noqa: PLC0415

    return run_checks()
