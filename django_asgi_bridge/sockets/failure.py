"""The close that tells a client of a handler's exception."""

from __future__ import annotations

from typing import Any

__all__ = ("FailureClose",)


class FailureClose(dict[str, Any]):
    """An event like any other for servers; the communicators know it by its type.

    They show the exception before it. A consumer may close with the same code.
    """

    def __init__(self, code: int) -> None:
        super().__init__(type="websocket.close", code=code)
