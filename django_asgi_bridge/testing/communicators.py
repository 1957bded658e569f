"""Talking to an ASGI application from a test, event by event.

The interface is that of ``channels.testing``. The application runs in a task of its
own, in an empty context, as under a server; its sync code has the database
connections, and so the transaction, of the test.
"""

import asyncio
import contextlib
import contextvars
import json
import time
from collections.abc import Iterable, Mapping
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import Any
from urllib.parse import unquote, urlparse

from asgiref.compatibility import guarantee_single_callable

from django_asgi_bridge.testing.worker import connections_of_test

__all__ = ("ApplicationCommunicator", "HttpCommunicator", "WebsocketCommunicator")

_INTERNAL_ERROR = 1011


class ApplicationCommunicator:
    """Runs an application for one scope; sends it events and receives its own.

    Args:
        application: an ASGI application, of version 2 or 3.
        scope: the connection's.

    Attributes:
        input_queue: events for the application.
        output_queue: events from it.
    """

    def __init__(self, application: Any, scope: dict[str, Any]) -> None:
        self.application = _in_test(application)
        self.scope = scope
        self.input_queue: asyncio.Queue[Any] = asyncio.Queue()
        self.output_queue: asyncio.Queue[Any] = asyncio.Queue()
        self._future: asyncio.Future[Any] | None = None
        self._name = _name_of(application)

    @property
    def future(self) -> "asyncio.Future[Any]":
        """The application's task; it starts when it is first asked for."""
        if self._future is None:
            self._future = asyncio.get_running_loop().create_task(
                self.application(
                    self.scope, self.input_queue.get, self.output_queue.put
                ),
                # What the test has set is not seen, as under a server.
                context=contextvars.Context(),
            )
        return self._future

    async def send_input(self, message: Mapping[str, Any]) -> None:
        """Let the application receive an event.

        Raises:
            Exception: what the application raised.
        """
        if self.future.done():
            self.future.result()
        await self.input_queue.put(message)

    async def receive_output(self, timeout: float = 1) -> Any:
        """Return the application's next event.

        Args:
            timeout: seconds to wait for it.

        Raises:
            TimeoutError: none came; the message says where the application waits.
            Exception: what the application raised.
        """
        if self.future.done():
            self.future.result()
        try:
            async with asyncio.timeout(timeout):
                event = await self.output_queue.get()
        except TimeoutError:
            if self.future.done():
                self.future.result()
            place = _place_of(self.future)
            await self._cancel()
            raise TimeoutError(
                f"{self._name} sent nothing within {timeout:g} s; it waits in {place}"
            ) from None
        if event["type"] == "websocket.close" and event.get("code") == _INTERNAL_ERROR:
            # The application is about to raise what made it close.
            await asyncio.wait([self.future], timeout=timeout)
            if self.future.done():
                self.future.result()
        return event

    async def receive_nothing(
        self, timeout: float = 0.1, interval: float = 0.01
    ) -> bool:
        """Tell whether the application sends no event for a time.

        Args:
            timeout: seconds to watch.
            interval: seconds between two looks.
        """
        if self.future.done():
            self.future.result()
        end = time.monotonic() + timeout
        while self.output_queue.empty() and time.monotonic() < end:
            await asyncio.sleep(interval)
        if self.output_queue.empty() and self.future.done():
            # Silent because it has failed.
            self.future.result()
        return self.output_queue.empty()

    async def wait(self, timeout: float = 1) -> None:
        """Wait for the application's end.

        Raises:
            TimeoutError: it has not ended; the message says where it waits.
            Exception: what the application raised.
        """
        done, _ = await asyncio.wait([self.future], timeout=timeout)
        if not done:
            place = _place_of(self.future)
            await self._cancel()
            raise TimeoutError(
                f"{self._name} did not end within {timeout:g} s; it waits in {place}"
            )
        with contextlib.suppress(asyncio.CancelledError):
            self.future.result()

    def stop(self, exceptions: bool = True) -> None:
        """Cancel the application, unless it has ended.

        Args:
            exceptions: raise what an application that has ended raised.
        """
        future = self._future
        if future is None:
            return
        if not future.done():
            future.cancel()
        elif exceptions:
            future.result()

    def __del__(self) -> None:
        # A closed loop cannot cancel anything any more; an application that
        # failed has been asked for its error, or nobody wants it.
        with contextlib.suppress(RuntimeError, AttributeError):
            self.stop(exceptions=False)

    async def _cancel(self) -> None:
        self.future.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self.future


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
        _expect(start, "http.response.start")
        body = b""
        more_body = True
        while more_body:
            part = await self.receive_output(timeout)
            _expect(part, "http.response.body")
            body += part.get("body", b"")
            more_body = part.get("more_body", False)
        response = {key: value for key, value in start.items() if key != "type"}
        return {"headers": [], **response, "body": body}


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
        _expect(event, "websocket.accept")
        self.response_headers = event.get("headers", [])
        return True, event.get("subprotocol")

    async def _read_denial(self, start: Any, timeout: float) -> dict[str, Any]:
        body = b""
        more_body = True
        while more_body:
            part = await self.receive_output(timeout)
            _expect(part, "websocket.http.response.body")
            body += part.get("body", b"")
            more_body = part.get("more_body", False)
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
            _expect_type(text_data, str, "The text_data argument must be a str")
            await self.send_input({"type": "websocket.receive", "text": text_data})
        else:
            _expect_type(bytes_data, bytes, "The bytes_data argument must be bytes")
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
        _expect(event, "websocket.send")
        text, data = event.get("text"), event.get("bytes")
        if (text is None) == (data is None):
            raise AssertionError("The response needs exactly one of 'text' or 'bytes'")
        if data is None:
            _expect_type(
                text, str, f"Text frame payload is not str, it is {type(text)}"
            )
            return text
        _expect_type(
            data, bytes, f"Binary frame payload is not bytes, it is {type(data)}"
        )
        return data

    async def receive_json_from(self, timeout: float = 1) -> Any:
        """Return what the next frame's JSON says."""
        payload = await self.receive_from(timeout)
        _expect_type(
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


def _in_test(application: Any) -> Any:
    """Return the application with the test's database connections."""
    adapt: Any = guarantee_single_callable
    inner = adapt(application)

    async def in_test(scope: Any, receive: Any, send: Any) -> Any:
        with connections_of_test():
            return await inner(scope, receive, send)

    return in_test


def _expect(event: Mapping[str, Any], kind: str) -> None:
    if event["type"] != kind:
        raise AssertionError(f"Expected type '{kind}', but was '{event['type']}'")


def _expect_type(value: object, kind: type, message: str) -> None:
    if not isinstance(value, kind):
        raise AssertionError(message)  # noqa: TRY004 - as Channels


def _name_of(application: Any) -> str:
    return str(getattr(application, "__qualname__", type(application).__qualname__))


def _place_of(task: "asyncio.Future[Any]") -> str:
    """Say in which functions a task waits, the innermost of the project last."""
    waits: list[str] = []
    step: Any = task.get_coro() if isinstance(task, asyncio.Task) else None
    while step is not None:
        frame = None
        if isinstance(step, CoroutineType):
            frame, step = step.cr_frame, step.cr_await
        elif isinstance(step, GeneratorType):
            frame, step = step.gi_frame, step.gi_yieldfrom
        elif isinstance(step, AsyncGeneratorType):
            frame, step = step.ag_frame, step.ag_await
        else:
            break
        if frame is not None:
            name = frame.f_code.co_qualname
            waits.append(
                f"{name} (line {frame.f_lineno} of {frame.f_code.co_filename})"
            )
    return " > ".join(waits[-3:]) or "code that cannot be looked into"
