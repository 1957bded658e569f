"""Middleware of every make; each writes to ``TRACE`` what it is asked for.

``touch_database`` stands for blocking code: as Django's ORM does, it refuses to
run on the event loop.
"""

import functools
from collections.abc import Awaitable, Callable
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.cache.backends.locmem import LocMemCache
from django.core.exceptions import MiddlewareNotUsed, PermissionDenied
from django.core.files.uploadhandler import MemoryFileUploadHandler
from django.http import Http404, HttpResponse, HttpResponseRedirect
from django.middleware.common import CommonMiddleware
from django.middleware.security import SecurityMiddleware
from django.template import engines
from django.template.response import TemplateResponse
from django.utils import translation
from django.utils.asyncio import async_unsafe
from django.utils.decorators import (
    async_only_middleware,
    sync_and_async_middleware,
    sync_only_middleware,
)
from django.utils.deprecation import MiddlewareMixin

__all__ = ("TRACE", "touch_database")

TRACE: list[str] = []
"""What was called, in order."""


@async_unsafe
def touch_database() -> None:
    """Do what must not be done on the event loop."""


def stamp(response: Any, name: str) -> Any:
    """Add to a header that tells the order of the response hooks."""
    TRACE.append(f"{name}.response")
    response["X-Seen"] = f"{response.get('X-Seen', '')}{name};"
    return response


class Blocking(MiddlewareMixin):
    """Hooks of the usual make, which need a thread."""

    def process_request(self, request: Any) -> None:
        touch_database()
        TRACE.append(f"{type(self).__name__}.request")

    def process_response(self, request: Any, response: Any) -> Any:
        touch_database()
        return stamp(response, type(self).__name__)


class BlockingAgain(Blocking):
    """A second one."""


class RequestOnly(MiddlewareMixin):
    """A middleware with one hook."""

    def process_request(self, request: Any) -> None:
        touch_database()
        TRACE.append("RequestOnly.request")


class ResponseOnly(MiddlewareMixin):
    """A middleware with the other hook."""

    def process_response(self, request: Any, response: Any) -> Any:
        touch_database()
        return stamp(response, "ResponseOnly")


class EveryHook(MiddlewareMixin):
    """A middleware that has them all and lets everything pass."""

    def process_request(self, request: Any) -> None:
        TRACE.append(f"{type(self).__name__}.request")

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> None:
        touch_database()
        TRACE.append(f"{type(self).__name__}.view {view.__name__}")

    def process_exception(self, request: Any, exception: Exception) -> Any:
        touch_database()
        TRACE.append(f"{type(self).__name__}.exception {type(exception).__name__}")

    def process_template_response(self, request: Any, response: Any) -> Any:
        touch_database()
        TRACE.append(f"{type(self).__name__}.template")
        response.context_data["extra"] = (
            f"{response.context_data.get('extra', '')}{type(self).__name__};"
        )
        return response

    def process_response(self, request: Any, response: Any) -> Any:
        return stamp(response, type(self).__name__)


class EveryHookInside(EveryHook):
    """The same once more, to tell the order."""


class AsyncViewHook:
    """A middleware of both kinds whose ``process_view`` is a coroutine function."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        if iscoroutinefunction(get_response):
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if iscoroutinefunction(self):
            return self.__acall__(request)
        return stamp(self.get_response(request), "AsyncViewHook")

    async def __acall__(self, request: Any) -> Any:
        return stamp(await self.get_response(request), "AsyncViewHook")

    async def process_view(
        self, request: Any, view: Any, args: Any, kwargs: Any
    ) -> None:
        TRACE.append("AsyncViewHook.view")


# Subclasses of Django's own.


class OverridesHook(SecurityMiddleware):
    """One of Django's own with a hook replaced by blocking code."""

    def process_response(self, request: Any, response: Any) -> Any:
        touch_database()
        return stamp(super().process_response(request, response), "OverridesHook")


class OverridesHelper(CommonMiddleware):
    """One of Django's own with a helper method replaced by blocking code."""

    def should_redirect_with_slash(self, request: Any) -> bool:
        touch_database()
        TRACE.append("OverridesHelper.helper")
        return super().should_redirect_with_slash(request)


