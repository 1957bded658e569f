"""Options of the layer that cannot be meant."""

from __future__ import annotations

import difflib
import inspect
from typing import NoReturn

from django.core.exceptions import ImproperlyConfigured

__all__ = ("check_overflow", "refuse")

_OVERFLOWS = ("drop_newest", "drop_oldest")


def check_overflow(overflow: str) -> str:
    """Return the policy of full lists.

    Raises:
        ImproperlyConfigured: it is none that a list can have.
    """
    if overflow not in _OVERFLOWS:
        raise ImproperlyConfigured(
            f"overflow is {overflow!r}; expected one of "
            f"{', '.join(map(repr, _OVERFLOWS))}."
        )
    return overflow


def refuse(option: str, signature: inspect.Signature) -> NoReturn:
    """Refuse an option that is none of a layer's.

    Raises:
        ImproperlyConfigured: always; the message names the nearest one.
    """
    known = list(signature.parameters)[:-1]
    near = difflib.get_close_matches(option, known, n=1, cutoff=0)
    raise ImproperlyConfigured(
        f"RedisChannelLayer has no option {option!r}; the nearest one is {near[0]!r}."
    )
