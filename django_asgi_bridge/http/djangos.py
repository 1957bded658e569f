"""Django's requests and responses, as a handler sees them.

A handler needs their private parts (``_resource_closers``, ``_handler_class``,
``_iterator`` and others), which django-stubs do not declare. So inside this room
they are ``Any``; the public doors have Django's own types.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from django.core.handlers import base as django_base

__all__ = ("Request", "Response", "iscoroutinefunction")

Request: TypeAlias = Any
"""An ``HttpRequest``."""

Response: TypeAlias = Any
"""An ``HttpResponseBase``."""

iscoroutinefunction: Callable[[object], bool] = vars(django_base)["iscoroutinefunction"]
"""What this Django itself asks: asgiref's on 5.2, that of ``inspect`` later."""
