"""Which names channels and groups of a layer may have.

These are rules alone. The error texts are part of the interface of Channels.
"""

import hashlib
import re
from typing import Final

__all__ = (
    "CHANNEL_NAME",
    "GROUP_NAME",
    "INVALID_NAME",
    "MAX_NAME_LENGTH",
    "group_name",
    "non_local_name",
)

MAX_NAME_LENGTH: Final = 100
"""A name must be shorter than this many characters."""

# Channels documents ASCII and matches Unicode digits and a final line end, too.
CHANNEL_NAME: Final = re.compile(r"[a-zA-Z0-9\-_.]+(![0-9A-Za-z\-_.]*)?\Z")
GROUP_NAME: Final = re.compile(r"[a-zA-Z0-9\-_.]+\Z")

INVALID_NAME: Final = (
    "{} name must be a valid unicode string "
    f"with length < {MAX_NAME_LENGTH} "
    "containing only ASCII alphanumerics, hyphens, underscores, or periods."
)

_UNSAFE: Final = re.compile(r"[^a-zA-Z0-9\-_.]+")
_DIGEST_CHARACTERS: Final = 16


def non_local_name(name: str) -> str:
    """Return the part of a channel's name that one process has for all its own.

    That is everything up to and including the ``!``, or the whole name.
    """
    head, mark, _ = name.partition("!")
    return head + mark


def group_name(*parts: object) -> str:
    """Return a valid group name for any text, such as one that a user typed.

    Different parts give different names; the name shows what is readable of them.

    Args:
        parts: made into text with ``str()`` each.
    """
    texts = [str(part) for part in parts]
    exact = ".".join(texts)
    is_plain = len(texts) == 1 or not any("." in text for text in texts)
    if is_plain and len(exact) < MAX_NAME_LENGTH and GROUP_NAME.match(exact):
        tail = exact.rpartition("-")[2]
        if not _looks_like_digest(tail):
            return exact
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass"))
    tail = digest.hexdigest()[:_DIGEST_CHARACTERS]
    readable = _UNSAFE.sub("_", exact)[: MAX_NAME_LENGTH - _DIGEST_CHARACTERS - 2]
    return f"{readable}-{tail}"


def _looks_like_digest(text: str) -> bool:
    return len(text) == _DIGEST_CHARACTERS and not set(text) - set("0123456789abcdef")
