"""Errors of WebSockets, consumers and channel layers; see the package."""

from __future__ import annotations

from django_asgi_bridge.exceptions import BridgeError

__all__ = (
    "AcceptConnection",
    "BadMessage",
    "ChannelFull",
    "DenyConnection",
    "InvalidChannelLayerError",
    "LayerUnavailable",
    "MessageTooLarge",
    "Redirect",
    "RequestAborted",
    "RequestTimeout",
    "SocketStateError",
    "StopConsumer",
)


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


class DenyConnection(Exception):
    """Raised in a WebSocket consumer's ``connect()``: refuse the handshake."""


class InvalidChannelLayerError(BridgeError, ValueError):
    """``CHANNEL_LAYERS`` is wrong, or the layer lacks what was asked of it."""


class LayerUnavailable(BridgeError, ConnectionError):
    """The server behind a channel layer did not answer, so a message is not sent.

    If you see this: see whether the server is up; sockets stay open meanwhile.
    """


class MessageTooLarge(BridgeError):
    """A message is larger than the channel layer carries.

    If you see this: send a reference to the content instead of the content.
    """


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
