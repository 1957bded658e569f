"""What routes tell consumers through the scope."""

from typing import Final

__all__ = ("ROUTE", "STRICT_EVENTS")

STRICT_EVENTS: Final = "django_asgi_bridge.strict_events"
"""Scope key: consumers behind this route have ``strict_events`` unless they say."""

ROUTE: Final = "django_asgi_bridge.route"
"""Scope key: the ``ResolverMatch`` of a route from the URLconf."""
