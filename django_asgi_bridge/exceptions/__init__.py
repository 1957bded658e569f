"""The errors of this package that need nothing of Django.

::

    BridgeError
    ├── BadMessage (ValueError)
    ├── ChannelFull
    ├── ClientDisconnected (ConnectionError)
    ├── DetachedRequest (RuntimeError)
    ├── InvalidChannelLayerError (ValueError)
    ├── LayerUnavailable (ConnectionError)
    ├── LifespanError (RuntimeError)
    ├── MessageTooLarge
    ├── PoolBusy (RuntimeError)
    ├── RequestAborted
    │   └── RequestTimeout
    ├── SocketStateError (RuntimeError)
    └── UnsupportedByServer (RuntimeError)

``AcceptConnection``, ``DenyConnection``, ``Redirect`` and ``StopConsumer`` are no
errors: a consumer raises them to say how its connection goes on.

Those of WebSockets and channel layers are loaded by the first who asks for one.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_asgi_bridge.exceptions.channels import (
        AcceptConnection,
        BadMessage,
        ChannelFull,
        DenyConnection,
        InvalidChannelLayerError,
        LayerUnavailable,
        MessageTooLarge,
        Redirect,
        RequestAborted,
        RequestTimeout,
        SocketStateError,
        StopConsumer,
    )

__all__ = (
    "AcceptConnection",
    "BadMessage",
    "BridgeError",
    "ChannelFull",
    "ClientDisconnected",
    "DenyConnection",
    "DetachedRequest",
    "InvalidChannelLayerError",
    "LayerUnavailable",
    "LifespanError",
    "MessageTooLarge",
    "PoolBusy",
    "Redirect",
    "RequestAborted",
    "RequestTimeout",
    "SocketStateError",
    "StopConsumer",
    "UnsupportedByServer",
)


class BridgeError(Exception):
    """The root of this package's own errors."""


class ClientDisconnected(BridgeError, ConnectionError):
    """The client left while something of it was still being read.

    If you see this: stop the work for this client; nothing that is sent to it
    arrives any more.
    """


class DetachedRequest(BridgeError, RuntimeError):
    """A request extension was used on a request that no ASGI handler of ours serves.

    If you see this: serve the project with
    ``django_asgi_bridge.asgi.get_asgi_application()``, or test the view with
    ``django_asgi_bridge.testing.AsyncClient``.
    """


class LifespanError(BridgeError, RuntimeError):
    """A startup or shutdown hook failed, so the application cannot serve.

    If you see this: the message names the hook and its error.
    """


class PoolBusy(BridgeError, RuntimeError):
    """No worker thread came free within the queue time-out, or the queue was full.

    The handler turns it into a 503 response with ``Retry-After``.
    If you see this often: raise ``ASGI_BRIDGE["THREADS"]`` when views wait for the
    database or the network, or find the view that holds its thread.
    """

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class UnsupportedByServer(BridgeError, RuntimeError):
    """The ASGI server does not offer the extension that was asked for.

    If you see this: test ``request.scope["extensions"]`` first, or serve the
    project with a server whose column in the servers table says yes.
    """


if not TYPE_CHECKING:
    # Type checkers would take every misspelled name for one that this gives.

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = getattr(import_module(f"{__name__}.channels"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
