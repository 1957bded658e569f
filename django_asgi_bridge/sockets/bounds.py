"""How much may wait for one connection, and what happens to more."""

from __future__ import annotations

from dataclasses import dataclass

from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.protocol.overflow import Overflow

__all__ = ("Bounds", "Dropped")


@dataclass(frozen=True, kw_only=True, slots=True)
class Bounds:
    """The queues of one connection; a consumer's ``bounds`` attribute.

    A policy is one of ``"block"``, ``"close"``, ``"drop_oldest"``,
    ``"drop_newest"`` and ``"latest_by_key"``. Whatever is dropped is counted and
    told to the consumer's ``on_overflow()``.

    Args:
        client_frames: messages from the client that may wait for a handler. 32, as
            uvicorn's own queue.
        client_overflow: ``"block"`` reads no further until there is room, which
            slows the client down.
        layer_events: events from the channel layer that may wait for a handler;
            None takes the layer's capacity, which is 100 unless set.
        layer_overflow: ``"drop_newest"``, as Channels' layers do.
        outgoing: broadcast frames that may wait for the client.
        outgoing_bytes: bytes of these.
        outgoing_overflow: ``"close"`` closes with 1013 (try again later): a client
            that missed frames without knowing shows old data as if it were new.
        send_timeout: seconds that one frame may wait for a client that does not
            read, while others wait behind it; then the connection is given up.

    Raises:
        ImproperlyConfigured: a policy is unknown, ``"block"`` stands where waiting
            would hold up others, or a number is out of its range.
    """

    client_frames: int = 32
    client_overflow: str = "block"
    layer_events: int | None = None
    layer_overflow: str = "drop_newest"
    outgoing: int = 64
    outgoing_bytes: int = 1024 * 1024
    outgoing_overflow: str = "close"
    send_timeout: float = 20.0

    def __post_init__(self) -> None:
        for name in ("client_overflow", "layer_overflow", "outgoing_overflow"):
            value = getattr(self, name)
            try:
                policy = Overflow(value)
            except ValueError:
                raise ImproperlyConfigured(
                    f"Bounds({name}={value!r}): expected one of "
                    f"{', '.join(repr(each.value) for each in Overflow)}."
                ) from None
            if policy is Overflow.BLOCK and name != "client_overflow":
                raise ImproperlyConfigured(
                    f"Bounds({name}='block'): whoever sends to a group cannot wait "
                    "for its slowest member; choose 'close', 'drop_oldest', "
                    "'drop_newest' or 'latest_by_key'."
                )
        for name in ("client_frames", "layer_events", "outgoing", "outgoing_bytes"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ImproperlyConfigured(
                    f"Bounds({name}={value!r}): expected at least 1."
                )
        if self.send_timeout <= 0:
            raise ImproperlyConfigured(
                f"Bounds(send_timeout={self.send_timeout!r}): expected seconds above 0."
            )


@dataclass(frozen=True, slots=True)
class Dropped:
    """How many messages of one connection were lost to full queues.

    Attributes:
        client_frames: messages from the client.
        layer_events: events from the channel layer.
        outgoing: broadcast frames.
    """

    client_frames: int = 0
    layer_events: int = 0
    outgoing: int = 0

    def __sub__(self, earlier: Dropped) -> Dropped:
        return Dropped(
            self.client_frames - earlier.client_frames,
            self.layer_events - earlier.layer_events,
            self.outgoing - earlier.outgoing,
        )
