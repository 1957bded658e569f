"""Django's requests and responses, as a handler sees them.

A handler needs their private parts (``_resource_closers``, ``_handler_class``,
``_iterator`` and others), which django-stubs do not declare. So inside this room
they are ``Any``; the public doors have Django's own types.
"""

from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

from django.core.handlers import base as django_base
from django.http.response import HttpResponseBase, ResponseHeaders

__all__ = ("Request", "Response", "header_items", "iscoroutinefunction")

Request: TypeAlias = Any
"""An ``HttpRequest``."""

Response: TypeAlias = Any
"""An ``HttpResponseBase``."""

iscoroutinefunction: Callable[[object], bool] = vars(django_base)["iscoroutinefunction"]
"""What this Django itself asks: asgiref's on 5.2, that of ``inspect`` later."""


def header_items(response: Response) -> Iterable[tuple[str | bytes, str | bytes]]:
    """Return a response's names and values, as ``response.items()`` does.

    Django's mapping keeps them as pairs, which its own iterator makes anew one by
    one, at four calls each.
    """
    headers = response.headers
    is_djangos = type(response).items is HttpResponseBase.items
    if is_djangos and type(headers) is ResponseHeaders:
        pairs: Iterable[tuple[str | bytes, str | bytes]] = headers._store.values()
        return pairs
    items: Iterable[tuple[str | bytes, str | bytes]] = response.items()
    return items
