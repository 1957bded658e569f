"""What a layer counts."""

from dataclasses import dataclass

__all__ = ("LayerStats",)


@dataclass(slots=True)
class LayerStats:
    """What became of the messages of one layer, in this process.

    A message to a group counts once for each member. ``sent == delivered + dropped
    + expired`` and what still waits.

    Attributes:
        sent: messages that somebody sent.
        delivered: received, or put into a live consumer's inbox.
        dropped: left out because a queue was full or the receiver gone.
        expired: left out because nobody received them in time.
    """

    sent: int = 0
    delivered: int = 0
    dropped: int = 0
    expired: int = 0
