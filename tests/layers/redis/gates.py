"""A way to a Redis server that a test may hold shut, and cut."""

import asyncio
import contextlib
from typing import Self

__all__ = ("Gate",)


class Gate:
    """Stands between a layer and a server.

    While it is shut it takes what the layer sends and passes nothing on.

    Args:
        port: of the server, on this machine.

    Attributes:
        held: bytes that came while it was shut.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.held = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(self, *error: object) -> None:
        assert self._server is not None
        self._server.close()
        self.open()
        self.cut()

    @property
    def url(self) -> str:
        assert self._server is not None
        return f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"

    def shut(self) -> None:
        self._is_open.clear()
        self.held = 0

    def open(self) -> None:
        self._is_open.set()

    def cut(self) -> None:
        """End all connections; new ones may come."""
        for each in self._writers:
            each.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        behind, ahead = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers |= {writer, ahead}
        with contextlib.suppress(OSError, asyncio.CancelledError):
            await asyncio.gather(self._up(reader, ahead), self._down(behind, writer))
        for each in (writer, ahead):
            each.close()
            self._writers.discard(each)

    async def _up(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            if not self._is_open.is_set():
                self.held += len(data)
                await self._is_open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()

    async def _down(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
