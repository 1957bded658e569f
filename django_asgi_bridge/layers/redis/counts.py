"""What a layer counts in this process."""

from __future__ import annotations

__all__ = ("Counts",)


class Counts:
    """The counters of one layer, of all its loops."""

    __slots__ = ("delivered", "dropped", "expired", "poisoned", "sent")

    def __init__(self) -> None:
        self.sent = self.delivered = self.dropped = self.expired = self.poisoned = 0
