"""What a server tells of a request: single headers, body events, the client's leaving.

A body that does not come in one event is the subject of ``body``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import RequestAborted

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.types import Receive, Scope

__all__ = (
    "buffer_limit",
    "check_message",
    "has_header",
    "header_of",
    "wait_for_disconnect",
)

logger = logging.getLogger("django.request")

_MAX_REPEATS = 100
"""Empty ``http.request`` events after the body before the watch gives up."""


def check_message(message: Any) -> None:
    """Check an event that should bring body bytes.

    Raises:
        RequestAborted: the client left.
        RuntimeError: it is no event that may come here.
    """
    kind = message.get("type") if hasattr(message, "get") else None
    if kind == "http.request":
        return
    if kind == "http.disconnect":
        raise RequestAborted
    raise RuntimeError(
        f"the server sent {message!r} where the request body was expected; "
        "ASGI allows 'http.request' and 'http.disconnect' here."
    )


def header_of(scope: Scope, name: bytes) -> str:
    """Return a request header's value, empty where there is none."""
    length = len(name)
    for key, value in scope.get("headers") or ():
        if len(key) == length and key.lower() == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def has_header(scope: Scope, name: bytes) -> bool:
    """Tell whether there is a request header of that name."""
    length = len(name)
    for key, _ in scope.get("headers") or ():
        if len(key) == length and key.lower() == name:
            return True
    return False


def buffer_limit(scope: Scope) -> int | None:
    """Return the bytes that a body may have to be buffered for an async view."""
    if header_of(scope, b"content-type").lower().startswith("multipart/"):
        # The parser limits its fields; files may be of any size.
        return None
    limit: int | None = read_setting("DATA_UPLOAD_MAX_MEMORY_SIZE")
    return limit


async def wait_for_disconnect(receive: Receive) -> None:
    """Wait for the client to leave.

    Raises:
        RequestAborted: it left.
        AssertionError: the server sent something that may not come here.
    """
    for _ in range(_MAX_REPEATS):
        message: Any = await receive()
        kind = message.get("type") if isinstance(message, Mapping) else None
        if kind == "http.disconnect":
            raise RequestAborted
        if kind != "http.request" or message.get("body"):
            raise AssertionError(
                "Invalid ASGI message after request body: "
                f"{message if kind is None else kind}"
            )
        # Some servers repeat the end of the body.
        await asyncio.sleep(0)
    logger.warning(
        "the server repeats the end of the request body: whether the client of "
        "this request leaves is watched no longer"
    )
