"""Which middleware hooks may run on the event loop.

Django's own hooks mostly compute: they may run inline. Some of them block now and
then (a session that must be saved, a form that must be parsed); a question asked
at the time tells. Everything else is unknown code and runs on a worker.

A hook is known by the function at the end of its ``__wrapped__`` chain, because
monitoring tools wrap classes and methods. A subclass that replaces anything of
Django's class makes its hooks unknown code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from types import FunctionType, MethodType
from typing import Any

from django.http import HttpRequest

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import read_setting

__all__ = (
    "Blocks",
    "always",
    "blocks_of",
    "has_untouched_messages",
    "is_from",
    "never",
    "postponable",
    "stores_messages",
    "unless_patched",
)

Blocks = Callable[[HttpRequest, Any], bool]
"""May the hook block now? Asked with the request and, for a response hook, the
response, for a view hook the view."""

INLINE_BYTES = 65536
"""Bytes that are compressed or hashed inline: below about 1 ms on one core."""


def never(request: HttpRequest, subject: Any) -> bool:
    """Answer for a hook that only computes."""
    return False


def always(request: HttpRequest, subject: Any) -> bool:
    """Answer for unknown code."""
    return True


def blocks_of(hook: Callable[..., Any]) -> Blocks:
    """Return the question that tells whether ``hook`` may block.

    Args:
        hook: a bound method of a middleware instance, perhaps wrapped.
    """
    method = inspect.unwrap(hook)
    if not isinstance(method, MethodType):
        return always
    function = method.__func__
    key = f"{function.__module__}.{function.__qualname__}"
    blocks = _KNOWN.get(key)
    if blocks is None or not is_from(function, function.__module__):
        return always
    if _changes_class_of(method):
        return always
    static = _NEEDS.get(key)
    if static is not None and not static(method.__self__):
        return always
    return blocks


@lru_cache(maxsize=256)
def is_from(function: Any, module: str) -> bool:
    """Tell whether a function was defined in ``module``, whatever its name says."""
    return getattr(function, "__globals__", {}).get("__name__") == module


def unless_patched(function: Any, module: str) -> Any:
    """Return a function to compare with later, to see whether a tool replaced it.

    The same as to ask ``is_from`` each time, for a fifth of the price.

    Returns:
        The function; ``None``, which equals none, where it is not of ``module``.
    """
    return function if is_from(function, module) else None


def _changes_class_of(method: MethodType) -> bool:
    """Tell whether a subclass replaces code of the class that defines ``method``."""
    name = method.__func__.__name__
    classes = type(method.__self__).__mro__
    defining = next(cls for cls in classes if name in vars(cls))
    for cls in classes[: classes.index(defining)]:
        if cls.__module__.startswith("django."):
            continue
        for attribute, value in vars(cls).items():
            if attribute.startswith("__") or not hasattr(defining, attribute):
                continue
            if isinstance(value, FunctionType | property) or hasattr(value, "__get__"):
                return True
    return False


def has_untouched_messages(request: Any) -> bool:
    """Tell whether nobody has asked for the messages of a request that has some.

    See ``http.messages``.
    """
    attributes = request.__dict__
    note = attributes.get("_bridge_messages")
    return note is not None and note.storage is None and "_messages" not in attributes


# Questions.


def _saves_session(request: HttpRequest, response: Any) -> bool:
    session: Any = getattr(request, "session", None)
    if session is None:
        return False
    if not type(session).__module__.startswith("django.contrib.sessions.backends."):
        return True
    must_save = session.modified or read_setting("SESSION_SAVE_EVERY_REQUEST")
    return bool(must_save and not session.is_empty())


def _reads_csrf_session(request: HttpRequest, subject: Any) -> bool:
    return bool(read_setting("CSRF_USE_SESSIONS"))


def _parses_form(request: HttpRequest, view: Any) -> bool:
    if getattr(request, "csrf_processing_done", False):
        return False
    if getattr(view, "csrf_exempt", False):
        return False
    if request.method in ("GET", "HEAD", "OPTIONS", "TRACE"):
        return False
    return not getattr(request, "_dont_enforce_csrf_checks", False)


def _writes_csrf_session(request: HttpRequest, response: Any) -> bool:
    needs_update = request.META.get("CSRF_COOKIE_NEEDS_UPDATE")
    return bool(needs_update and read_setting("CSRF_USE_SESSIONS"))


def postponable(request: HttpRequest, subject: Any) -> bool:
    """Answer as ``never``, for a hook that ``http.messages`` can call late."""
    return False


def stores_messages(request: HttpRequest, response: Any) -> bool:
    """Tell whether the storage of a request's messages has anything to store."""
    if has_untouched_messages(request):
        return False
    messages: Any = getattr(request, "_messages", None)
    if messages is None:
        return False
    return bool(messages.used or messages.added_new)


