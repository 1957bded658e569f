"""Which numbers of each sender have come, so that losses are counted exactly."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

__all__ = ("Arrivals", "Later")

_MAX_KNOWN = 10_000
"""Senders of groups that are remembered."""

_MAX_MISSING = 10_000
"""Numbers of one sender that are waited for; a wider jump is told at once."""

_LATE = 0.25
"""Seconds, twice, that a message may come later than one that was sent after it.

A process publishes over several connections, so messages that it sends at the same
time may change places. Twice, since the first wait may end with messages unread
that came while the event loop was held up.
"""


class Later(Protocol):
    """Calls a function after so many seconds, as ``loop.call_later`` does."""

    def __call__(self, delay: float, callback: Callable[..., object], /) -> object:
        """Call it then."""


class _Origin:
    """What has come of one sender to one group."""

    __slots__ = ("first", "last", "missing")

    def __init__(self, first: int) -> None:
        self.first = self.last = first
        self.missing: set[int] = set()


class Arrivals:
    """Notes the numbers that come.

    Args:
        on_lost: called with a group and how many of its messages will not come.
        later: calls a function after so many seconds.
    """

    def __init__(self, on_lost: Callable[[str, int], None], later: Later) -> None:
        self._on_lost = on_lost
        self._later = later
        self._origins: OrderedDict[tuple[str, bytes], _Origin] = OrderedDict()

    def note(self, group: str, sender: bytes, number: int) -> bool:
        """Note that a sender's message with this number has come to a group.

        Returns:
            False for one that came before, or so late that it was told as lost.
        """
        key = (group, sender)
        origin = self._origins.get(key)
        if origin is None:
            self._origins[key] = _Origin(number)
            while len(self._origins) > _MAX_KNOWN:
                self._origins.popitem(last=False)
            return True
        self._origins.move_to_end(key)
        if number < origin.first:
            # It changed places with the first one.
            return True
        if number <= origin.last:
            is_awaited = number in origin.missing
            origin.missing.discard(number)
            return is_awaited
        first, origin.last = origin.last + 1, number
        if number - first > _MAX_MISSING:
            self._on_lost(group, number - first)
        elif number > first:
            missing = set(range(first, number))
            origin.missing |= missing
            self._later(_LATE, lambda: self._wait_again(group, origin, missing))
        return True

    def forget(self, group: str) -> None:
        """Forget a group that nobody here is in any more: what it misses is no loss."""
        for key in [key for key in self._origins if key[0] == group]:
            self._origins.pop(key).missing.clear()

    def _wait_again(self, group: str, origin: _Origin, missing: set[int]) -> None:
        if missing & origin.missing:
            self._later(_LATE, lambda: self._settle(group, origin, missing))

    def _settle(self, group: str, origin: _Origin, missing: set[int]) -> None:
        lost = len(missing & origin.missing)
        origin.missing -= missing
        if lost:
            self._on_lost(group, lost)
