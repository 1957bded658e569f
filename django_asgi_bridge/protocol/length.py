"""A streamed body's length, held to what its headers announced.

Specification: RFC 9110 8.6.
"""

from __future__ import annotations

from django_asgi_bridge.protocol.response import BadResponse

__all__ = ("ContentLengthGuard",)


class ContentLengthGuard:
    """Holds a streamed body to the Content-Length that was announced.

    A byte too many would be read as the start of the next response.

    Attributes:
        declared: Bytes that were announced.
        taken: Bytes that were let through so far.
    """

    __slots__ = ("declared", "taken")

    def __init__(self, declared: int) -> None:
        self.declared = declared
        self.taken = 0

    def take(self, chunk: bytes) -> bytes:
        """Return the chunk to send; raise BadResponse if it is more than announced.

        No byte of a chunk that is too long may be sent.
        """
        taken = self.taken + len(chunk)
        if taken > self.declared:
            raise BadResponse(
                f"response body has {taken} bytes or more:"
                f" Content-Length announced {self.declared}"
            )
        self.taken = taken
        return chunk

    def finish(self) -> None:
        """Raise BadResponse if the body ended before the announced length."""
        if self.taken != self.declared:
            raise BadResponse(
                f"response body ended after {self.taken} bytes:"
                f" Content-Length announced {self.declared}"
            )
