"""One HTTP request to an ASGI application, without a server."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import unquote, urlparse

from django_asgi_bridge.testing.application import ApplicationCommunicator
from django_asgi_bridge.testing.expectations import expect_event

__all__ = ("HttpCommunicator",)


class HttpCommunicator(ApplicationCommunicator):
    """Sends one HTTP request and collects the response.

    Args:
        application: what serves it.
        method: such as ``"GET"``.
        path: with the query string.
        body: of the request.
        headers: pairs of bytes.
    """

    def __init__(
        self,
        application: Any,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Iterable[tuple[bytes, bytes]] | None = None,
    ) -> None:
        if not isinstance(body, bytes):
            raise AssertionError(  # noqa: TRY004 - as Channels
                f"body is {type(body).__name__}: expected bytes"
            )
        parsed = urlparse(path)
        super().__init__(
            application,
            {
                "type": "http",
                "http_version": "1.1",
                "method": method.upper(),
                "path": unquote(parsed.path),
                "query_string": parsed.query.encode(),
                "headers": list(headers or ()),
            },
        )
        self.body = body
        self.sent_request = False

    async def get_response(self, timeout: float = 1) -> dict[str, Any]:
        """Return the response: ``status``, ``headers`` and ``body``.

        Args:
            timeout: seconds to wait for each event.
        """
        if not self.sent_request:
            self.sent_request = True
            await self.send_input({"type": "http.request", "body": self.body})
        start = await self.receive_output(timeout)
        expect_event(start, "http.response.start")
        body = await self._receive_body("http.response.body", timeout)
        response = {key: value for key, value in start.items() if key != "type"}
        return {"headers": [], **response, "body": body}
