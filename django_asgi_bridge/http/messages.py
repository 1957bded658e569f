"""The storage of messages, made for the requests that ask for one.

Django's MessageMiddleware makes one for each request, out of three objects, and asks
it at the end whether there is anything to store. Most requests never look at it: here
they say who makes it, and ``ASGIRequest._messages`` calls that for the first who asks.
"""

import inspect
from collections.abc import Callable
from typing import Any

from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.hooks import has_untouched_messages

__all__ = ("postponed",)

_Hook = Callable[..., Any]


def postponed(request_hook: _Hook, response_hook: _Hook) -> tuple[_Hook, _Hook]:
    """Return the hooks of a MessageMiddleware for requests that make storages late.

    The same ones where a tool has wrapped them: it wants to see the calls.

    Args:
        request_hook: Django's ``process_request``, with a storage of Django's.
        response_hook: Django's ``process_response``.
    """
    if any(inspect.unwrap(each) is not each for each in (request_hook, response_hook)):
        return request_hook, response_hook

    def process_request(request: Request) -> Any:
        # Django says at once that sessions are missing; other classes have no door.
        if "session" in request.__dict__ and hasattr(type(request), "_messages"):
            request._bridge_messages = request_hook
            return None
        return request_hook(request)

    def process_response(request: Request, response: Response) -> Any:
        if has_untouched_messages(request):
            return response
        return response_hook(request, response)

    return process_request, process_response
