"""Time that passes when a test says so."""

__all__ = ("Clock",)


class Clock:
    """A clock for layers: call it for the time, ``pass_`` to move it."""

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def pass_(self, seconds: float) -> None:
        self.now += seconds
