"""What the channel layers share: names, capacities, and what is not implemented."""

import fnmatch
import re
import warnings
from collections.abc import Mapping
from typing import Any

from django_asgi_bridge.protocol import names

__all__ = ("BaseChannelLayer", "Capacities")

Capacities = Mapping[str | re.Pattern[str], int]


class BaseChannelLayer:
    """The base of channel layers; the interface is that of Channels.

    Args:
        expiry: seconds after which a message that nobody received is dropped.
        capacity: messages that may wait in one channel.
        channel_capacity: capacities by channel name: globs, or compiled regular
            expressions. The first that matches counts.
    """

    MAX_NAME_LENGTH = names.MAX_NAME_LENGTH
    channel_name_regex = names.CHANNEL_NAME
    group_name_regex = names.GROUP_NAME
    invalid_name_error = names.INVALID_NAME

    def __init__(
        self,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: Capacities | None = None,
    ) -> None:
        self.expiry = expiry
        self.capacity = capacity
        self.channel_capacity: Any = self.compile_capacities(channel_capacity or {})

    def compile_capacities(
        self, channel_capacity: Capacities
    ) -> list[tuple[re.Pattern[str], int]]:
        """Return the capacities with their patterns compiled."""
        return [
            (
                re.compile(fnmatch.translate(pattern))
                if isinstance(pattern, str)
                else pattern,
                capacity,
            )
            for pattern, capacity in channel_capacity.items()
        ]

    def get_capacity(self, channel: str) -> int:
        """Return how many messages may wait in a channel."""
        for pattern, capacity in self.channel_capacity:
            if pattern.match(channel):
                return int(capacity)
        return self.capacity

    # Names.

    def match_type_and_length(self, name: object) -> bool:
        """Tell whether a name is a string that is short enough."""
        return isinstance(name, str) and len(name) < self.MAX_NAME_LENGTH

    def require_valid_channel_name(self, name: Any, receive: bool = False) -> bool:
        """Return True for a valid channel name.

        Args:
            receive: it is one that somebody receives from.

        Raises:
            TypeError: it is not valid.
        """
        if not self.match_type_and_length(name):
            raise TypeError(self.invalid_name_error.format("Channel"))
        if not self.channel_name_regex.match(name):
            raise TypeError(self.invalid_name_error.format("Channel"))
        if receive and "!" in name and not name.endswith("!"):
            raise TypeError("Specific channel names in receive() must end at the !")
        return True

    def require_valid_group_name(self, name: Any) -> bool:
        """Return True for a valid group name.

        Raises:
            TypeError: it is not valid; ``layers.group_name()`` makes valid ones.
        """
        if not self.match_type_and_length(name) or not self.group_name_regex.match(
            name
        ):
            raise TypeError(self.invalid_name_error.format("Group"))
        return True

    def valid_channel_names(self, names: Any, receive: bool = False) -> bool:
        """Return True for a list of valid channel names.

        Raises:
            AssertionError: it is no list, or an empty one.
            TypeError: a name is not valid.
        """
        if not names or not isinstance(names, list):
            raise AssertionError("names must be a non-empty list")
        for name in names:
            self.require_valid_channel_name(name, receive=receive)
        return True

    def non_local_name(self, name: str) -> str:
        """Return a channel's name up to and including the ``!``."""
        return names.non_local_name(name)

    def valid_channel_name(self, channel_name: Any, receive: bool = False) -> bool:
        """Deprecated: use ``require_valid_channel_name()``."""
        _warn("valid_channel_name", "require_valid_channel_name")
        return self.require_valid_channel_name(channel_name, receive)

    def valid_group_name(self, group_name: Any) -> bool:
        """Deprecated: use ``require_valid_group_name()``."""
        _warn("valid_group_name", "require_valid_group_name")
        return self.require_valid_group_name(group_name)

    # What a layer implements.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel."""
        raise NotImplementedError("send() should be implemented in a channel layer")

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel."""
        raise NotImplementedError("receive() should be implemented in a channel layer")

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a channel name that nobody else has."""
        raise NotImplementedError(
            "new_channel() should be implemented in a channel layer"
        )

    async def flush(self) -> None:
        """Forget all messages and groups."""
        raise NotImplementedError("flush() not implemented (flush extension)")

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel receive what is sent to a group."""
        raise NotImplementedError("group_add() not implemented (groups extension)")

    async def group_discard(self, group: str, channel: str) -> None:
        """Let a channel no longer receive what is sent to a group."""
        raise NotImplementedError("group_discard() not implemented (groups extension)")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all channels of a group."""
        raise NotImplementedError("group_send() not implemented (groups extension)")


def _warn(old: str, new: str) -> None:
    warnings.warn(
        f"{old} is deprecated, use {new} instead.", DeprecationWarning, stacklevel=3
    )
