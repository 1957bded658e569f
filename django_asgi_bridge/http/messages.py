"""The storage of messages, made for the requests that ask for one.

Django's MessageMiddleware makes one for each request, out of three objects, and asks
it at the end whether there is anything to store. Most requests never look at it: here
the middleware leaves a note, and ``ASGIRequest._messages`` makes the storage by it for
the first who asks.
"""

import inspect
import threading
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.hooks import has_untouched_messages

__all__ = ("Note", "postponed")

_Hook = Callable[..., Any]

_lock = threading.RLock()
"""Held while a storage is made: two threads that ask get the same."""


class Note:
    """Who makes the storage of a request, and the storage when it is made.

    Copies of a request share it, and so the storage.

    Args:
        make: Django's ``process_request``.
    """

    __slots__ = ("_make", "storage")

    def __init__(self, make: _Hook) -> None:
        self._make = make
        self.storage: Any = None

    def storage_for(self, request: Request) -> Any:
        """Return the storage, made with ``request`` if it is asked for first."""
        with _lock:
            if self.storage is None:
                self._make(request)
                self.storage = request.__dict__["_messages"]
            return self.storage


def postponed(request_hook: _Hook, response_hook: _Hook) -> tuple[_Hook, _Hook]:
    """Return the hooks of a MessageMiddleware for requests that make storages late.

    The same ones where a tool has wrapped one of them: it wants to see the calls.

    Args:
        request_hook: Django's ``process_request``, with a storage of Django's.
        response_hook: Django's ``process_response``.
    """
    if any(inspect.unwrap(each) is not each for each in (request_hook, response_hook)):
        return request_hook, response_hook

    def process_request(request: Request) -> Any:
        attributes = request.__dict__
        # Django says at once that sessions are missing; requests of other classes
        # than ours cannot make anything late.
        if "session" not in attributes or "_bridge_place" not in attributes:
            return request_hook(request)
        # As Django does where a request comes by again.
        attributes.pop("_messages", None)
        attributes["_bridge_messages"] = Note(request_hook)
        return None

    def process_response(request: Request, response: Response) -> Any:
        if has_untouched_messages(request):
            return response
        return response_hook(request, response)

    return process_request, process_response
