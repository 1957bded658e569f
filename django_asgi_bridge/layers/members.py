"""Who is in which group, with each question answered without a search.

Nothing here locks: the layer does.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Collection
from typing import Self

from django_asgi_bridge.types.layers import Mailbox

__all__ = ("LiveChannel", "Members")


class LiveChannel:
    """A channel that a consumer reads now.

    Attributes:
        name: the channel's name.
        mailbox: where its messages go.
        capacity: events that may wait there.
        loop: the consumer's; a closed one ends the registration.
    """

    # No tuple of names: a broadcast reads `mailbox` of each, which takes half as long.
    __slots__ = ("capacity", "loop", "mailbox", "name")

    def __init__(
        self,
        name: str,
        mailbox: Mailbox,
        capacity: int,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self.mailbox = mailbox
        self.capacity = capacity
        self.loop = loop

    @classmethod
    def here(cls, name: str, mailbox: Mailbox, capacity: int) -> Self:
        """Return the channel of a consumer of the running loop."""
        return cls(name, mailbox, capacity, asyncio.get_running_loop())

    def is_gone(self) -> bool:
        """Tell whether nobody reads it any more, since its loop is closed."""
        return self.loop.is_closed()


class Members:
    """The groups of a layer.

    Attributes:
        groups: when each channel joined, by group and channel. To be read only.
    """

    __slots__ = ("_aging", "_groups_of", "_live", "groups")

    def __init__(self) -> None:
        self.groups: dict[str, dict[str, float]] = {}
        # For each channel, the groups it is in: one alone, as most are, or several.
        self._groups_of: dict[str, str | set[str]] = {}
        # The members that a consumer reads, ready for a loop without look-ups.
        self._live: dict[str, dict[str, LiveChannel]] = {}
        # All others, the one that joined first in front.
        self._aging: OrderedDict[tuple[str, str], float] = OrderedDict()

    def add(
        self, group: str, channel: str, now: float, live: LiveChannel | None
    ) -> None:
        """Add a channel to a group, or renew its membership.

        Args:
            live: its registration, if a consumer reads it; it then stays until it
                leaves.
        """
        self.groups.setdefault(group, {})[channel] = now
        known = self._groups_of.setdefault(channel, group)
        if isinstance(known, set):
            known.add(group)
        elif known != group:
            # A set takes 216 bytes.
            self._groups_of[channel] = {known, group}
        if live is not None:
            self._live.setdefault(group, {})[channel] = live
            return
        self._aging[group, channel] = now
        self._aging.move_to_end((group, channel))

    def discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group, if it is in it."""
        groups = self._groups_of.get(channel)
        if isinstance(groups, set):
            if group not in groups:
                return
            groups.remove(group)
            if not groups:
                del self._groups_of[channel]
        elif groups == group:
            del self._groups_of[channel]
        else:
            return
        self._forget(group, channel)

    def leave(self, channel: str) -> None:
        """Take a channel out of all its groups."""
        for group in self.groups_of(channel):
            self._forget(group, channel)
        self._groups_of.pop(channel, None)

    def groups_of(self, channel: str) -> Collection[str]:
        """Return the groups that a channel is in."""
        groups = self._groups_of.get(channel, ())
        return (groups,) if isinstance(groups, str) else groups

    def _forget(self, group: str, channel: str) -> None:
        members = self.groups[group]
        del members[channel]
        if not members:
            del self.groups[group]
        self._aging.pop((group, channel), None)
        live = self._live.get(group)
        if live is not None:
            live.pop(channel, None)
            if not live:
                del self._live[group]

    def expire(self, limit: float) -> None:
        """End the memberships that are older than ``limit``, live ones excepted."""
        while self._aging:
            (group, channel), joined = next(iter(self._aging.items()))
            if joined >= limit:
                return
            self.discard(group, channel)

    def clear(self) -> None:
        """End all memberships."""
        for each in (self.groups, self._groups_of, self._live, self._aging):
            each.clear()

    def live(self, group: str) -> list[LiveChannel]:
        """Return the members that a consumer reads."""
        return list(self._live.get(group, {}).values())

    def others(self, group: str) -> list[str]:
        """Return the names of the members that no consumer reads."""
        members = self.groups.get(group, {})
        live = self._live.get(group, {})
        if len(members) == len(live):
            return []
        return [channel for channel in members if channel not in live]