class OverridesNothing(SecurityMiddleware):
    """One of Django's own under another name."""


class AddsAttribute(CommonMiddleware):
    """One of Django's own with an option of it set."""

    response_redirect_class = HttpResponseRedirect


# Functions and callables.


@sync_only_middleware
def sync_only(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Run blocking code around the rest."""

    def middleware(request: Any) -> Any:
        touch_database()
        TRACE.append("sync_only.request")
        response = get_response(request)
        touch_database()
        return stamp(response, "sync_only")

    return middleware


@async_only_middleware
def async_only(
    get_response: Callable[[Any], Awaitable[Any]],
) -> Callable[[Any], Awaitable[Any]]:
    """Await the rest."""

    async def middleware(request: Any) -> Any:
        TRACE.append("async_only.request")
        return stamp(await get_response(request), "async_only")

    return middleware


@sync_and_async_middleware
def both(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Fix the mode when built."""

    async def on_loop(request: Any) -> Any:
        TRACE.append("both.request")
        return stamp(await get_response(request), "both")

    def on_thread(request: Any) -> Any:
        TRACE.append("both.request")
        return stamp(get_response(request), "both")

    return on_loop if iscoroutinefunction(get_response) else on_thread


class Both:
    """A class of both kinds with a ``__call__`` of its own."""

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: Any) -> Any:
        if self.is_async:
            return self.__acall__(request)
        TRACE.append("Both.request")
        return stamp(self.get_response(request), "Both")

    async def __acall__(self, request: Any) -> Any:
        TRACE.append("Both.request")
        return stamp(await self.get_response(request), "Both")


class OwnCall(MiddlewareMixin):
    """A MiddlewareMixin with a ``__call__`` of its own around the hooks."""

    def __call__(self, request: Any) -> Any:
        if self.async_mode:
            return self.__acall__(request)
        TRACE.append("OwnCall.request")
        return stamp(super().__call__(request), "OwnCall")

    async def __acall__(self, request: Any) -> Any:
        TRACE.append("OwnCall.request")
        return stamp(await super().__acall__(request), "OwnCall")

    def process_request(self, request: Any) -> None:
        touch_database()
        TRACE.append("OwnCall.hook")


class OldStyle:
    """A sync class without a base, as of Django 1.10."""

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        self.get_response = get_response

    def __call__(self, request: Any) -> Any:
        TRACE.append("OldStyle.request")
        touch_database()
        return stamp(self.get_response(request), "OldStyle")

    def process_exception(self, request: Any, exception: Exception) -> Any:
        touch_database()
        TRACE.append(f"OldStyle.exception {type(exception).__name__}")


def timed(factory: Any) -> Any:
    """Wrap a middleware class as monitoring tools do."""

    @functools.wraps(factory, updated=())
    def build(get_response: Callable[[Any], Any]) -> Any:
        return factory(get_response)

    build.sync_capable = factory.sync_capable  # type: ignore[attr-defined]
    build.async_capable = factory.async_capable  # type: ignore[attr-defined]
    return build


Wrapped = timed(SecurityMiddleware)
WrappedBlocking = timed(Blocking)


