"""The server's side of one WebSocket, in the hands of a test."""

import asyncio
from collections.abc import Callable
from typing import Any

WATCHDOG = 20.0
"""Seconds after which a test that hangs fails; nothing waits for it to pass."""


class Wire:
    """Runs an application for one scope and talks to it.

    Attributes:
        sent: the events that the application sent.
        gate: while it is not set, the server takes no event.
        on_send: called with each event before it is taken; may raise.
    """

    def __init__(self, application: Any, **scope: Any) -> None:
        self.scope = {"type": "websocket", "path": "/", "headers": [], **scope}
        self.sent: list[dict[str, Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.on_send: Callable[[Any], None] = lambda event: None
        self._events: asyncio.Queue[Any] = asyncio.Queue()
        self._news = asyncio.Event()
        self.task = asyncio.create_task(self._serve(application))

    async def _serve(self, application: Any) -> None:
        try:
            await application(self.scope, self._events.get, self._send)
        finally:
            self._news.set()

    async def _send(self, event: Any) -> None:
        self.on_send(event)
        await self.gate.wait()
        self.sent.append(event)
        self._news.set()

    def push(self, kind: str, **content: Any) -> None:
        """Let the application receive an event."""
        self._events.put_nowait({"type": f"websocket.{kind}", **content})

    def say(self, *texts: str) -> None:
        """Let the client send text frames."""
        for text in texts:
            self.push("receive", text=text)

    async def until(self, condition: Callable[[], Any]) -> None:
        """Wait until something that the application does has made a condition true."""
        async with asyncio.timeout(WATCHDOG):
            while not condition():
                if self.task.done():
                    self.task.result()
                await asyncio.sleep(0)

    async def open(self) -> "Wire":
        """Connect and wait for the answer."""
        self.push("connect")
        await self.until(lambda: self.sent)
        return self

    async def leave(self, code: int | None = 1001) -> None:
        """Let the client leave and wait for the application's end."""
        self.push("disconnect", **({} if code is None else {"code": code}))
        await self.end()

    async def end(self) -> None:
        """Wait for the application's end."""
        async with asyncio.timeout(WATCHDOG):
            await self.task

    def texts(self) -> list[str]:
        """Return the texts of the frames that were sent."""
        return [event["text"] for event in self.sent if "text" in event]
