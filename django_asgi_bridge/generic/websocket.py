"""WebSocket consumers with methods for connect, receive and disconnect.

The interface is that of ``channels.generic.websocket``. What the four classes
decide stands in ``rules``; here are the shells, with and without ``await``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Coroutine, Iterable
from typing import Any, Literal

from django.core.exceptions import PermissionDenied
from django.http import Http404

from django_asgi_bridge.consumer import AsyncConsumer, SyncConsumer
from django_asgi_bridge.db import aclose_old_connections  # noqa: F401 - re-export
from django_asgi_bridge.exceptions import (
    AcceptConnection,
    DenyConnection,
    InvalidChannelLayerError,  # noqa: F401 - re-export
    StopConsumer,
)
from django_asgi_bridge.generic import rules
from django_asgi_bridge.generic.groups import join_groups, leave_groups
from django_asgi_bridge.threads import call_async, raising, tail_call
from django_asgi_bridge.types import Message

__all__ = (
    "AsyncJsonWebsocketConsumer",
    "AsyncWebsocketConsumer",
    "JsonWebsocketConsumer",
    "WebsocketConsumer",
)

logger = logging.getLogger("django_asgi_bridge.generic")

_INVALID_DATA = 1007


class AsyncWebsocketConsumer(AsyncConsumer):
    """A WebSocket connection with coroutine methods.

    Attributes:
        groups: names of the layer's groups that the connection is in from before
            ``connect()`` until before ``disconnect()``.
        reject_fallback: what ``reject()`` does where the server cannot send an HTTP
            response: ``"refuse"`` (it answers 403), or ``"accept_then_close"``, so
            that a browser can read the close code, 4000 + status.
    """

    groups: Iterable[str] | None = None
    reject_fallback: Literal["refuse", "accept_then_close"] = "refuse"
    _has_left = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.groups is None:
            self.groups = []

    async def websocket_connect(self, message: Message) -> None:
        """Join the groups and call ``connect()``; see it for what that may raise."""
        await join_groups(self)
        try:
            await self.connect()
        except AcceptConnection:
            await self.accept()
        except (DenyConnection, Http404, PermissionDenied) as error:
            refusal = rules.refusal_of(error, self.connection.socket_state)
            if refusal is not None:
                status, headers = refusal
                await self.reject(status, headers=headers)
            elif isinstance(error, DenyConnection):
                await self.close()
            else:
                raise

    async def connect(self) -> None:
        """Answer the handshake; accepts it unless overridden.

        It may raise ``AcceptConnection``, ``DenyConnection``, ``Redirect``,
        ``Http404`` or ``PermissionDenied`` instead.
        """
        await self.accept()

    async def accept(
        self, subprotocol: str | None = None, headers: rules.Headers | None = None
    ) -> None:
        """Accept the handshake.

        Args:
            subprotocol: one of ``scope["subprotocols"]``.
            headers: pairs of bytes for the response.
        """
        await super().send(rules.accept_event(subprotocol, headers))

    async def reject(
        self,
        status: int = 403,
        body: bytes | str = b"",
        headers: rules.Headers | None = None,
    ) -> None:
        """Refuse the handshake with an HTTP response, where the server can.

        Args:
            status: 300 to 599.
            body: of the response; the status' own phrase when empty.
            headers: pairs for the response.
        """
        for event in rules.refusal_events(
            self.scope, status, body, headers, self.reject_fallback
        ):
            await super().send(event)

    @tail_call
    def websocket_receive(self, message: Message) -> Coroutine[Any, Any, None]:
        """Call ``receive()`` with what the frame holds."""
        text = message.get("text")
        if text is not None:
            return self.receive(text_data=text)
        return self.receive(bytes_data=message.get("bytes"))

    async def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Handle a frame; does nothing unless overridden."""

    @tail_call
    def send(  # type: ignore[override] # as Channels
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        close: bool | int = False,
    ) -> Coroutine[Any, Any, None]:
        """Send a frame, and close afterwards if asked to.

        Args:
            close: True, or the close code.

        Raises:
            ValueError: neither text nor bytes are given.
        """
        try:
            event = rules.frame_event(text_data, bytes_data)
        except ValueError as error:
            return raising(error)
        return self._send_and_close(event, close) if close else super().send(event)

    async def _send_and_close(self, event: Message, code: bool | int) -> None:
        await super().send(event)
        await self.close(code)

    async def close(
        self, code: int | bool | None = None, reason: str | None = None
    ) -> None:
        """Close the connection, or refuse the handshake with status 403.

        Args:
            code: 1000 when left out.
            reason: up to 123 bytes of UTF-8.
        """
        await super().send(rules.close_event(code, reason))

    async def websocket_disconnect(self, message: Message) -> None:
        """Leave the groups, call ``disconnect()`` and end the consumer."""
        try:
            await self._leave_groups()
        finally:
            await self.disconnect(message.get("code", 1005))
        raise StopConsumer

    async def _leave_groups(self) -> None:
        await leave_groups(self)

    async def disconnect(self, code: int) -> None:
        """Clean up; runs once for each connection, however it ends.

        It runs in the task of the other handlers, the server's own: a server that
        loses patience and cancels that meanwhile cuts it off. The groups are left
        all the same.

        Args:
            code: the close code; 1006 when the connection broke, 1011 after an
                exception of a handler, 1012 when the server stops.
        """


