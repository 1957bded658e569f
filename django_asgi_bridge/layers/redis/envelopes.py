"""What travels through Redis: a message, whom it is for, and who sent it."""

from __future__ import annotations

import base64
import enum
import hashlib
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import BadMessage, MessageTooLarge
from django_asgi_bridge.layers.redis.serializers import Serializer

__all__ = ("Envelope", "Envelopes", "Kind")

_HEAD = struct.Struct(">B8sQH")


class Kind(enum.IntEnum):
    """What to do with the message of an envelope."""

    EVENT = 0
    """A handler's."""
    FRAME = 1
    """For the client as it is, past all handlers."""
    JOIN = 2
    """The channel joins the group that the message names."""
    LEAVE = 3
    """It leaves that group."""


class Envelope(NamedTuple):
    """One message on its way.

    Attributes:
        kind: what to do with it.
        sender: eight bytes that tell the sender from others.
        number: of this message among those of the sender to this name.
        name: the channel or group.
        message: the content; its bytes where the envelope is yet to be sealed.
    """

    kind: Kind
    sender: bytes
    number: int
    name: str
    message: Any


class Envelopes:
    """Writes and reads envelopes, encrypted if there are keys.

    Args:
        serializer: for the messages.
        keys: secrets; the first encrypts, all decrypt.
        max_size: bytes of a message.
        ttl: seconds after which an encrypted one is read no more.
    """

    def __init__(
        self,
        serializer: Serializer,
        keys: Sequence[str | bytes],
        *,
        max_size: int,
        ttl: float,
    ) -> None:
        self._serializer = serializer
        self._max_size = max_size
        self._ttl = int(ttl)
        self._fernet = _make_fernet(keys)

    def body(self, name: str, message: Any) -> bytes:
        """Return the bytes of a message to a channel or group.

        Raises:
            BadMessage: the serializer cannot write it.
            MessageTooLarge: it is larger than the layer carries.
        """
        try:
            body = self._serializer.as_bytes(message)
        except (TypeError, ValueError) as error:
            raise BadMessage(
                f"a message for {name!r} cannot be written in the layer's "
                f"serializer_format: {error}"
            ) from error
        if len(body) > self._max_size:
            raise MessageTooLarge(
                f"a message for {name!r} has {len(body)} bytes; "
                f"max_message_size is {self._max_size}."
            )
        return body

    def seal(self, envelope: Envelope) -> bytes:
        """Return the bytes of an envelope, whose message is what ``body()`` gave."""
        name = envelope.name.encode()
        head = _HEAD.pack(envelope.kind, envelope.sender, envelope.number, len(name))
        data: bytes = head + name + envelope.message
        # The name is inside: what was meant for one group cannot be sent to another.
        return data if self._fernet is None else self._fernet.encrypt(data)

    def open(self, data: bytes, name: str | None = None) -> Envelope:
        """Return what the bytes of an envelope say.

        Args:
            name: whom it came to; another one in the envelope is refused.

        Raises:
            ValueError: they are no envelope, or not meant for ``name``, or were
                encrypted with another key or too long ago.
        """
        if self._fernet is not None:
            data = self._decrypted(data)
        if len(data) > self._max_size + 65536:
            raise ValueError(f"{len(data)} bytes are more than a message may have")
        try:
            code, sender, number, length = _HEAD.unpack_from(data)
            kind = Kind(code)
            found = data[_HEAD.size : _HEAD.size + length].decode()
        except (struct.error, ValueError) as error:
            raise ValueError(f"no envelope: {error}") from error
        if name is not None and found != name:
            raise ValueError(f"the envelope is for {found!r}, not for {name!r}")
        message = self._serializer.from_bytes(data[_HEAD.size + length :])
        if not isinstance(message, dict):
            raise ValueError(  # noqa: TRY004 - it is the sender's mistake
                f"the message is a {type(message).__name__}, not a dict"
            )
        return Envelope(kind, sender, number, found, message)

    def _decrypted(self, data: bytes) -> bytes:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - an extra

        try:
            plain: bytes = self._fernet.decrypt(data, ttl=self._ttl)
        except InvalidToken as error:
            raise ValueError("it was encrypted otherwise, or too long ago") from error
        return plain


def _make_fernet(keys: Sequence[str | bytes]) -> Any:
    if not keys:
        return None
    if isinstance(keys, str | bytes):
        raise ImproperlyConfigured(
            "symmetric_encryption_keys is a string: expected a list of them."
        )
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ImproperlyConfigured(
            "symmetric_encryption_keys needs cryptography: "
            "pip install 'django-asgi-bridge[redis-encryption]'"
        ) from error
    return MultiFernet([Fernet(_key_of(each)) for each in keys])


def _key_of(secret: str | bytes) -> bytes:
    data = secret.encode() if isinstance(secret, str) else secret
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest())
