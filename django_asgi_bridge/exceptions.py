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
"""

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


class AcceptConnection(Exception):
    """Raised in a WebSocket consumer's ``connect()``: accept the handshake."""


class BadMessage(BridgeError, ValueError):
    """A message that ASGI or the channel layer cannot carry.

    If you see this: the message names the key path and what may stand there.
    """


class ChannelFull(BridgeError):
    """A channel holds as many messages as its capacity allows.

    If you see this: its reader is slower than its senders; raise the layer's
    ``capacity``, or send less.
    """


class ClientDisconnected(BridgeError, ConnectionError):
    """The client left while something of it was still being read.

    If you see this: stop the work for this client; nothing that is sent to it
    arrives any more.
    """


class DenyConnection(Exception):
    """Raised in a WebSocket consumer's ``connect()``: refuse the handshake."""


class DetachedRequest(BridgeError, RuntimeError):
    """A request extension was used on a request that no ASGI handler of ours serves.

    If you see this: serve the project with
    ``django_asgi_bridge.asgi.get_asgi_application()``, or test the view with
    ``django_asgi_bridge.testing.AsyncClient``.
    """


class InvalidChannelLayerError(BridgeError, ValueError):
    """``CHANNEL_LAYERS`` is wrong, or the layer lacks what was asked of it."""


class LayerUnavailable(BridgeError, ConnectionError):
    """The server behind a channel layer did not answer, so a message is not sent.

    If you see this: see whether the server is up; sockets stay open meanwhile.
    """


class LifespanError(BridgeError, RuntimeError):
    """A startup or shutdown hook failed, so the application cannot serve.

    If you see this: the message names the hook and its error.
    """


class MessageTooLarge(BridgeError):
    """A message is larger than the channel layer carries.

    If you see this: send a reference to the content instead of the content.
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


class Redirect(DenyConnection):
    """Raised in a WebSocket consumer's ``connect()``: answer with a redirect.

    Browsers do not follow it; other clients and proxies may.

    Args:
        url: where to.
        status: 301, 302, 303, 307 or 308.
    """

    def __init__(self, url: str, status: int = 302) -> None:
        super().__init__(url)
        self.url = url
        self.status = status


class RequestAborted(BridgeError):
    """The client left before its request was complete."""


class RequestTimeout(RequestAborted):
    """The request took longer than it may."""


class SocketStateError(BridgeError, RuntimeError):
    """A WebSocket event was sent when the connection could not take it.

    If you see this: the message names the event and the state; accept the
    handshake before you send.
    """


class StopConsumer(Exception):
    """Raised by a handler: the consumer's work is over, end it cleanly."""


class UnsupportedByServer(BridgeError, RuntimeError):
    """The ASGI server does not offer the extension that was asked for.

    If you see this: test ``request.scope["extensions"]`` first, or serve the
    project with a server whose column in the servers table says yes.
    """
