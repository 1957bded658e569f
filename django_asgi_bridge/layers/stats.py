"""What became of the messages that a layer was given."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ("LayerStats",)


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerStats:
    """The counters of a layer in this process, since it was made.

    They are of one moment, and ``sent == delivered + dropped + expired + waiting``
    holds exactly. A message to a group counts once for each member.

    Attributes:
        sent: messages that were given to the layer, refused ones included.
        delivered: messages that a ``receive()`` returned or a consumer took over;
            what a consumer's own bounds drop later is counted there.
        dropped: messages that a full channel or consumer refused, with
            ``ChannelFull`` where one channel was meant; those that ``flush()``
            removed; and those to a consumer that has left.
        expired: messages that nobody read within the layer's ``expiry``.
        waiting: messages that wait for a reader now.
    """

    sent: int
    delivered: int
    dropped: int
    expired: int
    waiting: int
