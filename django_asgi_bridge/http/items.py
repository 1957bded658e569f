"""The items of a streamed response, and how they become bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase, StreamingHttpResponse

from django_asgi_bridge.http.djangos import Response
from django_asgi_bridge.http.hooks import unless_patched

__all__ = ("Encoder", "encoder_of")

Encoder = Callable[[Any], bytes]
"""Makes bytes of an item that is none yet."""


def encoder_of(response: Response) -> Encoder | None:
    """Return what Django makes the items of ``response._iterator`` into bytes by.

    Whoever reads that iterator does without the generators that Django puts around
    it, and looks up the response's charset once instead of once for each item.

    Returns:
        None where the class has a way of its own, or a tool has replaced Django's:
        then the response has to be iterated over.
    """
    kind = type(response)
    if not (
        "make_bytes" not in response.__dict__
        and kind.make_bytes is _MAKE_BYTES
        and kind.__iter__ is _ITER
        and kind.__aiter__ is _AITER
        and getattr(kind.streaming_content, "fget", None) is _CONTENT
    ):
        return None
    charset = response.charset
    make_bytes = response.make_bytes

    def encode(item: Any) -> bytes:
        if isinstance(item, str):
            return item.encode(charset)
        encoded: bytes = make_bytes(item)
        return encoded

    return encode


_RESPONSE = "django.http.response"
_MAKE_BYTES = unless_patched(HttpResponseBase.make_bytes, _RESPONSE)
_ITER = unless_patched(StreamingHttpResponse.__iter__, _RESPONSE)
_AITER = unless_patched(StreamingHttpResponse.__aiter__, _RESPONSE)
_CONTENT = unless_patched(
    getattr(StreamingHttpResponse.streaming_content, "fget", None), _RESPONSE
)
