"""The dispatch plan: where each middleware runs, and in how few trips.

The middleware is loaded once. Its instances make a list of layers, from the
outermost to the view. Two walks go over the same list: ``on_worker`` does
everything on the thread it is called on, ``on_loop`` stays on the event loop and
makes trips. A sync view takes the whole rest of the list into one trip; around an
async view, hooks that only compute run inline and blocking neighbours share a
trip.
"""

import asyncio
import contextvars
import enum
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django.core.handlers import base as django_base
from django.core.handlers import exception as django_exception
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.deprecation import MiddlewareMixin

from django_asgi_bridge.exceptions import PoolBusy
from django_asgi_bridge.http.exchange import Exchange, exchange_of
from django_asgi_bridge.http.hooks import Blocks, always, blocks_of, is_from, never
from django_asgi_bridge.threads import PINS_NOTHING, PINS_STATE, drive

if TYPE_CHECKING:
    from django_asgi_bridge.http.handler import ASGIHandler

__all__ = ("Kind", "Layer", "Plan", "convert", "make_layer")


class Kind(enum.Enum):
    """How a middleware is called."""

    HOOKS = "hooks"
    """By its ``process_request`` and ``process_response``, in either walk."""

    SYNC = "sync"
    """By its ``__call__``, on a worker."""

    ASYNC = "async"
    """By its coroutine, on the event loop."""


@dataclass(slots=True, eq=False)
class Layer:
    """One middleware of the plan.

    Attributes:
        name: the dotted path of the settings.
        instance: what the middleware's factory returned.
        kind: how it is called.
        request_hook: its ``process_request``, for ``Kind.HOOKS``.
        request_blocks: may that block?
        response_hook: its ``process_response``, for ``Kind.HOOKS``.
        response_blocks: may that block?
    """

    name: str
    instance: Any
    kind: Kind
    request_hook: Callable[..., Any] | None = None
    request_blocks: Blocks = never
    response_hook: Callable[..., Any] | None = None
    response_blocks: Blocks = never


def make_layer(name: str, instance: Any, get_response: Any, is_async: bool) -> Layer:
    """Look at a middleware instance and tell how to call it.

    Args:
        get_response: what the factory was given; a middleware that kept
            something else is called as it is.
        is_async: the mode it was built in.
    """
    inner = _peel(instance)
    if not is_async or not _is_plain_mixin(inner, get_response):
        return Layer(name, instance, Kind.ASYNC if is_async else Kind.SYNC)
    request_hook = getattr(instance, "process_request", None)
    response_hook = getattr(instance, "process_response", None)
    return Layer(
        name,
        instance,
        Kind.HOOKS,
        request_hook,
        blocks_of(request_hook) if request_hook else never,
        response_hook,
        blocks_of(response_hook) if response_hook else never,
    )


def _is_plain_mixin(instance: Any, get_response: Any) -> bool:
    cls = type(instance)
    return (
        isinstance(instance, MiddlewareMixin)
        and cls.__call__ is MiddlewareMixin.__call__
        and cls.__acall__ is MiddlewareMixin.__acall__
        and instance.get_response is get_response
    )


def _peel(instance: Any) -> Any:
    """Return the middleware inside Sentry's wrapper, whose hooks have spans too."""
    call = getattr(type(instance), "__call__", None)
    if is_from(call, "sentry_sdk.integrations.django.middleware"):
        return getattr(instance, "_inner", instance)
    return instance


