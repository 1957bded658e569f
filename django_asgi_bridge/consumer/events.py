"""Which events of a channel layer may reach a consumer's handlers."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from typing import Any

from django_asgi_bridge.consumer.contract import Consumer
from django_asgi_bridge.consumer.names import get_handler_name, is_reserved
from django_asgi_bridge.types import Message

__all__ = ("EventFilter", "broadcast_frame")

logger = logging.getLogger("django_asgi_bridge.consumer")


class EventFilter:
    """Tells whether an event from the layer is refused.

    Types that begin with ``bridge.`` are this package's own and always refused.

    Args:
        consumer: whose handlers the events are for.
        is_strict: refuse the types of the ASGI protocol, those without a handler,
            and those whose handler is one of this package's own methods, too.

    Attributes:
        refused: how many events were refused.
    """

    __slots__ = ("_consumer", "_is_strict", "refused")

    def __init__(self, consumer: Consumer, *, is_strict: bool) -> None:
        self._consumer = consumer
        self._is_strict = is_strict
        self.refused = 0

    def __call__(self, event: Message) -> bool:
        kind = event.get("type")
        if not self._is_strict:
            if not isinstance(kind, str) or not kind.startswith("bridge."):
                return False
            reason = "the type belongs to this package"
        else:
            reason = self._reason(event, kind)
            if not reason:
                return False
        self.refused += 1
        logger.warning(
            "an event of type %r for %s is left out: %s",
            kind,
            type(self._consumer).__qualname__,
            reason,
        )
        return True

    def _reason(self, event: Message, kind: object) -> str:
        if not isinstance(kind, str):
            return "it has no type"
        if is_reserved(kind):
            return "only the server may send this type"
        try:
            name = get_handler_name(event)
        except ValueError as error:
            return str(error)
        handler = inspect.getattr_static(type(self._consumer), name, None)
        if handler is None:
            return f"the class has no method {name}()"
        if not callable(getattr(type(self._consumer), name)):
            return f"{name} is no method"
        if _is_ours(type(self._consumer), name):
            return f"{name}() is no handler for events"
        return ""


def _is_ours(consumer: type, name: str) -> bool:
    """Tell whether a method comes first, or also, from this package's classes."""
    package = __name__.partition(".")[0]
    return any(
        name in vars(each) and each.__module__.partition(".")[0] == package
        for each in consumer.__mro__
    )


def broadcast_frame(event: Mapping[str, Any]) -> Message:
    """Return the frame that a ``bridge.broadcast`` event carries."""
    kind = "text" if event.get("text") is not None else "bytes"
    return {"type": "websocket.send", kind: event[kind]}
