"""From messages to bytes and back; never by pickle, which runs code it reads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NamedTuple

import msgpack
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.protocol.messages import check_message

__all__ = ("Serializer", "registry")

_MAX_ITEMS = 1_000_000


class Serializer(NamedTuple):
    """How messages of one format are written and read.

    Attributes:
        as_bytes: writes a message.
        from_bytes: reads one; raises ValueError for what is none.
    """

    as_bytes: Callable[[Any], bytes]
    from_bytes: Callable[[bytes], Any]


class _Registry(dict[str, Serializer]):
    """Formats by name; add your own with ``register_serializer()``."""

    def register_serializer(self, name: str, serializer: Serializer) -> None:
        """Let layers be configured with ``serializer_format=name``.

        Raises:
            ValueError: the name is taken.
        """
        if name in self:
            raise ValueError(f"a serializer {name!r} is registered already")
        self[name] = serializer

    def find(self, name: str) -> Serializer:
        """Return the serializer of a format.

        Raises:
            ImproperlyConfigured: there is none.
        """
        if name not in self:
            raise ImproperlyConfigured(
                f"serializer_format is {name!r}; expected one of "
                f"{', '.join(map(repr, self))}, or one that was registered."
            )
        return self[name]


def _pack(message: Any) -> bytes:
    packed: bytes = msgpack.packb(message, use_bin_type=True)
    return packed


def _unpack(data: bytes) -> Any:
    limits = {
        "max_array_len": _MAX_ITEMS,
        "max_map_len": _MAX_ITEMS,
        # No type of msgpack's own extensions is ever sent.
        "max_ext_len": 0,
    }
    try:
        return msgpack.unpackb(data, raw=False, strict_map_key=True, **limits)
    except (ValueError, msgpack.exceptions.UnpackException) as error:
        raise ValueError(f"no message: {error}") from error


def _dump(message: Any) -> bytes:
    try:
        return json.dumps(message, allow_nan=False).encode()
    except TypeError:
        # Layers send what ASGI allows; of that, JSON has no bytes.
        check_message(message, allows_bytes=False)
        raise


registry = _Registry(
    msgpack=Serializer(_pack, _unpack), json=Serializer(_dump, json.loads)
)