class Plan:
    """The layers of one handler, and the two walks over them.

    Args:
        handler: whose ``resolve_request``, ``make_view_atomic`` and so on are used.
    """

    def __init__(self, handler: "ASGIHandler") -> None:
        self.handler = handler
        self.set_layers(())

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Compile the plan; the links that middleware has got use it from now on.

        Args:
            layers: from the outermost middleware to the innermost.
        """
        self.layers = tuple(layers)
        self.last_async = max(
            (i for i, layer in enumerate(layers) if layer.kind is Kind.ASYNC),
            default=-1,
        )
        instances = [layer.instance for layer in layers]
        self.view_hooks = _methods(instances, "process_view")
        self.template_hooks = _methods(instances[::-1], "process_template_response")
        self.exception_hooks = _methods(instances[::-1], "process_exception")
        self._view_blocks = tuple(blocks_of(hook) for hook in self.view_hooks)

    # The worker's walk.

    def on_worker(
        self, request: HttpRequest, first: int, exchange: Exchange
    ) -> HttpResponseBase:
        """Answer ``request`` from layer ``first`` inwards, on this thread."""
        layers = self.layers
        response: Any = None
        i = first
        while i < len(layers):
            layer = layers[i]
            if layer.kind is not Kind.HOOKS:
                try:
                    if layer.kind is Kind.SYNC:
                        response = layer.instance(request)
                    else:
                        response = exchange.lease.call_async(layer.instance, request)
                except Exception as error:
                    response = convert(request, error)
                break
            i += 1
            if layer.request_hook is not None:
                try:
                    response = layer.request_hook(request)
                except Exception as error:
                    response = convert(request, error)
                    i -= 1
                    break
                if response:
                    break
        else:
            try:
                response = self._view_on_worker(request, exchange)
            except Exception as error:
                response = convert(request, error)
        return self._unwind(request, response, i, first)

    def _unwind(
        self, request: HttpRequest, response: Any, top: int, bottom: int
    ) -> Any:
        """Call the response hooks of layers ``top - 1`` down to ``bottom``."""
        for i in range(top - 1, bottom - 1, -1):
            hook = self.layers[i].response_hook
            if hook is not None:
                try:
                    response = hook(request, response)
                except Exception as error:
                    response = convert(request, error)
        return response

    def _view_on_worker(self, request: HttpRequest, exchange: Exchange) -> Any:
        handler = self.handler
        call_async = exchange.lease.call_async
        callback, args, kwargs = handler.resolve_request(request)
        response: Any = None
        for hook in self.view_hooks:
            call = _blocking(hook, call_async)
            response = call(request, callback, args, kwargs)
            if response:
                break
        if response is None:
            view = handler.make_view_atomic(callback)
            try:
                response = _blocking(view, call_async)(request, *args, **kwargs)
            except Exception as error:
                response = self._exception_response(error, request, call_async)
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            response = self._render(request, response, call_async)
        return response

    def _exception_response(
        self, error: Exception, request: HttpRequest, call_async: Callable[..., Any]
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
        self, request: HttpRequest, response: Any, call_async: Callable[..., Any]
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

    # The event loop's walk.

    async def on_loop(
        self, request: HttpRequest, first: int, exchange: Exchange
    ) -> HttpResponseBase:
        """Answer ``request`` from layer ``first`` inwards, on the event loop."""
        layers = self.layers
        end = len(layers)
        trip_at = self.last_async + 1 if exchange.is_sync_view else end + 1
        response: Any = None
        i = first
        while True:
            if i >= trip_at:
                response = await exchange.lease.run(
                    self.on_worker, request, i, exchange
                )
                break
            if i == end:
                try:
                    response = await self._view_on_loop(request, exchange)
                except Exception as error:
                    response = await _convert_on_loop(request, error, exchange)
                break
            layer = layers[i]
            if layer.kind is Kind.ASYNC:
                try:
                    response = await layer.instance(request)
                except Exception as error:
                    response = await _convert_on_loop(request, error, exchange)
                break
            if layer.kind is Kind.SYNC or layer.request_blocks(request, None):
                last = self._last_blocking(i)
                if layers[last].kind is Kind.SYNC:
                    response = await exchange.lease.run(
                        self.on_worker, request, i, exchange
                    )
                    break
                i, response, is_over = await exchange.lease.run(
                    self._request_hooks,
                    request,
                    i,
                    last,
                    pins=_pins(layers[i : last + 1], "request_blocks"),
                )
            else:
                i, response, is_over = await self._request_hook(request, i, exchange)
            if is_over:
                break
        return await self._unwind_on_loop(request, response, i, first, exchange)

    def _last_blocking(self, first: int) -> int:
        """Return the last layer that the trip of layer ``first`` should include."""
        last = first
        for i in range(first, len(self.layers)):
            layer = self.layers[i]
            if layer.kind is not Kind.HOOKS:
                return i if layer.kind is Kind.SYNC else last
            if layer.request_blocks is always:
                last = i
        return last

    def _request_hooks(
        self, request: HttpRequest, first: int, last: int
    ) -> tuple[int, Any, bool]:
        """Call request hooks on this thread: (layers entered, response, is over)."""
        for i in range(first, last + 1):
            hook = self.layers[i].request_hook
            if hook is None:
                continue
            try:
                response = hook(request)
            except Exception as error:
                return i, convert(request, error), True
            if response:
                return i + 1, response, True
        return last + 1, None, False

    async def _request_hook(
        self, request: HttpRequest, i: int, exchange: Exchange
    ) -> tuple[int, Any, bool]:
        """Call one request hook inline."""
        hook = self.layers[i].request_hook
        if hook is None:
            return i + 1, None, False
        try:
            response = hook(request)
        except Exception as error:
            return i, await _convert_on_loop(request, error, exchange), True
        return i + 1, response, bool(response)

    async def _unwind_on_loop(
        self,
        request: HttpRequest,
        response: Any,
        top: int,
        bottom: int,
        exchange: Exchange,
    ) -> Any:
        i = top
        while i > bottom:
            i -= 1
            layer = self.layers[i]
            hook = layer.response_hook
            if hook is None:
                continue
            if response is not None and layer.response_blocks(request, response):
                low = i
                for k in range(i, bottom - 1, -1):
                    if self.layers[k].response_blocks is always:
                        low = k
                response = await exchange.lease.run(
                    self._unwind,
                    request,
                    response,
                    i + 1,
                    low,
                    pins=_pins(self.layers[low : i + 1], "response_blocks"),
                )
                i = low
                continue
            try:
                response = hook(request, response)
            except Exception as error:
                response = await _convert_on_loop(request, error, exchange)
        return response

    async def _view_on_loop(self, request: HttpRequest, exchange: Exchange) -> Any:
        handler = self.handler
        lease = exchange.lease
        callback, args, kwargs = handler.resolve_request(request)
        response: Any = None
        if self.view_hooks:
            response = await self._view_hooks_on_loop(
                request, callback, args, kwargs, exchange
            )
        if response is None:
            view = handler.make_view_atomic(callback)
            try:
                if django_base.iscoroutinefunction(view):
                    response = await view(request, *args, **kwargs)
                else:
                    response = await lease.run(_call, view, request, args, kwargs)
            except Exception as error:
                if not self.exception_hooks:
                    raise
                response = await lease.run(
                    self._exception_response, error, request, lease.call_async
                )
        handler.check_response(response, callback)
        if callable(getattr(response, "render", None)):
            if not self.template_hooks and django_base.iscoroutinefunction(
                response.render
            ):
                response = await response.render()
            else:
                response = await lease.run(
                    self._render, request, response, lease.call_async
                )
        if asyncio.iscoroutine(response):
            raise RuntimeError("Response is still a coroutine.")
        return response

    async def _view_hooks_on_loop(
        self,
        request: HttpRequest,
        callback: Any,
        args: Any,
        kwargs: Any,
        exchange: Exchange,
    ) -> Any:
        i = 0
        while i < len(self.view_hooks):
            hook = self.view_hooks[i]
            if django_base.iscoroutinefunction(hook):
                last = i
                response = await hook(request, callback, args, kwargs)
            elif self._view_blocks[i](request, callback):
                last = self._last_blocking_view_hook(i)
                response = await exchange.lease.run(
                    self._view_hooks_on_worker,
                    (i, last),
                    (request, callback, args, kwargs),
                    pins=(
                        PINS_STATE
                        if always in self._view_blocks[i : last + 1]
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
            if django_base.iscoroutinefunction(self.view_hooks[i]):
                break
            if self._view_blocks[i] is always:
                last = i
        return last

    def _view_hooks_on_worker(self, span: tuple[int, int], arguments: Any) -> Any:
        for hook in self.view_hooks[span[0] : span[1] + 1]:
            response = hook(*arguments)
            if response:
                return response
        return None

    # What middleware is given as ``get_response``.

    def sync_link(self, inside: int) -> Callable[[HttpRequest], HttpResponseBase]:
        """Return the innermost ``inside`` layers for a middleware built sync."""

        def get_response(request: HttpRequest) -> HttpResponseBase:
            first = len(self.layers) - inside
            return self.on_worker(request, first, exchange_of(request))

        return get_response

    def async_link(self, inside: int) -> Callable[[HttpRequest], Any]:
        """Return the innermost ``inside`` layers for a middleware built async."""

        async def get_response(request: HttpRequest) -> Any:
            exchange = exchange_of(request)
            answer = self.on_loop(request, len(self.layers) - inside, exchange)
            if exchange.is_driven_here():
                return await answer
            # The middleware made a task of its own for the rest of the chain.
            return await drive(contextvars.copy_context(), answer)

        return get_response


def convert(request: HttpRequest, error: Exception) -> HttpResponseBase:
    """Turn an exception into the response that Django has for it.

    Runs blocking code: error views render templates, log records may be mailed.
    """
    if isinstance(error, PoolBusy):
        raise error
    try:
        raise error
    except Exception:
        # Inside the except block, since Django asks sys.exc_info().
        response: HttpResponseBase = django_exception.response_for_exception(
            request, error
        )
    if isinstance(error, django_exception.RequestDataTooBig):
        # RFC 9110 section 15.5.14.
        response.status_code = 413
    return response


async def _convert_on_loop(
    request: HttpRequest, error: Exception, exchange: Exchange
) -> HttpResponseBase:
    if isinstance(error, PoolBusy):
        raise error
    return await exchange.lease.run(convert, request, error)


def _methods(instances: Sequence[Any], name: str) -> tuple[Callable[..., Any], ...]:
    return tuple(getattr(each, name) for each in instances if hasattr(each, name))


def _blocking(
    function: Callable[..., Any], call_async: Callable[..., Any]
) -> Callable[..., Any]:
    """Return ``function`` as something a worker can call and wait for."""
    if not django_base.iscoroutinefunction(function):
        return function

    def call(*args: Any, **kwargs: Any) -> Any:
        return call_async(_call_coroutine, function, args, kwargs)

    return call


async def _call_coroutine(
    function: Callable[..., Any], args: Any, kwargs: Any
) -> Any:
    return await function(*args, **kwargs)


def _call(function: Callable[..., Any], request: Any, args: Any, kwargs: Any) -> Any:
    return function(request, *args, **kwargs)


def _pins(layers: Sequence[Layer], blocks: str) -> int:
    is_unknown = any(getattr(layer, blocks) is always for layer in layers)
    return PINS_STATE if is_unknown else PINS_NOTHING
