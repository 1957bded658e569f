"""The layers of channels_redis and this package's: one test runs on all.

A test that is marked by ``on_layers()`` takes a ``kind``, and with it the fixture
``site``. On the layers of channels_redis it is an expected failure with the reason
that the row of the contract names, and by that exception alone. It says so when a
release of channels_redis passes it.
"""

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import pytest
from django.utils.module_loading import import_string

from tests.beside import sides
from tests.consumer.wire import Wire

__all__ = ("CORE", "OURS", "PUBSUB", "Kind", "Site", "on_layers")


@dataclass(frozen=True)
class Kind:
    """One of the layers, with the consumers that go with it.

    Attributes:
        side: whose consumers and layer manager they are.
        path: of the layer's class.
        close: what ends the connections of a layer.
    """

    name: str
    side: sides.Side
    path: str
    close: str

    @property
    def consumers(self) -> Any:
        return self.side("generic.websocket")

    @property
    def layer(self) -> Any:
        """The layer's class."""
        if self.side is not sides.OURS:
            pytest.importorskip("channels_redis", reason="it is not installed")
        return import_string(self.path)


OURS = Kind(
    "ours", sides.OURS, "django_asgi_bridge.layers.redis.RedisChannelLayer", "close"
)
CORE = Kind(
    "core", sides.CHANNELS, "channels_redis.core.RedisChannelLayer", "close_pools"
)
PUBSUB = Kind(
    "pubsub", sides.CHANNELS, "channels_redis.pubsub.RedisPubSubChannelLayer", "flush"
)

Raises = type[BaseException] | tuple[type[BaseException], ...]


def on_layers(
    *, core: str = "", pubsub: str = "", raises: Raises = AssertionError
) -> pytest.MarkDecorator:
    """Run a test on this package's layer and on those that have a reason to fail.

    Args:
        core: what ``channels_redis.core`` does instead.
        pubsub: what ``channels_redis.pubsub`` does instead.
        raises: how the test fails there.
    """
    kinds = [pytest.param(OURS, id="ours")]
    for kind, reason in ((CORE, core), (PUBSUB, pubsub)):
        if reason:
            mark = pytest.mark.xfail(reason=reason, raises=raises, strict=True)
            kinds.append(pytest.param(kind, id=kind.name, marks=mark))
    return pytest.mark.parametrize("kind", kinds)


class Site:
    """Layers of one site, each as in a process of its own, and their sockets.

    Args:
        kind: of the layers.
        host: the server's URL.
        prefix: of all keys.
    """

    def __init__(self, kind: Kind, host: str, prefix: str) -> None:
        self.kind = kind
        self.host = host
        self.prefix = prefix
        self._layers: list[Any] = []
        self._wires: list[Wire] = []

    def layer(self, factory: Any = None, **options: Any) -> Any:
        """Return a layer.

        Args:
            factory: a subclass of the kind's class.
            options: as the class takes them.
        """
        options.setdefault("hosts", [self.host])
        layer = (factory or self.kind.layer)(prefix=self.prefix, **options)
        self._layers.append(layer)
        return layer

    def wire(self, layer: Any, consumer: Any) -> Wire:
        """Return a socket of a consumer on a layer, as a server begins it."""
        self.kind.side("layers").channel_layers.set("default", layer)
        self._wires.append(Wire(consumer.as_asgi()))
        return self._wires[-1]

    async def open(self, layer: Any, consumer: Any) -> Wire:
        """Return such a socket when its handshake is answered."""
        return await self.wire(layer, consumer).open()

    async def until(
        self, condition: Callable[[], Any], otherwise: str = "a message never came"
    ) -> None:
        """Wait until something comes true.

        Args:
            otherwise: what it means that it does not.

        Raises:
            AssertionError: it did not within the patience that the kind deserves.
        """
        try:
            async with asyncio.timeout(self.kind.side.patience):
                while not condition():  # noqa: ASYNC110 - it has no event
                    await asyncio.sleep(0.005)
        except TimeoutError:
            raise AssertionError(otherwise) from None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        self.kind.side("layers").channel_layers.backends.pop("default", None)
        tasks = [wire.task for wire in self._wires if not wire.task.done()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        for layer in self._layers:
            # A server that the test has stopped refuses it.
            with contextlib.suppress(Exception):
                await getattr(layer, self.kind.close)()