def spanned(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a hook as monitoring tools do."""

    @functools.wraps(function)
    def span(*args: Any, **kwargs: Any) -> Any:
        TRACE.append(f"span {function.__name__}")
        return function(*args, **kwargs)

    return span


def not_used(get_response: Callable[[Any], Any]) -> Any:
    """Leave the chain."""
    raise MiddlewareNotUsed


# What Django's own middleware blocks on.


class BlockingCache(LocMemCache):
    """A cache in another process, say."""

    def get(self, *args: Any, **kwargs: Any) -> Any:
        touch_database()
        return super().get(*args, **kwargs)

    def set(self, *args: Any, **kwargs: Any) -> None:
        touch_database()
        super().set(*args, **kwargs)


class BlockingUpload(MemoryFileUploadHandler):
    """An upload handler that asks a database about each upload."""

    def handle_raw_input(self, *args: Any, **kwargs: Any) -> None:
        touch_database()
        super().handle_raw_input(*args, **kwargs)


# Early answers and changes of the request.


class AnswersRequest(MiddlewareMixin):
    """Answers before the view is known."""

    def process_request(self, request: Any) -> Any:
        return HttpResponse("answered early", status=203)

    def process_response(self, request: Any, response: Any) -> Any:
        return stamp(response, "AnswersRequest")


class AnswersView(EveryHook):
    """Answers in the place of the view."""

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        return HttpResponse("answered for the view", status=203)


class AnswersViewByTemplate(EveryHook):
    """Answers in the place of the view with a response that must be rendered."""

    def process_view(self, request: Any, view: Any, args: Any, kwargs: Any) -> Any:
        template = engines["django"].from_string("for the view {{ extra }}")
        return TemplateResponse(request, template, {})


class AnswersException(EveryHook):
    """Answers for what the view raised."""

    def process_exception(self, request: Any, exception: Exception) -> Any:
        return HttpResponse(f"instead of {type(exception).__name__}", status=299)


class AnswersTemplate(EveryHook):
    """Puts another template response in the place of the view's."""

    def process_template_response(self, request: Any, response: Any) -> Any:
        template = engines["django"].from_string("replaced {{ word }}")
        return TemplateResponse(request, template, response.context_data)


class ReplacesResponse(MiddlewareMixin):
    """Puts another response in the place of the one it is given."""

    def process_response(self, request: Any, response: Any) -> Any:
        return HttpResponse(f"instead of a {response.status_code}", status=202)


class LosesResponse(MiddlewareMixin):
    """Forgets to return the response."""

    def process_response(self, request: Any, response: Any) -> Any:
        return None


class LosesTemplate(EveryHook):
    """Forgets to return the template response."""

    def process_template_response(self, request: Any, response: Any) -> Any:
        return None


class ChangesUrlconf(MiddlewareMixin):
    """Sends the request to another URLconf."""

    def process_request(self, request: Any) -> None:
        request.urlconf = "tests.http.urls_other"

    def process_response(self, request: Any, response: Any) -> Any:
        return stamp(response, "ChangesUrlconf")


class ResetsUrlconf(MiddlewareMixin):
    """Sends the request to the default URLconf by name."""

    def process_request(self, request: Any) -> None:
        request.urlconf = None


class ChangesPath(MiddlewareMixin):
    """Sends the request to another view."""

    def process_request(self, request: Any) -> None:
        request.path_info = (
            "/where/" if "async" in request.path_info else "/async-where/"
        )


class ChangesLanguage(MiddlewareMixin):
    """Speaks French before the view is looked up."""

    def process_request(self, request: Any) -> None:
        translation.activate("fr")


class ChangesMethod(MiddlewareMixin):
    """Lets a form ask for another method."""

    def process_request(self, request: Any) -> None:
        request.method = request.GET.get("_method", request.method).upper()


# Middleware that breaks: one class for each hook and kind of exception.

_ERRORS: dict[str, Callable[[], Exception]] = {
    "Bug": lambda: ValueError("in the middleware"),
    "Missing": lambda: Http404("says the middleware"),
    "Denied": lambda: PermissionDenied("says the middleware"),
}


def _breaks(hook: str, error: Callable[[], Exception]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        TRACE.append(f"{type(self).__name__} raises")
        raise error()

    method.__name__ = hook
    return method


for _word, _hook in (
    ("Request", "process_request"),
    ("View", "process_view"),
    ("Exception", "process_exception"),
    ("Template", "process_template_response"),
    ("Response", "process_response"),
):
    for _name, _error in _ERRORS.items():
        globals()[f"{_word}{_name}"] = type(
            f"{_word}{_name}", (EveryHook,), {_hook: _breaks(_hook, _error)}
        )


class CallBug(Both):
    """Breaks around the rest of the chain."""

    def __call__(self, request: Any) -> Any:
        raise ValueError("in __call__")


@sync_only_middleware
def sync_only_late_bug(get_response: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Break after the rest of the chain."""

    def middleware(request: Any) -> Any:
        get_response(request)
        raise ValueError("after the view")

    return middleware


@async_only_middleware
def async_only_late_bug(
    get_response: Callable[[Any], Awaitable[Any]],
) -> Callable[[Any], Awaitable[Any]]:
    """Break after the rest of the chain."""

    async def middleware(request: Any) -> Any:
        await get_response(request)
        raise Http404("after the view")

    return middleware
