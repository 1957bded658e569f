"""One HTTP request: the handler, and what views ask of it.

What not every site needs is loaded by the first who asks for it: mostly the module
of a view, which the URLconf imports.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from django_asgi_bridge.http.marks import on_disconnect, resolves_user, streams_body

if TYPE_CHECKING:
    from django_asgi_bridge.http import (  # noqa: F401 - the rooms by their names
        answers,
        apart,
        body,
        delivery,
        files,
        messages,
        streams,
    )
    from django_asgi_bridge.http.eventstream import (
        Event,
        EventStreamResponse,
        last_event_id,
    )
    from django_asgi_bridge.http.extensions import (
        TLS,
        abody,
        aform,
        after,
        early_hints,
        is_disconnected,
        push,
        set_trailers,
        state,
        stream,
        tls,
    )

__all__ = (
    "TLS",
    "Event",
    "EventStreamResponse",
    "abody",
    "aform",
    "after",
    "early_hints",
    "is_disconnected",
    "last_event_id",
    "on_disconnect",
    "push",
    "resolves_user",
    "set_trailers",
    "state",
    "stream",
    "streams_body",
    "tls",
)

_EVENT_STREAMS = frozenset({"Event", "EventStreamResponse", "last_event_id"})

_ROOMS = frozenset(
    {"answers", "apart", "body", "delivery", "files", "messages", "streams"}
)
"""Rooms of few requests or some sites; the handler goes there as ``http.files``."""

if not TYPE_CHECKING:
    # Type checkers would take every misspelled name for one that this gives.

    def __getattr__(name: str) -> object:
        if name in _ROOMS:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        home = "eventstream" if name in _EVENT_STREAMS else "extensions"
        found = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = found
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
