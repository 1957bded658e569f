"""Frames for all sockets of a group, past their consumers' handlers."""

import json as json_module
from typing import Any, Final

from django_asgi_bridge.exceptions import InvalidChannelLayerError
from django_asgi_bridge.layers.manager import DEFAULT_CHANNEL_LAYER, get_channel_layer

__all__ = ("BROADCAST", "group_broadcast", "make_frame")

BROADCAST: Final = "bridge.broadcast"
"""Type of the event that carries a frame over a layer of somebody else's."""

_MISSING: Final[Any] = object()


def make_frame(
    text_data: str | None, bytes_data: bytes | None, json: Any = _MISSING
) -> dict[str, Any]:
    """Return the ``websocket.send`` event for exactly one of the three.

    Raises:
        ValueError: none or several are given, or ``json`` is no JSON.
    """
    has_json = json is not _MISSING
    if (text_data is not None) + (bytes_data is not None) + has_json != 1:
        raise ValueError(
            "group_broadcast() takes exactly one of text_data, bytes_data and json."
        )
    if has_json:
        text_data = json_module.dumps(json, allow_nan=False)
    if text_data is not None:
        return {"type": "websocket.send", "text": text_data}
    return {"type": "websocket.send", "bytes": bytes_data}


async def group_broadcast(
    group: str,
    *,
    text_data: str | None = None,
    bytes_data: bytes | None = None,
    json: Any = _MISSING,
    alias: str = DEFAULT_CHANNEL_LAYER,
) -> None:
    """Send one frame to the sockets of all consumers in a group.

    No handler runs: the frame is encoded once and goes to each socket through its
    bounded outbox, whose policy decides about clients that read too slowly. Frames
    keep their order; there is none between them and ``group_send()`` events.

    Args:
        group: its name.
        text_data: text of the frame.
        bytes_data: or its bytes.
        json: or a value that becomes its text.
        alias: which of ``CHANNEL_LAYERS``.

    Raises:
        ValueError: none or several of the three are given, or ``json`` is no JSON.
        InvalidChannelLayerError: ``CHANNEL_LAYERS`` names no such layer.
    """
    layer = get_channel_layer(alias)
    if layer is None:
        raise InvalidChannelLayerError(
            f"CHANNEL_LAYERS has no {alias!r}: group_broadcast() needs a layer."
        )
    frame = make_frame(text_data, bytes_data, json)
    if hasattr(layer, "group_broadcast_frame"):
        await layer.group_broadcast_frame(group, frame)
        return
    content = {key: value for key, value in frame.items() if key != "type"}
    await layer.group_send(group, {"type": BROADCAST, "group": group, **content})
