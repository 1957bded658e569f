"""Frames for the clients of a group, past all handlers, on any layer."""

from __future__ import annotations

import enum
from json import dumps
from typing import Any, Final

from django_asgi_bridge.exceptions import BadMessage, InvalidChannelLayerError
from django_asgi_bridge.layers.base import DEFAULT_CHANNEL_LAYER
from django_asgi_bridge.layers.manager import get_channel_layer
from django_asgi_bridge.protocol.messages import check_message

__all__ = (
    "BROADCAST_TYPE",
    "MISSING",
    "Missing",
    "broadcast_event",
    "broadcast_frame",
    "broadcast_payload",
    "group_broadcast",
)

BROADCAST_TYPE: Final = "bridge.broadcast"
"""The event that carries a frame over a layer that knows no broadcasts."""


class Missing(enum.Enum):
    """The type of ``MISSING``."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""No argument was given; ``None`` is a JSON value like any other."""


async def group_broadcast(
    group: str,
    *,
    text_data: str | None = None,
    bytes_data: bytes | None = None,
    json: object = MISSING,
    alias: str = DEFAULT_CHANNEL_LAYER,
) -> None:
    """Send one frame to the client of each consumer in a group.

    No handler runs. The frame is encoded once and goes through each consumer's own
    bound for outgoing frames, so a slow reader delays nobody. From sync code, call
    ``async_to_sync(group_broadcast)(...)``.

    Args:
        group: the group's name.
        text_data: a text frame.
        bytes_data: a binary frame.
        json: a value that is sent as JSON in a text frame.
        alias: the layer, a key of ``CHANNEL_LAYERS``.

    Raises:
        ValueError: not exactly one of the three contents is given.
        BadMessage: the content is of the wrong type, or no JSON.
        InvalidChannelLayerError: there is no such layer, or it has no groups.
    """
    layer = get_channel_layer(alias)
    if layer is None or "groups" not in getattr(layer, "extensions", ()):
        raise InvalidChannelLayerError(
            f"the channel layer {alias!r} is unconfigured or doesn't support groups;"
            f" name one that does in CHANNEL_LAYERS."
        )
    own = getattr(layer, "group_broadcast", None)
    if own is not None:
        await own(group, text_data=text_data, bytes_data=bytes_data, json=json)
        return
    payload = broadcast_payload(text_data, bytes_data, json)
    await layer.group_send(group, broadcast_event(group, payload))


def broadcast_payload(
    text_data: str | None, bytes_data: bytes | None, json: object
) -> dict[str, str | bytes]:
    """Return the content of a frame, ``{"text": …}`` or ``{"bytes": …}``.

    Raises:
        ValueError: not exactly one of the three is given.
        BadMessage: the content is of the wrong type, or no JSON.
    """
    given = [
        name
        for name, is_given in (
            ("text_data", text_data is not None),
            ("bytes_data", bytes_data is not None),
            ("json", json is not MISSING),
        )
        if is_given
    ]
    if len(given) != 1:
        raise ValueError(
            f"group_broadcast() got {' and '.join(given) or 'no content'};"
            f" give exactly one of text_data, bytes_data and json."
        )
    if json is not MISSING:
        return {"text": _encoded(json)}
    if bytes_data is not None:
        if not isinstance(bytes_data, bytes):
            raise BadMessage(f"bytes_data is {bytes_data!r}; it must be bytes.")
        return {"bytes": bytes_data}
    if not isinstance(text_data, str):
        raise BadMessage(f"text_data is {text_data!r}; it must be a str.")
    payload: dict[str, str | bytes] = {"text": text_data}
    # Half of a surrogate pair would fail at each socket of the group.
    check_message(payload, noun="broadcast")
    return payload


def broadcast_frame(payload: dict[str, str | bytes]) -> dict[str, Any]:
    """Return the frame that all sockets of a process share: nobody changes it."""
    return {"type": "websocket.send", **payload}


def broadcast_event(group: str, payload: dict[str, str | bytes]) -> dict[str, Any]:
    """Return the event that consumers turn into a frame before they dispatch it."""
    return {"type": BROADCAST_TYPE, "group": group, **payload}


def _encoded(content: object) -> str:
    try:
        # NaN and Infinity are no JSON: a browser would throw the frame away.
        return dumps(content, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        # For its path.
        check_message({"json": content}, noun="broadcast", allows_bytes=False)
        raise BadMessage(f"broadcast['json'] is no JSON: {error}") from error
