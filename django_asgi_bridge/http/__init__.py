"""One HTTP request: the handler, and what views ask of it."""

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
from django_asgi_bridge.http.marks import on_disconnect, resolves_user, streams_body

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