def _asks_for_user(request: HttpRequest, view: Any) -> bool:
    return bool(getattr(view, "login_required", True))


def _is_not_found(request: HttpRequest, response: Any) -> bool:
    return bool(response.status_code == 404)


def _is_large(request: HttpRequest, response: Any) -> bool:
    return not response.streaming and len(response.content) > INLINE_BYTES


def _may_be_cached(request: HttpRequest, subject: Any) -> bool:
    return request.method in ("GET", "HEAD")


def _updates_cache(request: HttpRequest, response: Any) -> bool:
    return bool(getattr(request, "_cache_update_cache", False))


def _is_head(request: HttpRequest, view: Any) -> bool:
    return request.method == "HEAD"


# Conditions on the settings, looked at when the plan is made.


def _has_known_session(middleware: Any) -> bool:
    store = middleware.SessionStore
    return str(store.__init__.__module__).startswith("django.contrib.sessions.")


def _has_known_messages(middleware: Any) -> bool:
    module, _, _ = str(settings.MESSAGE_STORAGE).rpartition(".")
    return module.startswith("django.contrib.messages.storage.") and bool(
        import_module(module)
    )


_KNOWN: dict[str, Blocks] = {
    "django.contrib.admindocs.middleware.XViewMiddleware.process_view": _is_head,
    "django.contrib.auth.middleware.AuthenticationMiddleware.process_request": never,
    "django.contrib.auth.middleware.LoginRequiredMiddleware.process_view": (
        _asks_for_user
    ),
    "django.contrib.flatpages.middleware.FlatpageFallbackMiddleware"
    ".process_response": _is_not_found,
    "django.contrib.messages.middleware.MessageMiddleware.process_request": (
        postponable
    ),
    "django.contrib.messages.middleware.MessageMiddleware.process_response": (
        stores_messages
    ),
    "django.contrib.redirects.middleware.RedirectFallbackMiddleware"
    ".process_response": _is_not_found,
    "django.contrib.sessions.middleware.SessionMiddleware.process_request": never,
    "django.contrib.sessions.middleware.SessionMiddleware.process_response": (
        _saves_session
    ),
    "django.middleware.cache.FetchFromCacheMiddleware.process_request": _may_be_cached,
    "django.middleware.cache.UpdateCacheMiddleware.process_response": _updates_cache,
    "django.middleware.clickjacking.XFrameOptionsMiddleware.process_response": never,
    "django.middleware.common.BrokenLinkEmailsMiddleware.process_response": (
        _is_not_found
    ),
    "django.middleware.common.CommonMiddleware.process_request": never,
    "django.middleware.common.CommonMiddleware.process_response": never,
    "django.middleware.csp.ContentSecurityPolicyMiddleware.process_request": never,
    "django.middleware.csp.ContentSecurityPolicyMiddleware.process_response": never,
    "django.middleware.csrf.CsrfViewMiddleware.process_request": _reads_csrf_session,
    "django.middleware.csrf.CsrfViewMiddleware.process_response": _writes_csrf_session,
    "django.middleware.csrf.CsrfViewMiddleware.process_view": _parses_form,
    "django.middleware.gzip.GZipMiddleware.process_response": _is_large,
    "django.middleware.http.ConditionalGetMiddleware.process_response": _is_large,
    "django.middleware.locale.LocaleMiddleware.process_request": never,
    "django.middleware.locale.LocaleMiddleware.process_response": never,
    "django.middleware.security.SecurityMiddleware.process_request": never,
    "django.middleware.security.SecurityMiddleware.process_response": never,
}

_NEEDS: dict[str, Callable[[Any], bool]] = {
    "django.contrib.messages.middleware.MessageMiddleware.process_request": (
        _has_known_messages
    ),
    "django.contrib.sessions.middleware.SessionMiddleware.process_request": (
        _has_known_session
    ),
}
