"""Who listens to the two signals around a request.

Django's own receivers look after the database connections and caches; what they do
is known. All others are unknown code.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from django.core import signals
from django.core.cache import close_caches
from django.core.handlers.base import reset_urlconf
from django.db import close_old_connections, reset_queries
from django.dispatch import Signal

from django_asgi_bridge.http.hooks import is_from
from django_asgi_bridge.threads.connections import forget_checks, has_connections

__all__ = (
    "OWN",
    "Audience",
    "attach_hook",
    "finished_audience",
    "started_audience",
)

OWN = frozenset({reset_queries, close_old_connections, close_caches, reset_urlconf})
"""Django's receivers of ``request_started`` and ``request_finished``."""


class Audience:
    """The receivers of one signal.

    Attributes:
        own: Django's receivers among them.
        has_others: there are some that are not Django's.
        is_watched: a tool looks at the receivers that signals call.
        on_attach: calls Django's receivers where there are connections; what a
            worker does before a request's first call on it.
    """

    __slots__ = ("has_others", "is_watched", "on_attach", "own")

    def __init__(
        self,
        own: tuple[Any, ...],
        has_others: bool,
        is_watched: bool,
        on_attach: Callable[[], None] | None,
    ) -> None:
        self.own = own
        self.has_others = has_others
        self.is_watched = is_watched
        self.on_attach = on_attach


class _Stage:
    """One signal; its receivers are looked at anew only when they changed."""

    def __init__(self, signal: Signal) -> None:
        self._signal = signal
        self._seen: list[Any] | None = None
        self._seen_live: Any = None
        self._audience = Audience((), False, False, None)

    def look(self) -> Audience:
        """Return who listens now."""
        entries = self._signal.receivers
        live = Signal._live_receivers
        # An entry names its receiver by its id, so equal ones are of the same.
        if entries != self._seen or live is not self._seen_live:
            seen = list(entries)
            # In this order: another thread that finds them seen takes the new answer.
            self._audience = _audience_of(seen, live)
            self._seen, self._seen_live = seen, live
        return self._audience


def _audience_of(entries: list[Any], live: Any) -> Audience:
    own = []
    has_others = False
    for entry in entries:
        receiver = entry[1]
        if isinstance(receiver, weakref.ReferenceType):
            receiver = receiver()
        if receiver is None:
            continue
        if any(receiver is each for each in OWN):
            own.append(receiver)
        else:
            has_others = True
    is_watched = not is_from(live, "django.dispatch.dispatcher")
    return Audience(tuple(own), has_others, is_watched, attach_hook(tuple(own)))


@lru_cache(maxsize=16)
def attach_hook(own: tuple[Callable[..., Any], ...]) -> Callable[[], None]:
    """Return what a worker does for these receivers of ``request_started``."""
    if close_old_connections not in own:
        # The lease before may have left that to the next one.
        own = (lambda **_: forget_checks(), *own)

    def attach() -> None:
        if has_connections():
            for receiver in own:
                receiver(signal=signals.request_started, sender=None)

    return attach


started_audience = _Stage(signals.request_started).look
finished_audience = _Stage(signals.request_finished).look