class WebsocketConsumer(SyncConsumer):
    """A WebSocket connection with plain methods, which run on worker threads.

    Attributes and methods are those of ``AsyncWebsocketConsumer``, without await.
    """

    groups: Iterable[str] | None = None
    reject_fallback: Literal["refuse", "accept_then_close"] = "refuse"
    _has_left = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if self.groups is None:
            self.groups = []

    def websocket_connect(self, message: Message) -> None:
        """Join the groups and call ``connect()``; see it for what that may raise."""
        if self.groups:
            call_async(join_groups, self)
        try:
            self.connect()
        except AcceptConnection:
            self.accept()
        except (DenyConnection, Http404, PermissionDenied) as error:
            refusal = rules.refusal_of(error, self.connection.socket_state)
            if refusal is not None:
                status, headers = refusal
                self.reject(status, headers=headers)
            elif isinstance(error, DenyConnection):
                self.close()
            else:
                raise

    def connect(self) -> None:
        """Answer the handshake; accepts it unless overridden."""
        self.accept()

    def accept(
        self, subprotocol: str | None = None, headers: rules.Headers | None = None
    ) -> None:
        """Accept the handshake."""
        super().send(rules.accept_event(subprotocol, headers))

    def reject(
        self,
        status: int = 403,
        body: bytes | str = b"",
        headers: rules.Headers | None = None,
    ) -> None:
        """Refuse the handshake with an HTTP response, where the server can."""
        for event in rules.refusal_events(
            self.scope, status, body, headers, self.reject_fallback
        ):
            super().send(event)

    def websocket_receive(self, message: Message) -> None:
        """Call ``receive()`` with what the frame holds."""
        text = message.get("text")
        if text is not None:
            self.receive(text_data=text)
        else:
            self.receive(bytes_data=message.get("bytes"))

    def receive(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Handle a frame; does nothing unless overridden."""

    def send(  # type: ignore[override] # as Channels
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        close: bool | int = False,
    ) -> None:
        """Send a frame, and close afterwards if asked to."""
        super().send(rules.frame_event(text_data, bytes_data))
        if close:
            self.close(close)

    def close(self, code: int | bool | None = None, reason: str | None = None) -> None:
        """Close the connection, or refuse the handshake with status 403."""
        super().send(rules.close_event(code, reason))

    def websocket_disconnect(self, message: Message) -> None:
        """Leave the groups, call ``disconnect()`` and end the consumer."""
        try:
            if self.groups:
                call_async(self._leave_groups)
        finally:
            self.disconnect(message.get("code", 1005))
        raise StopConsumer

    async def _leave_groups(self) -> None:
        await leave_groups(self)

    def disconnect(self, code: int) -> None:
        """Clean up; runs once for each connection, however it ends."""


class AsyncJsonWebsocketConsumer(AsyncWebsocketConsumer):
    """A WebSocket connection whose frames are JSON texts."""

    async def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        """Call ``receive_json()`` with what the text says.

        Raises:
            ValueError: the frame has no text.
        """
        if not text_data:
            raise ValueError(rules.NO_TEXT)
        try:
            content = await self.decode_json(text_data)
        except (ValueError, RecursionError) as error:
            await self.bad_json(error)
            return
        await self.receive_json(content, **kwargs)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle what a frame says; does nothing unless overridden."""

    async def bad_json(self, error: Exception) -> None:
        """Handle a frame that is no JSON: closes with 1007 unless overridden."""
        _log_bad_json(self, error)
        await self.close(_INVALID_DATA, "invalid JSON")

    async def send_json(self, content: Any, close: bool | int = False) -> None:
        """Send ``content`` as JSON, and close afterwards if asked to."""
        await super().send(text_data=await self.encode_json(content), close=close)

    @classmethod
    async def decode_json(cls, text_data: str) -> Any:
        """Return what a text says."""
        return rules.parse_json(text_data)

    @classmethod
    async def encode_json(cls, content: Any) -> str:
        """Return the text for a content."""
        return json.dumps(content)


class JsonWebsocketConsumer(WebsocketConsumer):
    """A WebSocket connection whose frames are JSON texts; with plain methods."""

    def receive(
        self,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        **kwargs: Any,
    ) -> None:
        """Call ``receive_json()`` with what the text says.

        Raises:
            ValueError: the frame has no text.
        """
        if not text_data:
            raise ValueError(rules.NO_TEXT)
        try:
            content = self.decode_json(text_data)
        except (ValueError, RecursionError) as error:
            self.bad_json(error)
            return
        self.receive_json(content, **kwargs)

    def receive_json(self, content: Any, **kwargs: Any) -> None:
        """Handle what a frame says; does nothing unless overridden."""

    def bad_json(self, error: Exception) -> None:
        """Handle a frame that is no JSON: closes with 1007 unless overridden."""
        _log_bad_json(self, error)
        self.close(_INVALID_DATA, "invalid JSON")

    def send_json(self, content: Any, close: bool | int = False) -> None:
        """Send ``content`` as JSON, and close afterwards if asked to."""
        super().send(text_data=self.encode_json(content), close=close)

    @classmethod
    def decode_json(cls, text_data: str) -> Any:
        """Return what a text says."""
        return rules.parse_json(text_data)

    @classmethod
    def encode_json(cls, content: Any) -> str:
        """Return the text for a content."""
        return json.dumps(content)


def _log_bad_json(consumer: AsyncConsumer, error: Exception) -> None:
    logger.warning(
        "%s: a frame is no JSON (%s); override bad_json() to answer otherwise",
        type(consumer).__qualname__,
        type(error).__name__ if isinstance(error, RecursionError) else error,
    )
