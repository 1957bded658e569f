"""The client of one WebSocket of an ASGI application, without a server."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote, urlparse

from django_asgi_bridge.testing.application import ApplicationCommunicator
from django_asgi_bridge.testing.expectations import expect_event, expect_type

__all__ = ("WebsocketCommunicator",)


class WebsocketCommunicator(ApplicationCommunicator):
    """The client of one WebSocket.

    Args:
        application: what serves it.
        path: with the query string.
        headers: pairs of bytes; a browser sends ``(b"origin", ...)``.
        subprotocols: that the client offers.
        spec_version: of ASGI's WebSocket messages.
        extensions: what the server can do, such as
            ``{"websocket.http.response": {}}``.

    Attributes:
        response_headers: those of the accepted handshake.
        denial: status, headers and body of a handshake that was refused by an HTTP
            response; None otherwise.
    """

    def __init__(
        self,
        application: Any,
        path: str,
        headers: Iterable[tuple[bytes, bytes]] | None = None,
        subprotocols: Iterable[str] | None = None,
        spec_version: str | None = None,
        *,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(path, str):
            raise TypeError(f"Expected str, got {type(path)}")
        parsed = urlparse(path)
        scope: dict[str, Any] = {
            "type": "websocket",
            "path": unquote(parsed.path),
            "query_string": parsed.query.encode(),
            "headers": list(headers or ()),
            "subprotocols": list(subprotocols or ()),
        }
        if spec_version:
            scope["spec_version"] = spec_version
        if extensions is not None:
            scope["extensions"] = dict(extensions)
        super().__init__(application, scope)
        self.response_headers: list[tuple[bytes, bytes]] | None = None
        self.denial: dict[str, Any] | None = None

    async def connect(self, timeout: float = 1) -> tuple[bool, Any]:
        """Open the connection.

        Returns:
            ``(True, subprotocol)``, or ``(False, code)`` for a refusal: the close
            code, or the status of an HTTP response.
        """
        await self.send_input({"type": "websocket.connect"})
        event = await self.receive_output(timeout)
        if event["type"] == "websocket.close":
            return False, event.get("code", 1000)
        if event["type"] == "websocket.http.response.start":
            self.denial = await self._read_denial(event, timeout)
            return False, self.denial["status"]
        expect_event(event, "websocket.accept")
        self.response_headers = event.get("headers", [])
        return True, event.get("subprotocol")

    async def _read_denial(self, start: Any, timeout: float) -> dict[str, Any]:
        body = await self._receive_body("websocket.http.response.body", timeout)
        headers = start.get("headers", [])
        return {"status": start["status"], "headers": headers, "body": body}

    async def send_to(
        self, text_data: str | None = None, bytes_data: bytes | None = None
    ) -> None:
        """Send a frame: exactly one of text and bytes."""
        if bool(text_data) == bool(bytes_data):
            raise AssertionError(
                "You must supply exactly one of text_data or bytes_data"
            )
        if text_data:
            expect_type(text_data, str, "The text_data argument must be a str")
            await self.send_input({"type": "websocket.receive", "text": text_data})
        else:
            expect_type(bytes_data, bytes, "The bytes_data argument must be bytes")
            await self.send_input({"type": "websocket.receive", "bytes": bytes_data})

    async def send_json_to(self, data: Any) -> None:
        """Send ``data`` as a text frame of JSON."""
        await self.send_to(text_data=json.dumps(data))

    async def receive_from(self, timeout: float = 1) -> Any:
        """Return the text or the bytes of the next frame.

        Raises:
            AssertionError: something else came, such as a close.
        """
        event = await self.receive_output(timeout)
        expect_event(event, "websocket.send")
        text, data = event.get("text"), event.get("bytes")
        if (text is None) == (data is None):
            raise AssertionError("The response needs exactly one of 'text' or 'bytes'")
        if data is None:
            expect_type(text, str, f"Text frame payload is not str, it is {type(text)}")
            return text
        expect_type(
            data, bytes, f"Binary frame payload is not bytes, it is {type(data)}"
        )
        return data

    async def receive_json_from(self, timeout: float = 1) -> Any:
        """Return what the next frame's JSON says."""
        payload = await self.receive_from(timeout)
        expect_type(
            payload, str, f"JSON data is not a text frame, it is {type(payload)}"
        )
        return json.loads(payload)

    async def disconnect(self, code: int = 1000, timeout: float = 1) -> None:
        """Leave, and wait for the application's end.

        Raises:
            TimeoutError: it has not ended; the message says where it waits.
        """
        await self.send_input({"type": "websocket.disconnect", "code": code})
        await self.wait(timeout)
