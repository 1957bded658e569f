"""The innermost step of the plan: the view and the hooks right around it.

Resolve, view hooks, the view, exception hooks, template hooks and rendering; once
for a worker and once for the event loop. What both decide stands in one place.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from django.http import HttpResponse
from django.urls import ResolverMatch

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.djangos import Request, Response, iscoroutinefunction
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.hooks import Blocks, always, blocks_of, is_from
from django_asgi_bridge.threads import PINS_NOTHING, PINS_STATE

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Dispatcher

__all__ = ("ViewHook", "ViewStep")

_BASE = "django.core.handlers.base"


class ViewStep:
    """Calls the view of a request.

    Args:
        handler: whose ``resolve_request``, ``make_view_atomic`` and
            ``check_response`` are used.
        instances: the middleware, from the outermost inwards.
    """

    def __init__(self, handler: Dispatcher, instances: Sequence[Any]) -> None:
        self.handler = handler
        self.view_hooks = tuple(map(ViewHook, _methods(instances, "process_view")))
        self._numbered_hooks = tuple(
            (i, each.call, each.blocks, each.is_async)
            for i, each in enumerate(self.view_hooks)
        )
        self.template_hooks = _methods(instances[::-1], "process_template_response")
        self.exception_hooks = _methods(instances[::-1], "process_exception")
        own_check = type(handler).check_response
        self._djangos_check = own_check if is_from(own_check, _BASE) else None

    def on_worker(self, request: Request, exchange: Exchange) -> Any:
        """Resolve and answer ``request`` on this thread."""
        handler = self.handler
        call_async = exchange.call_async
        callback, args, kwargs = _parts(handler.resolve_request(request))
        response: Any = None
        for hook in self.view_hooks:
            response = (
                call_async(hook.call, request, callback, args, kwargs)
                if hook.is_async
                else hook.call(request, callback, args, kwargs)
            )
            if response:
                break
        if response is None:
            view = handler.make_view_atomic(callback)
            try:
                if view is not callback or exchange.marks_of(view).is_async:
                    view = _blocking(view, call_async)
                response = view(request, *args, **kwargs)
            except Exception as error:
                response = self._exception_response(error, request, call_async)
        # Closed at the end even if a cancellation keeps it from being sent.
        exchange.note(response)
        is_check_djangos = type(handler).check_response is self._djangos_check
        if is_check_djangos and type(response) is HttpResponse:
            # Nothing can be wrong with it, and nothing is to be rendered.
            return response
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            response = self._render(request, response, call_async)
        return response

    def _exception_response(
        self, error: Exception, request: Request, call_async: Callable[..., Any]
    ) -> Any:
        """Ask the exception hooks for a response to ``error``, else raise it."""
        if isinstance(error, PoolBusy):
            raise error
        for hook in self.exception_hooks:
            response = _blocking(hook, call_async)(request, error)
            if response:
                return response
        raise error

    def _render(
        self, request: Request, response: Any, call_async: Callable[..., Any]
    ) -> Any:
        """Call the template hooks and render, on this thread."""
        for hook in self.template_hooks:
            response = _blocking(hook, call_async)(request, response)
            owner = getattr(hook, "__self__", None)
            self.handler.check_response(
                response,
                hook,
                name=f"{type(owner).__name__}.process_template_response",
            )
        try:
            return _blocking(response.render, call_async)()
        except Exception as error:
            return self._exception_response(error, request, call_async)

    async def on_loop(self, request: Request, exchange: Exchange) -> Any:
        """Resolve and answer ``request`` on the event loop; what blocks makes trips."""
        handler = self.handler
        lease = exchange.lease
        callback, args, kwargs = _parts(handler.resolve_request(request))
        response: Any = None
        for i, call, blocks, is_async in self._numbered_hooks:
            if is_async or blocks(request, callback):
                response = await self._view_hooks_on_loop(
                    i, (request, callback, args, kwargs), exchange
                )
                break
            response = call(request, callback, args, kwargs)
            if response:
                break
        if response is None:
            view = handler.make_view_atomic(callback)
            try:
                marks = exchange.marks_of(callback)
                if marks.is_async if view is callback else iscoroutinefunction(view):
                    if exchange.config.resolve_user or marks.resolves_user:
                        await _resolve_user(request, exchange)
                    # Unpacked, nothing costs as much as something.
                    response = await (
                        view(request, *args, **kwargs)
                        if args or kwargs
                        else view(request)
                    )
                else:
                    response = await lease.run(
                        _call, exchange, view, request, args, kwargs
                    )
            except Exception as error:
                if not self.exception_hooks:
                    raise
                response = await lease.run(
                    self._exception_response, error, request, exchange.call_async
                )
        exchange.note(response)
        is_check_djangos = type(handler).check_response is self._djangos_check
        if is_check_djangos and type(response) is HttpResponse:
            # Nothing can be wrong with it, and nothing is to be rendered.
            return response
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            response = await self._render_on_loop(request, response, exchange)
        if asyncio.iscoroutine(response):
            raise RuntimeError("Response is still a coroutine.")
        return response

    async def _render_on_loop(
        self, request: Request, response: Response, exchange: Exchange
    ) -> Any:
        lease = exchange.lease
        if self.template_hooks or not iscoroutinefunction(response.render):
            return await lease.run(self._render, request, response, exchange.call_async)
        try:
            return await response.render()
        except Exception as error:
            if not self.exception_hooks:
                raise
            return await lease.run(
                self._exception_response, error, request, exchange.call_async
            )

    async def _view_hooks_on_loop(
        self, first: int, arguments: tuple[Any, ...], exchange: Exchange
    ) -> Any:
        """Call the view hooks from the first one that waits or blocks."""
        response: Any = None
        i = first
        while i < len(self.view_hooks):
            hook = self.view_hooks[i]
            last = i
            if hook.is_async:
                response = await hook.call(*arguments)
            elif hook.blocks(*arguments[:2]):
                last = self._last_blocking_view_hook(i)
                hooks = self.view_hooks[i : last + 1]
                is_unknown = any(each.blocks is always for each in hooks)
                response = await exchange.lease.run(
                    _call_view_hooks,
                    hooks,
                    arguments,
                    pins=PINS_STATE if is_unknown else PINS_NOTHING,
                )
            else:
                response = hook.call(*arguments)
            if response:
                break
            i = last + 1
        return response

    def _last_blocking_view_hook(self, first: int) -> int:
        last = first
        for i in range(first, len(self.view_hooks)):
            hook = self.view_hooks[i]
            if hook.is_async:
                break
            if hook.blocks is always:
                last = i
        return last


class ViewHook:
    """A ``process_view``.

    Attributes:
        call: the method.
        blocks: may it block?
        is_async: it is a coroutine function.
    """

    __slots__ = ("blocks", "call", "is_async")

    def __init__(self, method: Callable[..., Any]) -> None:
        self.call = method
        self.blocks: Blocks = blocks_of(method)
        self.is_async = iscoroutinefunction(method)


def _call_view_hooks(hooks: Sequence[ViewHook], arguments: tuple[Any, ...]) -> Any:
    """Call view hooks on this thread until one answers."""
    response: Any = None
    for hook in hooks:
        response = hook.call(*arguments)
        if response:
            break
    return response


def _parts(match: Any) -> tuple[Any, Any, Any]:
    """Return the view with its arguments."""
    if type(match) is ResolverMatch:
        # Unpacked, it makes four calls.
        return match.func, match.args, match.kwargs
    callback, args, kwargs = match
    return callback, args, kwargs


async def _resolve_user(request: Request, exchange: Exchange) -> None:
    """Load what a view of a signed-in visitor could only load in a thread."""
    if read_setting("SESSION_COOKIE_NAME") in request.COOKIES and hasattr(
        request, "user"
    ):
        await exchange.lease.run(_load_user, request, pins=PINS_NOTHING)


def _load_user(request: Request) -> None:
    # Any attribute makes the lazy object look; it looks into the session first.
    _ = request.user.pk


def _methods(instances: Sequence[Any], name: str) -> tuple[Callable[..., Any], ...]:
    return tuple(getattr(each, name) for each in instances if hasattr(each, name))


def _blocking(
    function: Callable[..., Any], call_async: Callable[..., Any]
) -> Callable[..., Any]:
    """Return ``function`` as something a worker can call and wait for."""
    if not iscoroutinefunction(function):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        return call_async(_call_coroutine, function, args, kwargs)

    return call


async def _call_coroutine(function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    return await function(*args, **kwargs)


def _call(
    exchange: Exchange,
    function: Callable[..., Any],
    request: Any,
    args: Any,
    kwargs: Any,
) -> Any:
    response = function(request, *args, **kwargs)
    exchange.note(response)
    return response
