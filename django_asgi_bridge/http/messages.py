"""The storage of messages, made for the requests that ask for one.

Django's MessageMiddleware makes one for each request, out of three objects, and asks
it at the end whether there is anything to store. Requests that render no template
mostly never look at it: here the middleware leaves a note, by which
``ASGIRequest._messages`` makes the storage for the first who asks.
"""

from __future__ import annotations

import inspect
import threading
import weakref
from collections.abc import Callable
from typing import Any

from django.contrib.messages import middleware as django_messages
from django.core.signing import get_cookie_signer
from django.utils.module_loading import import_string

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.hooks import has_untouched_messages
from django_asgi_bridge.http.request import ASGIRequest

__all__ = ("Note", "postponed")

_Hook = Callable[..., Any]

_lock = threading.Lock()
"""Held while a storage is published, not while it is made: that runs Django's code."""

_DOOR = vars(ASGIRequest)["_messages"]


class Note:
    """What a storage is made for, and the storage when it is made.

    Copies of a request share it, and so the storage.

    Args:
        request: the middleware's. It is not kept alive: each request would be a
            circle for the garbage collector.
    """

    __slots__ = ("_request", "storage")

    def __init__(self, request: Request) -> None:
        self._request = weakref.ref(request)
        self.storage: Any = None

    def storage_for(self, asker: Request) -> Any:
        """Return the storage; threads that ask at the same time get the same.

        Args:
            asker: the request, or a copy that outlived it.

        Raises:
            RuntimeError: making it raised AttributeError, which would read as if
                there was no such middleware.
        """
        if self.storage is None:
            request = self._request()
            try:
                # What Django's hook does, but for putting it on the request.
                made = vars(django_messages)["default_storage"](
                    asker if request is None else request
                )
            except AttributeError as error:
                raise RuntimeError(
                    f"no storage of messages was made: {error}"
                ) from error
            with _lock:
                if self.storage is None:
                    self.storage = made
        return self.storage


def postponed(request_hook: _Hook, response_hook: _Hook) -> tuple[_Hook, _Hook]:
    """Return the hooks of a MessageMiddleware for requests that make storages late.

    They stay as they are where a tool has wrapped one of them, since it wants to see
    the calls; where a storage is not made by Django's code alone; and where it cannot
    be made, so that each request tells what is wrong.

    Args:
        request_hook: Django's ``process_request``, with a storage of Django's.
        response_hook: Django's ``process_response``.
    """
    if any(inspect.unwrap(each) is not each for each in (request_hook, response_hook)):
        return request_hook, response_hook
    storage = settings.MESSAGE_STORAGE
    if not _is_djangos_and_works(storage):
        return request_hook, response_hook

    def process_request(request: Request) -> Any:
        attributes = request.__dict__
        if (
            # Django says at once that sessions are missing.
            "session" not in attributes
            or getattr(type(request), "_messages", None) is not _DOOR
            or read_setting("MESSAGE_STORAGE") != storage
        ):
            return request_hook(request)
        # As Django does where a request comes by again.
        attributes.pop("_messages", None)
        attributes["_bridge_messages"] = Note(request)
        return None

    def process_response(request: Request, response: Response) -> Any:
        if has_untouched_messages(request):
            return response
        return response_hook(request, response)

    return process_request, process_response


def _is_djangos_and_works(storage: str) -> bool:
    if not str(settings.SIGNING_BACKEND).startswith("django.core.signing."):
        return False
    try:
        import_string(storage)
        # Cookies are signed; a site may have no key for it.
        get_cookie_signer()
    except Exception:
        return False
    return True
