"""Names that projects import from ``channels.utils``."""

from __future__ import annotations

from django_asgi_bridge.sockets.dispatching import await_many_dispatch, name_that_thing

__all__ = ("await_many_dispatch", "name_that_thing")
