"""Startup and shutdown hooks: what lives as long as the process serves requests.

A hook is a context manager. What stands before its ``yield`` runs before the first
request, what stands after it runs when the server stops, and the mapping that it
yields becomes ``request.state``. The task that enters a hook leaves it, so that a hook
may hold a task group or a cancel scope open.

Where the server speaks the lifespan protocol, its own task runs the hooks. Where no
server does (daphne, or an application mounted in a router that forwards no lifespan),
the first request starts them in a task of their own. Such a task is stopped by the end
of ``asyncio.run()``, which cancels what is left, else at the exit of the interpreter if
its loop still can run. After a signal that kills (uvicorn with ``--lifespan off`` ends
itself by the SIGTERM that it got), ``os._exit()`` or the closing of the loop nothing can
stop it in order.

This room reads no setting and starts nothing at import.

Specification: ASGI lifespan protocol 2.0.
"""

from __future__ import annotations

from django_asgi_bridge.lifespan.application import Lifespan
from django_asgi_bridge.lifespan.hooks import (
    AppHooks,
    Hook,
    LifespanState,
    RunSync,
    app_hooks,
    find_hooks,
)

__all__ = (
    "AppHooks",
    "Hook",
    "Lifespan",
    "LifespanState",
    "RunSync",
    "app_hooks",
    "find_hooks",
)
