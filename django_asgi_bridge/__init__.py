"""Serve Django over ASGI: async views natively, sync views on leased worker threads.

``django_asgi_bridge.asgi.get_asgi_application`` is what a project imports.
"""

from __future__ import annotations

__all__ = ("__version__",)

__version__ = "0.1.0"
