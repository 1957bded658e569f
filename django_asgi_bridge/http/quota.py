"""Counting what may be under way at once."""

import threading

__all__ = ("Quota",)


class Quota:
    """A number of places that may be taken at once, from any thread."""

    def __init__(self, places: int) -> None:
        self._places = places
        self._lock = threading.Lock()

    def take(self) -> bool:
        """Take a place if there is one."""
        with self._lock:
            if self._places <= 0:
                return False
            self._places -= 1
            return True

    def give_back(self) -> None:
        """Leave a place that was taken."""
        with self._lock:
            self._places += 1
