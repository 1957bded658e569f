"""The innermost step of the plan: the view and the hooks right around it.

Resolve, view hooks, the view, exception hooks, template hooks and rendering; once
for a worker and once for the event loop. What both decide stands in one place.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from django.http import HttpResponse
from django.urls import ResolverMatch

from django_asgi_bridge.conf import read_setting
from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.contracts import Dispatcher
from django_asgi_bridge.http.djangos import Request, Response, iscoroutinefunction
from django_asgi_bridge.http.exchange import Exchange
from django_asgi_bridge.http.hooks import always, blocks_of, is_from
from django_asgi_bridge.threads import PINS_NOTHING, PINS_STATE

__all__ = ("ViewStep",)


class ViewStep:
    """Calls the view of a request.

    Args:
        handler: whose ``resolve_request``, ``make_view_atomic`` and
            ``check_response`` are used.
        instances: the middleware, from the outermost inwards.
    """

    def __init__(self, handler: Dispatcher, instances: Sequence[Any]) -> None:
        self.handler = handler
        self.view_hooks = _methods(instances, "process_view")
        self.template_hooks = _methods(instances[::-1], "process_template_response")
        self.exception_hooks = _methods(instances[::-1], "process_exception")
        self.view_blocks = tuple(blocks_of(hook) for hook in self.view_hooks)
        self.async_view_hooks = tuple(
            iscoroutinefunction(hook) for hook in self.view_hooks
        )

    def on_worker(self, request: Request, exchange: Exchange) -> Any:
        """Resolve and answer ``request`` on this thread."""
        handler = self.handler
        call_async = exchange.call_async
        callback, args, kwargs = _parts(handler.resolve_request(request))
        response: Any = None
        for hook in self.view_hooks:
            call = _blocking(hook, call_async)
            response = call(request, callback, args, kwargs)
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
        if self._needs_no_check(response):
            return response
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            response = self._render(request, response, call_async)
        return response

    def _needs_no_check(self, response: object) -> bool:
        """Tell whether nothing can be wrong with it, and nothing is to be rendered."""
        return type(response) is HttpResponse and is_from(
            type(self.handler).check_response, "django.core.handlers.base"
        )

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
        if self.view_hooks:
            response = await self._view_hooks_on_loop(
                request, callback, args, kwargs, exchange
            )
        if response is None:
            view = handler.make_view_atomic(callback)
            try:
                marks = exchange.marks_of(callback)
                if marks.is_async if view is callback else iscoroutinefunction(view):
                    if exchange.config.resolve_user or marks.resolves_user:
                        await _resolve_user(request, exchange)
                    response = await view(request, *args, **kwargs)
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
        if self._needs_no_check(response):
            return response
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            if not self.template_hooks and iscoroutinefunction(response.render):
                response = await self._render_on_loop(request, response, exchange)
            else:
                response = await lease.run(
                    self._render, request, response, exchange.call_async
                )
        if asyncio.iscoroutine(response):
            raise RuntimeError("Response is still a coroutine.")
        return response

    async def _render_on_loop(
        self, request: Request, response: Response, exchange: Exchange
    ) -> Any:
        lease = exchange.lease
        try:
            return await response.render()
        except Exception as error:
            if not self.exception_hooks:
                raise
            return await lease.run(
                self._exception_response, error, request, exchange.call_async
            )

    async def _view_hooks_on_loop(
        self,
        request: Request,
        callback: Any,
        args: Any,
        kwargs: Any,
        exchange: Exchange,
    ) -> Any:
        i = 0
        while i < len(self.view_hooks):
            hook = self.view_hooks[i]
            if self.async_view_hooks[i]:
                last = i
                response = await hook(request, callback, args, kwargs)
            elif self.view_blocks[i](request, callback):
                last = self._last_blocking_view_hook(i)
                response = await exchange.lease.run(
                    self._view_hooks_on_worker,
                    (i, last),
                    (request, callback, args, kwargs),
                    pins=(
                        PINS_STATE
                        if always in self.view_blocks[i : last + 1]
                        else PINS_NOTHING
                    ),
                )
            else:
                last = i
                response = hook(request, callback, args, kwargs)
            if response:
                return response
            i = last + 1
        return None

    def _last_blocking_view_hook(self, first: int) -> int:
        last = first
        for i in range(first, len(self.view_hooks)):
            if self.async_view_hooks[i]:
                break
            if self.view_blocks[i] is always:
                last = i
        return last

    def _view_hooks_on_worker(self, span: tuple[int, int], arguments: Any) -> Any:
        for hook in self.view_hooks[span[0] : span[1] + 1]:
            response = hook(*arguments)
            if response:
                return response
        return None


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
