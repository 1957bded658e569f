"""What the tests of a channel layer share: a layer for each, and its time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import pytest

from django_asgi_bridge.exceptions import ChannelFull

__all__ = ("LayerCase",)


class LayerCase:
    """The base of the conformance tests; authors replace what differs.

    Attributes:
        patience: seconds after which a message that does not come fails the test.
    """

    pytestmark = pytest.mark.asyncio
    patience: ClassVar[float] = 10.0

    @property
    def channel_full(self) -> type[Exception]:
        """What the layer raises for a full channel."""
        return ChannelFull

    def make_layer(self, **config: Any) -> Any:
        """Return a new layer that shares nothing with those of other tests.

        Args:
            config: ``capacity``, ``channel_capacity``, ``expiry`` or
                ``group_expiry``, as the test needs them.
        """
        raise NotImplementedError(
            f"{type(self).__name__} has no make_layer(); return a new layer there."
        )

    async def close_layer(self, layer: Any) -> None:
        """Empty and close a layer at its test's end."""
        if "flush" in layer.extensions:
            await layer.flush()
        if hasattr(layer, "close"):
            await layer.close()

    async def pass_time(self, layer: Any, seconds: float) -> None:
        """Let time pass for the layer; one with a clock of its own need not wait."""
        await asyncio.sleep(seconds)

    async def settle(self, layer: Any) -> None:
        """Give a ``receive()`` the time to wait; nothing is asserted about it."""
        await asyncio.sleep(0.02)

    @asynccontextmanager
    async def opened(self, extension: str = "", **config: Any) -> AsyncIterator[Any]:
        """Give a layer for the time of a block.

        Args:
            extension: what the layer must have, else the test is skipped.
        """
        layer = self.make_layer(**config)
        try:
            if extension and extension not in layer.extensions:
                pytest.skip(f"the layer has no extension {extension!r}")
            yield layer
        finally:
            await self.close_layer(layer)

    async def next_of(self, layer: Any, channel: str) -> dict[str, Any]:
        """Receive a message, and fail when none comes."""
        try:
            async with asyncio.timeout(self.patience):
                message: dict[str, Any] = await layer.receive(channel)
        except TimeoutError:
            pytest.fail(f"no message came on {channel!r} within {self.patience} s")
        return message

    async def expect(self, layer: Any, channel: str, *kinds: str) -> None:
        """Receive messages, and fail unless their types are these, in this order."""
        got = [(await self.next_of(layer, channel))["type"] for _ in kinds]
        self.equal(got, list(kinds))

    async def expect_only(self, layer: Any, channel: str, *kinds: str) -> None:
        """As ``expect``, and fail if more messages wait."""
        await layer.send(channel, {"type": "test.marker"})
        await self.expect(layer, channel, *kinds, "test.marker")

    @staticmethod
    def equal(got: object, expected: object) -> None:
        """Fail unless two values are equal."""
        if got != expected:
            pytest.fail(f"got {got!r}, expected {expected!r}")
