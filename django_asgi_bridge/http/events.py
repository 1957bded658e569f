"""The events of an event stream, and how they are written.

Specification: WHATWG HTML Living Standard, section "Server-sent events".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from django.core.serializers.json import DjangoJSONEncoder

__all__ = ("Event", "EventSource", "encode_event", "is_event_id")

_LINE_END = re.compile(r"\r\n|\r|\n")
_FORBIDDEN = re.compile(r"[\r\n\0]")


@dataclass(frozen=True, slots=True)
class Event:
    """One event, or one comment, of a stream.

    Args:
        data: A string is sent as it is, in one ``data`` line for each of its lines;
            anything else as JSON by Django's encoder. None sends no data; with an
            ``event`` name it sends empty data, since browsers drop events without.
        event: The name that ``addEventListener()`` listens to; "message" by default.
        id: What the browser sends back as ``Last-Event-ID`` when it reconnects; the
            empty string makes it forget the last one.
        retry: Milliseconds that the browser waits before it reconnects.
        comment: Text that browsers ignore.

    Raises:
        ValueError: ``event`` or ``id`` contains CR, LF or NUL; ``retry`` is not a
            whole number of milliseconds; or nothing at all is given.
    """

    data: object = None
    _: KW_ONLY
    event: str | None = None
    id: str | None = None
    retry: int | None = None
    comment: str | None = None

    def __post_init__(self) -> None:
        fields = (self.data, self.event, self.id, self.retry, self.comment)
        if all(given is None for given in fields):
            raise ValueError(
                "An Event with nothing in it cannot be sent: give it data, an event "
                "name, an id, a retry time or a comment."
            )
        _check_field("event", self.event)
        _check_field("id", self.id)
        _check_retry(self.retry)

    def encode(self) -> bytes:
        """Write the event in the format ``text/event-stream``.

        Raises:
            TypeError: The data cannot be written as JSON.
        """
        lines: list[str] = []
        if self.comment is not None:
            lines += [f": {line}" for line in _LINE_END.split(self.comment)]
        if self.event is not None:
            lines.append(f"event: {self.event}")
        if self.id is not None:
            lines.append(f"id: {self.id}")
        if self.retry is not None:
            lines.append(f"retry: {self.retry}")
        data = self.data
        if data is None and self.event is not None:
            data = ""
        if data is not None:
            lines.append(_data_lines(data if isinstance(data, str) else _json(data)))
        return ("\n".join(lines) + "\n\n").encode()


EventSource = Event | str | Mapping[str, object] | bytes
"""An event; a string or a mapping is an event's data, bytes are sent as they are."""


def encode_event(event: object) -> bytes:
    """Write whatever a source may give.

    Raises:
        TypeError: It is none of the kinds of `EventSource`, or not JSON.
    """
    if isinstance(event, bytes):
        return event
    if isinstance(event, Event):
        return event.encode()
    if isinstance(event, (str, Mapping)):
        # As an Event would, without making one.
        data = event if isinstance(event, str) else _json(event)
        return f"{_data_lines(data)}\n\n".encode()
    raise TypeError(
        f"The event stream's source gave {event!r}, expected an Event, a str, a "
        "mapping or bytes."
    )


def _json(data: object) -> str:
    return json.dumps(data, cls=DjangoJSONEncoder)


def _data_lines(text: str) -> str:
    """Write a ``data`` line for each line of a text."""
    if "\n" not in text and "\r" not in text:
        return f"data: {text}"
    return "\n".join([f"data: {line}" for line in _LINE_END.split(text)])


def is_event_id(text: str) -> bool:
    """Tell whether a client's text could be the id of an event."""
    return bool(text) and _FORBIDDEN.search(text) is None


def _check_field(name: str, value: str | None) -> None:
    found = None if value is None else _FORBIDDEN.search(value)
    if found is not None:
        raise ValueError(
            f"Event {name} {value!r} is not valid, expected no CR, LF or NUL; got "
            f"{found.group()!r} at position {found.start()}."
        )


def _check_retry(retry: object) -> None:
    if retry is None:
        return
    if isinstance(retry, bool) or not isinstance(retry, int) or retry < 0:
        raise ValueError(
            f"Event retry {retry!r} is not valid, expected a whole number of "
            "milliseconds, 0 or more."
        )
