"""What routes tell consumers through the scope."""

from __future__ import annotations

from typing import Final

__all__ = ("HANDSHAKE", "STRICT_EVENTS")

STRICT_EVENTS: Final = "django_asgi_bridge.strict_events"
"""Scope key: consumers behind this route have ``strict_events`` unless they say."""

HANDSHAKE: Final = "the handshake of a WebSocket"
"""The owner of a lease that session and user were looked up with, and that the
consumer may go on with; the log names it."""
