"""What the loop asks of a consumer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Any, ClassVar, Protocol

from django_asgi_bridge.sockets import Bounds
from django_asgi_bridge.types import Message

__all__ = ("Consumer",)


class Consumer(Protocol):
    """A consumer, as the loop sees it; ``AsyncConsumer`` tells what each name means."""

    _sync: ClassVar[bool]
    bounds: Bounds
    concurrency: int
    on_disconnect: Any
    disconnect_grace: float
    strict_events: bool | None
    channel_layer_alias: str
    channel_layer: Any
    channel_name: str
    base_send: Any
    scope: Any
    connection: Any

    def dispatch(self, message: Message) -> Awaitable[None]:
        """Call the handler of a message."""

    def sync_dispatch(self) -> Callable[[Message], None] | None:
        """Return the dispatch that runs on a worker, if that is all there is to it."""

    def _leave_groups(self) -> Awaitable[None]:
        """Leave the groups that the consumer joined for its user, if any are left."""

    def overflow_key(self, message: Message) -> Hashable:
        """Return what ``"latest_by_key"`` goes by."""

    def concurrency_key(self, message: Message) -> Hashable:
        """Return what handlers of one message wait for each other by."""
