"""The bus that the package's own features use within one process.

It is no layer of the project's: ``get_channel_layer()`` never returns it.
"""

from __future__ import annotations

import threading

from django_asgi_bridge.layers.memory import InMemoryChannelLayer

__all__ = ("process_bus",)

_lock = threading.Lock()
_bus: InMemoryChannelLayer | None = None


def process_bus() -> InMemoryChannelLayer:
    """Return the one in-memory layer of this process, made at first use."""
    global _bus
    if _bus is None:
        with _lock:
            if _bus is None:
                _bus = InMemoryChannelLayer()
    return _bus
