"""The dispatch plan: where each middleware runs, and in how few trips.

The middleware is loaded once. Its instances make a list of layers, from the
outermost to the view. Two walks go over the same list: ``on_worker`` does
everything on the thread it is called on, ``on_loop`` stays on the event loop and
makes trips. A sync view takes the whole rest of the list into one trip; around an
async view, hooks that only compute run inline and blocking neighbours share a
trip.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestDataTooBig
from django.core.handlers import exception as django_exception
from django.http import HttpResponseBadRequest, UnreadablePostError

from django_asgi_bridge import http
from django_asgi_bridge.exceptions import ClientDisconnected, PoolBusy
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.exchange import Exchange, exchange_of
from django_asgi_bridge.http.hooks import always
from django_asgi_bridge.http.layers import Layer
from django_asgi_bridge.http.lifecycle import closes_inline, finishes_inline
from django_asgi_bridge.http.look import look_at
from django_asgi_bridge.http.views import ViewStep
from django_asgi_bridge.http.ways import Step, come_out, go_in, way_from
from django_asgi_bridge.threads import PINS_NOTHING, PINS_STATE, drive

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Dispatcher

__all__ = ("Plan", "convert", "walk")


class Plan:
    """The layers of one handler, and the two walks over them.

    Args:
        handler: whose ``resolve_request``, ``make_view_atomic`` and so on are used.
    """

    def __init__(self, handler: Dispatcher) -> None:
        self.handler = handler
        self.set_layers(())

    def set_layers(self, layers: Sequence[Layer]) -> None:
        """Compile the plan; the links that middleware has got use it from now on.

        Args:
            layers: from the outermost middleware to the innermost.
        """
        self.layers = tuple(layers)
        self.last_async = max(
            (i for i, layer in enumerate(layers) if layer.kind == "async"),
            default=-1,
        )
        # By the number of the layer that a walk starts from.
        self.ways = tuple(way_from(self.layers, i) for i in range(len(layers) + 1))
        self.view = ViewStep(self.handler, [layer.instance for layer in layers])

    def is_whole_trip(self, is_sync_view: bool) -> bool:
        """Tell whether one trip takes a request from the first layer to the last.

        It does where all is sync, and where the outermost middleware is sync-only:
        that one holds its worker until the response anyway.
        """
        if is_sync_view and self.last_async < 0:
            return True
        return bool(self.layers) and self.layers[0].kind == "sync"

    # The worker's walk.

    def on_worker(self, request: Request, first: int, exchange: Exchange) -> Response:
        """Answer ``request`` from layer ``first`` inwards, on this thread."""
        way = self.ways[first]
        outward = way.outward
        for i, hook, _ in way.inward:
            try:
                response = hook(request)
            except Exception as error:
                response = convert(request, error)
                outward = way.outward_from(i)
                break
            if response:
                outward = way.outward_from(i + 1)
                break
        else:
            inside = way.inside
            try:
                if inside is None:
                    response = self.view.on_worker(request, exchange)
                elif inside.kind == "sync":
                    response = inside.instance(request)
                else:
                    response = exchange.call_async(inside.instance, request)
            except Exception as error:
                response = convert(request, error)
        return _unwind(request, response, outward)

    # The event loop's walk.

    async def on_loop(
        self, request: Request, first: int, exchange: Exchange
    ) -> Response:
        """Answer ``request`` from layer ``first`` inwards, on the event loop."""
        if exchange.is_sync_view and first > self.last_async:
            return await exchange.lease.run(
                self._last_trip, request, first, exchange, is_leavable=True
            )
        i = first
        while True:
            way = self.ways[i]
            i, response = go_in(request, way) if way.inward else (way.end, None)
            if response is not None:
                break
            inside = way.inside
            if i == way.end and (inside is None or inside.kind == "async"):
                try:
                    if inside is None:
                        response = await self.view.on_loop(request, exchange)
                    else:
                        response = await inside.instance(request)
                except Exception as error:
                    response = error
                break
            i, response, is_over = await self._trip_in(request, i, exchange)
            if is_over:
                break
        if i > first and not isinstance(response, Exception):
            i, response = come_out(request, response, self.ways[first], i)
        if i > first or isinstance(response, Exception):
            return await self._trips_out(request, response, first, i, exchange)
        return response

    def _last_trip(self, request: Request, first: int, exchange: Exchange) -> Response:
        """Make the trip of a sync view behind async middleware.

        Nothing outside it needs the same thread again, unless unknown hooks do; so
        the worker need not be kept for the end of the request.
        """
        response = self.on_worker(request, first, exchange)
        outside = self.layers[:first]
        if (
            not any(layer.keeps_thread() for layer in outside)
            and response is not None
            and closes_inline(exchange, response)
            and finishes_inline(exchange)
        ):
            exchange.lease.go_per_call()
        return response

    async def _trip_in(
        self, request: Request, first: int, exchange: Exchange
    ) -> tuple[int, Any, bool]:
        """Take what blocks into a trip: (layers entered, response, is over)."""
        last = self._last_blocking(first)
        if self.layers[last].kind == "sync":
            response = await exchange.lease.run(
                self.on_worker, request, first, exchange, is_leavable=True
            )
            return first, response, True
        pins = _pins(self.layers[first : last + 1], "request_blocks")
        return await exchange.lease.run(
            self._request_hooks, request, first, last, pins=pins
        )

    def _last_blocking(self, first: int) -> int:
        """Return the last layer that the trip of layer ``first`` should include."""
        last = first
        for i in range(first, len(self.layers)):
            layer = self.layers[i]
            if layer.kind != "hooks":
                return i if layer.kind == "sync" else last
            if layer.request_blocks is always:
                last = i
        return last

    def _request_hooks(
        self, request: Request, first: int, last: int
    ) -> tuple[int, Any, bool]:
        """Call request hooks on this thread: (layers entered, response, is over)."""
        for i, hook, _ in self.ways[first].inward:
            if i > last:
                break
            try:
                response = hook(request)
            except Exception as error:
                return i, convert(request, error), True
            if response:
                return i + 1, response, True
        return last + 1, None, False

    async def _trips_out(
        self, request: Request, response: Any, first: int, top: int, exchange: Exchange
    ) -> Any:
        """Go on outwards from layer ``top - 1``, which blocks or has broken."""
        way = self.ways[first]
        while True:
            if isinstance(response, Exception):
                response = await _convert_on_loop(request, response, exchange)
            top, response = come_out(request, response, way, top)
            if isinstance(response, Exception):
                continue
            if top == first:
                return response
            low = top - 1
            for i in range(low, first - 1, -1):
                if self.layers[i].response_blocks is always:
                    low = i
            hooks = [step for step in way.outward_from(top) if step[0] >= low]
            response = await exchange.lease.run(
                _unwind,
                request,
                response,
                hooks,
                pins=_pins(self.layers[low:top], "response_blocks"),
            )
            top = low

    # What middleware is given as ``get_response``.

    def link(self, inside: int, is_async: bool) -> Callable[[Request], Any]:
        """Return the innermost ``inside`` layers in the mode of a middleware."""
        return self.async_link(inside) if is_async else self.sync_link(inside)

    def sync_link(self, inside: int) -> Callable[[Request], Response]:
        """Return the innermost ``inside`` layers for a middleware built sync."""

        def get_response(request: Request) -> Response:
            first = len(self.layers) - inside
            return self.on_worker(request, first, exchange_of(request))

        return get_response

    def async_link(self, inside: int) -> Callable[[Request], Any]:
        """Return the innermost ``inside`` layers for a middleware built async."""

        async def get_response(request: Request) -> Any:
            exchange = exchange_of(request)
            answer = self.on_loop(request, len(self.layers) - inside, exchange)
            if exchange.is_driven_here():
                return await answer
            # The middleware made a task of its own for the rest of the chain.
            return await drive(contextvars.copy_context(), answer)

        return get_response


def walk(
    plan: Plan, request: Request, exchange: Exchange, urlconf: Any
) -> Awaitable[Response]:
    """Run the plan; in one trip where everything is sync.

    Args:
        urlconf: that of a request that names none.
    """
    urlconf = getattr(request, "urlconf", None) or urlconf
    look = exchange.look
    if look is None or not look.leads(request.path_info, urlconf):
        policy = exchange.config.on_disconnect
        exchange.see(look_at(request.path_info, urlconf, policy))
    lease = exchange.lease
    if lease.is_direct and plan.is_whole_trip(exchange.is_sync_view):
        return lease.run(_whole_trip, plan, request, exchange)
    return plan.on_loop(request, 0, exchange)


def _whole_trip(plan: Plan, request: Request, exchange: Exchange) -> Response:
    """Do everything on the worker, and end the lease where that is all."""
    response = exchange.response = plan.on_worker(request, 0, exchange)
    if response.status_code >= 400:
        http.answers.log(request, response)
    if closes_inline(exchange, response) and finishes_inline(exchange):
        exchange.is_settled = True
        exchange.lease.is_closed = True
    return response


def _unwind(request: Request, response: Any, hooks: Iterable[Step]) -> Any:
    """Call response hooks on this thread, from the innermost."""
    for _, hook, _ in hooks:
        try:
            response = hook(request, response)
        except Exception as error:
            response = convert(request, error)
    return response


def convert(request: Request, error: Exception) -> Response:
    """Turn an exception into the response that Django has for it.

    Runs blocking code: error views render templates, log records may be mailed.
    """
    if isinstance(error, PoolBusy):
        raise error
    if isinstance(error, _LEFT) and exchange_of(request).is_disconnected:
        # Nobody reads the response, and nothing is wrong with the site.
        gone: Response = HttpResponseBadRequest()
        gone._has_been_logged = True
        return gone
    try:
        raise error
    except Exception:
        # Inside the except block, since Django asks sys.exc_info().
        response: Response = django_exception.response_for_exception(request, error)
    if isinstance(error, RequestDataTooBig):
        _say_too_large(request, response)
    return response


_LEFT = (ClientDisconnected, UnreadablePostError)


def _say_too_large(request: Request, response: Response) -> None:
    """Make a 413 of Django's 400 (RFC 9110 section 15.5.14)."""
    # Imported late: Django's own handler loads it with the first error, too.
    from django.views.defaults import ERROR_PAGE_TEMPLATE  # noqa: PLC0415

    response.status_code = 413
    if getattr(request, "http_version", "2") < "2":
        # The rest of the body was not read.
        response.headers["Connection"] = "close"
    own_page = ERROR_PAGE_TEMPLATE % {"title": "Bad Request (400)", "details": ""}
    if response.content == own_page.encode():
        response.content = ERROR_PAGE_TEMPLATE % {
            "title": "Content Too Large (413)",
            "details": "",
        }


async def _convert_on_loop(
    request: Request, error: Exception, exchange: Exchange
) -> Response:
    if isinstance(error, PoolBusy):
        raise error
    return await exchange.lease.run_promptly(convert, request, error)


def _pins(layers: Sequence[Layer], blocks: str) -> int:
    is_unknown = any(getattr(layer, blocks) is always for layer in layers)
    return PINS_STATE if is_unknown else PINS_NOTHING
