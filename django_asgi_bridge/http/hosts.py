"""The hosts that a site is asked for: those that passed Django's check before.

Whether a ``Host`` is allowed depends on its text and on ``ALLOWED_HOSTS`` alone.
Django's check takes a regular expression and some calls for each pattern, and its
CommonMiddleware asks at each request. Only hosts that passed are kept here; all
others are Django's to judge, each time.
"""

from collections.abc import Sequence

__all__ = ("KnownHosts",)

MAX_KNOWN = 256
"""Hosts that are remembered. A client may send as many as a ``*`` allows."""

MAX_LENGTH = 261
"""Characters of one of them: a name of 253 (RFC 1035) with a port and dots."""


class KnownHosts:
    """The hosts that passed by one value of ``ALLOWED_HOSTS``, the last one seen."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        # In one piece: threads that look at it see what belongs together.
        self._known: tuple[Sequence[str], set[str]] = ((), set())

    def has(self, host: str, allowed: Sequence[str]) -> bool:
        """Tell whether ``host`` passed before, when ``allowed`` was the same."""
        patterns, hosts = self._known
        return host in hosts and patterns == allowed

    def add(self, host: str, allowed: Sequence[str]) -> None:
        """Remember a host that passed.

        Args:
            allowed: what the check was made by, and what is not changed any more.
        """
        if len(host) > MAX_LENGTH or any(type(each) is not str for each in allowed):
            # Objects in the place of patterns may change their mind.
            return
        patterns, hosts = self._known
        if patterns != allowed or len(hosts) >= MAX_KNOWN:
            self._known = (allowed, {host})
        else:
            hosts.add(host)
