"""The watch for a client that leaves before it is answered."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from django.core.exceptions import RequestAborted

from django_asgi_bridge.types import Receive

__all__ = ("wait_for_disconnect",)

logger = logging.getLogger("django.request")

_MAX_REPEATS = 100
"""Empty ``http.request`` events after the body before the watch gives up."""


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
