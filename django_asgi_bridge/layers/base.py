"""What every channel layer has: capacities, and the rules for names.

Specification: ASGI channel layer specification. Names, texts and results are those
of the Channels project, for layers and tests that were written for it.
"""

from __future__ import annotations

import fnmatch
import re
import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

from django_asgi_bridge.exceptions import BadMessage, ChannelFull, MessageTooLarge
from django_asgi_bridge.protocol import names

__all__ = ("DEFAULT_CHANNEL_LAYER", "BaseChannelLayer", "Capacities", "require_message")

DEFAULT_CHANNEL_LAYER = "default"
"""The alias that is used where none is given."""

Capacities = list[tuple[re.Pattern[str], int]]
"""Capacities by the pattern of a channel's name."""

_RESERVED_KEY = "__asgi_channel__"
"""What layers write the full channel name under, so a message may not have it."""


class BaseChannelLayer:
    """The common part of channel layers; authors of layers inherit from it.

    Args:
        expiry: seconds after which a message that nobody read is dropped.
        capacity: messages that may wait in one channel.
        channel_capacity: capacities of channels whose name matches: globs, or
            compiled regular expressions, which match from the name's start. The
            first match counts.

    Attributes:
        ChannelFull: what ``send`` raises when a channel is full.
        MessageTooLarge: what it raises for a message that the layer cannot carry.
    """

    # Where the specification of channel layers lets senders find them.
    ChannelFull: ClassVar[type[Exception]] = ChannelFull
    MessageTooLarge: ClassVar[type[Exception]] = MessageTooLarge

    MAX_NAME_LENGTH = names.MAX_NAME_LENGTH
    channel_name_regex: ClassVar[re.Pattern[str]] = names.CHANNEL_NAME
    group_name_regex: ClassVar[re.Pattern[str]] = names.GROUP_NAME
    invalid_name_error: ClassVar[str] = (
        f"{{}} name must be a valid unicode string with length < {MAX_NAME_LENGTH} "
        "containing only ASCII alphanumerics, hyphens, underscores, or periods."
    )

    def __init__(
        self,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
    ) -> None:
        self.expiry = expiry
        self.capacity = capacity
        self.channel_capacity = self.compile_capacities(channel_capacity or {})

    # Capacities.

    def compile_capacities(
        self, channel_capacity: Mapping[str | re.Pattern[str], int] | Capacities
    ) -> Capacities:
        """Return the pairs that ``get_capacity`` goes through, in their order.

        ``__init__`` does it already; a layer that does it again changes nothing.
        """
        if isinstance(channel_capacity, list):
            return channel_capacity
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
        """Return how many messages may wait in the channel."""
        for pattern, capacity in self.channel_capacity:
            if pattern.match(channel):
                return capacity
        return self.capacity

    # Names.

    def match_type_and_length(self, name: object) -> bool:
        """Tell whether a name is a string of less than 100 characters."""
        return isinstance(name, str) and len(name) < self.MAX_NAME_LENGTH

    def require_valid_channel_name(self, name: str, receive: bool = False) -> bool:
        """Refuse what is no channel name.

        Args:
            receive: the name is one to receive on, which may not go beyond a ``!``.

        Returns:
            True.

        Raises:
            TypeError: the name is none; a note on the error says what is wrong.
        """
        if not (
            self.match_type_and_length(name) and self.channel_name_regex.match(name)
        ):
            raise self._name_error("Channel", name, allows_mark=True)
        if receive and names.LOCAL_MARK in name and not name.endswith(names.LOCAL_MARK):
            raise TypeError("Specific channel names in receive() must end at the !")
        return True

    def require_valid_group_name(self, name: str) -> bool:
        """Refuse what is no group name.

        Returns:
            True.

        Raises:
            TypeError: the name is none; a note on the error says what is wrong.
                If you see this: ``layers.group_name()`` makes a name of any text.
        """
        if not (self.match_type_and_length(name) and self.group_name_regex.match(name)):
            raise self._name_error("Group", name, allows_mark=False)
        return True

    def valid_channel_names(self, names: object, receive: bool = False) -> bool:
        """Refuse a list with a name in it that is no channel name.

        Raises:
            TypeError: one of the names is none.
            ValueError: it is no list, or an empty one.
        """
        if not isinstance(names, list) or not names:
            raise _NamesError("names must be a non-empty list")
        for name in names:
            self.require_valid_channel_name(name, receive=receive)
        return True

    def non_local_name(self, name: str) -> str:
        """Return a channel name up to and with its ``!``, or all of it without one."""
        return names.non_local_name(name)

    def valid_channel_name(self, channel_name: str, receive: bool = False) -> bool:
        """Call ``require_valid_channel_name`` instead: this name is deprecated.

        Args:
            receive: has never had an effect here.
        """
        warnings.warn(
            "valid_channel_name is deprecated, use require_valid_channel_name instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.require_valid_channel_name(channel_name)

    def valid_group_name(self, group_name: str) -> bool:
        """Call ``require_valid_group_name`` instead: this name is deprecated."""
        warnings.warn(
            "valid_group_name is deprecated, use require_valid_group_name instead.",
            DeprecationWarning,
            stacklevel=2,
        )
        return self.require_valid_group_name(group_name)

    def _name_error(self, kind: str, name: object, *, allows_mark: bool) -> TypeError:
        """Make the error: its text is the one that others compare with."""
        error = TypeError(self.invalid_name_error.format(kind))
        error.add_note(names.first_fault(name, allows_mark=allows_mark))
        return error

    # What a layer is; each is replaced by the layer.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel."""
        raise NotImplementedError("send() should be implemented in a channel layer")

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel."""
        raise NotImplementedError("receive() should be implemented in a channel layer")

    async def new_channel(self) -> str:
        """Return a channel name that nobody else has."""
        raise NotImplementedError(
            "new_channel() should be implemented in a channel layer"
        )

    async def flush(self) -> None:
        """Drop all messages and memberships."""
        raise NotImplementedError("flush() not implemented (flush extension)")

    async def group_add(self, group: str, channel: str) -> None:
        """Add a channel to a group."""
        raise NotImplementedError("group_add() not implemented (groups extension)")

    async def group_discard(self, group: str, channel: str) -> None:
        """Take a channel out of a group; one that is not in it is no error."""
        raise NotImplementedError("group_discard() not implemented (groups extension)")

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to each channel of a group."""
        raise NotImplementedError("group_send() not implemented (groups extension)")


# Channels asserts both of these, and its users' tests expect that.


class _NamesError(ValueError, AssertionError):
    """What was given is no list of names."""


class _MessageError(BadMessage, AssertionError):
    """What was given is no message."""


def require_message(message: object, noun: str = "message") -> None:
    """Refuse what is no dict, and a message that has the layers' own key.

    Args:
        noun: the first word of the error.

    Raises:
        BadMessage: it is an ``AssertionError`` too, as Channels raises here.
    """
    if not isinstance(message, dict):
        raise _MessageError(f"{noun} is not a dict: {message!r}")
    if _RESERVED_KEY in message:
        raise _MessageError(
            f"{noun} has the key {_RESERVED_KEY!r}, which belongs to channel layers;"
            f" use another key."
        )
