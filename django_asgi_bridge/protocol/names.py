"""The names of channels and groups: what is valid, and safe names from user text.

Specification: ASGI channel layer specification, "Channel Names" and "Groups".
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

__all__ = (
    "CHANNEL_NAME",
    "GROUP_NAME",
    "LOCAL_MARK",
    "MAX_NAME_LENGTH",
    "first_fault",
    "group_name",
    "is_process_local",
    "non_local_name",
)

MAX_NAME_LENGTH: Final = 100
"""A name is shorter than this: 99 characters at most."""

LOCAL_MARK: Final = "!"
"""What stands between a process's own prefix and the rest of a channel's name."""

# `\Z` and not `$`, which matches before a line feed; no `\d`, which matches every
# script's digits.
CHANNEL_NAME: Final = re.compile(r"^[a-zA-Z0-9\-_.]+(?:![a-zA-Z0-9\-_.]*)?\Z")
GROUP_NAME: Final = re.compile(r"^[a-zA-Z0-9\-_.]+\Z")

_PLAIN_PART: Final = re.compile(r"[a-zA-Z0-9\-_]+\Z")
_UNSAFE: Final = re.compile(r"[^a-zA-Z0-9\-_]+")
_FORBIDDEN: Final = re.compile(r"[^a-zA-Z0-9\-_.]")

# 128 bits: nobody finds a second text with the same ones.
_DIGEST_CHARACTERS: Final = 32


def non_local_name(name: str) -> str:
    """Return a channel name up to and with its ``!``, or all of it without one."""
    mark = name.find(LOCAL_MARK)
    return name if mark < 0 else name[: mark + 1]


def is_process_local(name: str) -> bool:
    """Tell whether only one process reads the channel: its name has a ``!``."""
    return LOCAL_MARK in name


def first_fault(name: object, *, allows_mark: bool = False) -> str:
    """Say what is wrong with a name, for people: one sentence without a full stop.

    Args:
        name: a name that was refused.
        allows_mark: it is a channel's name, which may have one ``!``.
    """
    if not isinstance(name, str):
        return f"got {name!r} of type {type(name).__name__}"
    if not name:
        return "got an empty name"
    if len(name) >= MAX_NAME_LENGTH:
        return f"got {len(name)} characters: {name!r}"
    tail = name.replace(LOCAL_MARK, "-", 1) if allows_mark else name
    found = _FORBIDDEN.search(tail)
    if found is None:
        return f"got {name!r}, which begins with {LOCAL_MARK!r}"
    return f"got {name!r}, with {found.group()!r} at position {found.start()}"


def group_name(*parts: object) -> str:
    """Make a valid group name of any texts or numbers, a user's included.

    Different parts give different names, so one room's name cannot be chosen such
    that its messages reach another room. Parts of ``A-Z a-z 0-9 - _`` are joined
    with ``.`` and stay readable; anything else gets a digest::

        group_name("chat", "lobby")      # "chat.lobby"
        group_name("chat", "Caffè, 2")   # "chat.Caff-2..<32 hex digits>"

    Args:
        parts: each is made a string; at least one.

    Returns:
        A name of less than 100 characters that is the same in every process.

    Raises:
        ValueError: no part is given.
    """
    if not parts:
        raise ValueError("group_name() got no parts; give at least one.")
    texts = [str(part) for part in parts]
    if all(_PLAIN_PART.match(text) for text in texts):
        plain = ".".join(texts)
        if len(plain) < MAX_NAME_LENGTH:
            return plain
    # Each length keeps ("ab", "c") and ("a", "bc") apart. `surrogatepass`: a lone
    # surrogate is no valid text, but it must not stop the page that shows it.
    joined = "".join(f"{len(text)}:{text}" for text in texts)
    digest = hashlib.sha256(joined.encode("utf-8", "surrogatepass")).hexdigest()
    # Plain names never have two dots in a row, so the two kinds cannot meet.
    ending = f"..{digest[:_DIGEST_CHARACTERS]}"
    readable = ".".join(_UNSAFE.sub("-", text).strip("-") or "-" for text in texts)
    return readable[: MAX_NAME_LENGTH - 1 - len(ending)].rstrip(".") + ending
