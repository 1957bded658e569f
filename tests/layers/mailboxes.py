"""Mailboxes that keep what a layer puts into them."""

__all__ = ("Box",)


class Box:
    """A ``types.Mailbox`` for tests.

    Args:
        room: how many events, and how many frames, it takes.
    """

    def __init__(self, room: int | None = None) -> None:
        self.room = room
        self.events: list[dict[str, object]] = []
        self.frames: list[object] = []
        self.keys: list[str] = []
        self.capacities: set[int] = set()
        self.gaps: list[object] = []

    def put_event(self, message: dict[str, object], capacity: int) -> bool:
        self.capacities.add(capacity)
        if len(self.events) >= (capacity if self.room is None else self.room):
            return False
        self.events.append(message)
        return True

    def put_frame(self, frame: object, key: str) -> bool:
        if self.room is not None and len(self.frames) >= self.room:
            return False
        self.frames.append(frame)
        self.keys.append(key)
        return True

    def note_gap(self, groups: object) -> None:
        self.gaps.append(groups)
