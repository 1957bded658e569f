"""The groups that a consumer's class names: joined, and left once."""

from __future__ import annotations

from typing import Any

from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.generic.rules import NO_GROUPS

__all__ = ("join_groups", "leave_groups")


async def join_groups(consumer: Any) -> None:
    """Join the consumer's groups.

    Raises:
        InvalidChannelLayerError: the consumer has groups and the layer has none.
    """
    if consumer._has_left:
        # The instance serves another connection.
        consumer._has_left = False
    await _change(consumer, "group_add")


async def leave_groups(consumer: Any) -> None:
    """Leave the consumer's groups, unless that was done; raises what joining does."""
    if not consumer._has_left:
        await _change(consumer, "group_discard")
        consumer._has_left = True


async def _change(consumer: Any, method: str) -> None:
    if not consumer.groups:
        return
    change = getattr(consumer.channel_layer, method, None)
    if change is None:
        raise InvalidChannelLayerError(NO_GROUPS)
    for group in consumer.groups:
        await change(group, consumer.channel_name)
