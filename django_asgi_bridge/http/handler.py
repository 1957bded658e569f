"""``ASGIHandler``: one HTTP request from scope to last byte.

Read ``ASGIHandler._answer`` for the walk of a request; each step is a room of its
own: the body (``body``), the signals (``lifecycle``), the middleware and the view
(``plan``), the response (``response``).

It never raises for what a client sent, and opens no thread by itself.

Specification: ASGI HTTP 2.5.
"""

import asyncio
import contextvars
import logging
import sys
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from django.core.exceptions import BadRequest, RequestAborted
from django.core.handlers import base as django_base
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.http import HttpResponseBadRequest
from django.urls import get_resolver

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import get_config, read_setting
from django_asgi_bridge.exceptions import ClientDisconnected, LifespanError, PoolBusy
from django_asgi_bridge.http import answers
from django_asgi_bridge.http.apart import answer_apart
from django_asgi_bridge.http.arrival import open_body
from django_asgi_bridge.http.body import (
    pieces_of,
    spool,
)
from django_asgi_bridge.http.delivery import deliver, deliver_last
from django_asgi_bridge.http.djangos import Request, Response, iscoroutinefunction
from django_asgi_bridge.http.ending import finish, finish_now
from django_asgi_bridge.http.exchange import (
    Exchange,
    current_exchange,
    exchange_of,
)
from django_asgi_bridge.http.hooks import is_from
from django_asgi_bridge.http.layers import LayerRecorder
from django_asgi_bridge.http.lifecycle import (
    closes_inline,
    finishes_inline,
    fire_started,
)
from django_asgi_bridge.http.look import look_at
from django_asgi_bridge.http.place import (
    script_prefix,
    use_script_prefix,
    use_urlconf,
)
from django_asgi_bridge.http.plan import Plan
from django_asgi_bridge.http.quota import Quota
from django_asgi_bridge.http.request import ASGIRequest
from django_asgi_bridge.http.response import send_response
from django_asgi_bridge.lifespan import Lifespan, app_hooks, find_hooks
from django_asgi_bridge.protocol.request import Refusal, check_request, split_path
from django_asgi_bridge.threads import drive, new_lease, run_apart
from django_asgi_bridge.types import Receive, Scope, Send

__all__ = ("ASGIHandler", "ASGIRequest")

logger = logging.getLogger("django.request")

_ASGI = "django.core.handlers.asgi"
_BASE = "django.core.handlers.base"

MAX_REPEATS = 100
"""Empty ``http.request`` events after the body before the watch gives up."""


class ASGIHandler(DjangoASGIHandler):
    """Django's ASGI handler, with leased workers, streaming and cleanup.

    Overridable in the same places as Django's.
    """

    request_class = ASGIRequest

    # Made when they are first needed: subclasses such as ASGIStaticFilesHandler
    # do not call our __init__, or load no middleware.

    @cached_property
    def plan(self) -> Plan:
        """How a request is dispatched."""
        return Plan(self)

    @cached_property
    def lifespan(self) -> Lifespan:
        """The startup and shutdown hooks of the project and its apps."""
        config = get_config()
        return Lifespan(
            [*app_hooks(), *find_hooks(config.lifespan)],
            timeout=config.lifespan_timeout,
            run_sync=run_apart,
        )

    @cached_property
    def upload_places(self) -> Quota:
        """The workers that may wait for body bytes: a quarter of the pool."""
        return Quota(max(1, get_config().threads // 4))

    @cached_property
    def stream_places(self) -> Quota:
        """The responses with a sync iterator that may be under way."""
        return Quota(get_config().max_sync_streams)

    def reads_lazily(self) -> bool:
        """Tell whether no unknown code runs on the event loop before a sync view."""
        return self.plan.last_async < 0

    @cached_property
    def _shielded(self) -> "set[asyncio.Task[None]]":
        return set()

    # Loading.

    def load_middleware(self, is_async: bool = False) -> None:
        """Load ``MIDDLEWARE`` by Django's own code and compile the plan from it."""
        self.plan.set_layers(())
        self._recorder = LayerRecorder(self.plan.link)
        super().load_middleware(is_async=is_async)
        self._middleware_chain = self._dispatch
        self.plan.set_layers(self._recorder.layers())

    def adapt_method_mode(
        self,
        is_async: bool,
        method: Any,
        method_is_async: bool | None = None,
        debug: bool = False,
        name: str | None = None,
    ) -> Any:
        """Give each middleware a link of the plan in place of the adapted chain.

        Django calls this with ``method_is_async`` for the chain, from the view
        outwards, and without it for the hooks.
        """
        adapted = super().adapt_method_mode(
            is_async, method, method_is_async, debug, name
        )
        if method_is_async is None:
            return adapted
        return self._recorder.adapted(is_async, method, name)

    # One request.

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request.

        Raises:
            ValueError: the scope is not an HTTP request's.
        """
        if scope["type"] != "http":
            raise ValueError(
                f"Django can only handle ASGI/HTTP connections, not {scope['type']}."
            )
        if is_from(DjangoASGIHandler.__call__, _ASGI):
            await self.handle(scope, receive, send)
        else:
            # A monitoring tool replaced Django's method and wants to be called.
            await super().__call__(dict(scope), receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, in a copy of the calling context."""
        exchange = self._open(scope, receive, send)
        if exchange.look is None or exchange.look.policy != "shield":
            await self._serve(exchange)
            return
        task = asyncio.get_running_loop().create_task(self._serve(exchange))
        self._shielded.add(task)
        task.add_done_callback(self._shielded.discard)
        await asyncio.shield(task)

    async def _serve(self, exchange: Exchange) -> None:
        exchange.task = asyncio.current_task()
        context = contextvars.copy_context()
        try:
            await drive(context, self._answer(exchange), exchange.on_wait)
            await deliver_last(exchange)
        except asyncio.CancelledError:
            if not exchange.take_cancel():
                raise
            if exchange.listener_error is not None:
                raise exchange.listener_error from None
        except ClientDisconnected:
            logger.debug("the client left: %s", exchange.scope["path"])
        finally:
            if exchange.has_waited:
                exchange.stop_listening()
                exchange.take_cancel()
            if not exchange.is_answered:
                # Nothing may be sent from the background any more.
                exchange.is_disconnected = True
            context = exchange.lease.free(context)
            if exchange.is_answered and not context.run(finish_now, exchange):
                await drive(context, finish(exchange, type(self)))

    async def _answer(self, exchange: Exchange) -> None:
        """Do everything of a request but its last event and what follows that."""
        try:
            exchange.lease.enter()
            if self.lifespan.needs_start:
                await self._start_lazily(exchange)
            body = await open_body(self, exchange)
            if body is not None:
                use_script_prefix(exchange.prefix)
                await fire_started(exchange, type(self))
                exchange.response = await self._respond(exchange, body)
            elif exchange.refusal is not None:
                exchange.response = answers.refused(exchange.refusal, exchange.scope)
            if exchange.response is not None:
                await deliver(self, exchange)
        except GeneratorExit:
            # The task is thrown away with its loop: nothing can be awaited.
            raise
        except BaseException:
            exchange.stop_listening()
            await finish(exchange, type(self))
            raise
        exchange.is_answered = True
        if asyncio.current_task() is not exchange.task:
            # In the background, after a cancellation that somebody recovered from:
            # the task that would end the request has left.
            await finish(exchange, type(self))

    # Its steps.

    def _open(self, scope: Scope, receive: Receive, send: Send) -> Exchange:
        """Check the scope and have an early look at the URL."""
        config = get_config()
        exchange = Exchange(
            scope, receive, send, new_lease(), config, self.listen_for_disconnect
        )
        exchange.refusal = check_request(
            scope,
            max_headers=config.max_headers,
            max_header_bytes=config.max_header_bytes,
            strict_paths=config.strict_paths,
        )
        if exchange.refusal is None:
            prefix = exchange.prefix = script_prefix(scope)
            _, path_info = split_path(scope["path"], prefix)
            urlconf = getattr(self.request_class, "urlconf", None)
            exchange.see(look_at(path_info, urlconf, config.on_disconnect))
        return exchange

    async def _start_lazily(self, exchange: Exchange) -> None:
        """Run the startup hooks where the server has no lifespan of its own."""
        try:
            await self.lifespan.ensure_started()
        except LifespanError as error:
            exchange.refusal = Refusal(503, str(error))
            return
        state = self.lifespan.request_state(exchange.scope)
        exchange.scope = {**exchange.scope, "state": state}

    async def _respond(self, exchange: Exchange, body: Any) -> Response:
        try:
            request, error_response = self.create_request(exchange.scope, body)
        except BadRequest as error:
            logger.warning(
                "Bad Request: %s", error, extra={"status_code": 400}, exc_info=True
            )
            request, error_response = None, HttpResponseBadRequest()
        if request is None:
            body.close()
            return error_response
        exchange.request = request
        vars(request)["_bridge_exchange"] = exchange
        try:
            response: Response = await self.run_get_response(request)
        except PoolBusy as error:
            response = answers.busy(error, request)
        except Exception:
            if settings.DEBUG_PROPAGATE_EXCEPTIONS:
                raise
            logger.exception("no response for %s", request.path)
            response = self.last_chance(request)
        if exchange.refusal is not None and not exchange.is_disconnected:
            # The body turned out to be too large or too slow in mid-view.
            exchange.note(response)
            response = answers.refused(exchange.refusal, exchange.scope)
        return response

    def last_chance(self, request: Request) -> Response:
        """Return the response for a request whose error page failed too."""
        exc_info: Any = sys.exc_info()
        response: Response = self.handle_uncaught_exception(
            request, get_resolver(None), exc_info
        )
        response._resource_closers.append(request.close)
        response._handler_class = type(self)
        return response

    async def get_response_async(self, request: Request) -> Response:
        """Run middleware and view; see ``BaseHandler.get_response_async``."""
        exchange = vars(request).get("_bridge_exchange") or current_exchange()
        if exchange is None:
            return await answer_apart(self, request)
        if not is_from(django_base.BaseHandler.get_response_async, _BASE):
            return await super().get_response_async(request)
        use_urlconf(read_setting("ROOT_URLCONF"))
        response: Response = await self._dispatch(request)
        response._resource_closers.append(request.close)
        if response.status_code >= 400 and not answers.is_logged(response):
            lease = exchange_of(request).lease
            await lease.run_promptly(answers.log, request, response)
        return response

    async def _dispatch(self, request: Request) -> Response:
        """Run the plan: in one trip where everything is sync."""
        exchange = exchange_of(request)
        urlconf = getattr(request, "urlconf", None) or read_setting("ROOT_URLCONF")
        look = exchange.look
        if look is None or not look.leads(request.path_info, urlconf):
            policy = exchange.config.on_disconnect
            exchange.see(look_at(request.path_info, urlconf, policy))
        lease = exchange.lease
        if lease.is_direct and self.plan.is_whole_trip(exchange.is_sync_view):
            return await lease.run(self._whole_trip, request, exchange)
        return await self.plan.on_loop(request, 0, exchange)

    def _whole_trip(self, request: Request, exchange: Exchange) -> Response:
        """Do everything on the worker, and end the lease where that is all."""
        response = exchange.response = self.plan.on_worker(request, 0, exchange)
        if response.status_code >= 400:
            answers.log(request, response)
        if closes_inline(exchange, response) and finishes_inline(exchange):
            exchange.is_settled = True
            exchange.lease.is_closed = True
        return response

    def resolve_request(self, request: Request) -> Any:
        """Resolve the URL, by what the early look found where that still holds."""
        look = getattr(getattr(request, "_bridge_exchange", None), "look", None)
        if look is not None and look.holds_for(request):
            request.resolver_match = look.match
            return look.match
        return super().resolve_request(request)

    def make_view_atomic(self, view: Any) -> Any:
        """Wrap a view for ``ATOMIC_REQUESTS``; see ``ATOMIC_ASYNC_VIEWS``."""
        if get_config().atomic_async_views and iscoroutinefunction(view):
            # Few sites ask for it; the others do not pay for that room.
            from django_asgi_bridge.db import atomic_view  # noqa: PLC0415

            return atomic_view(view)
        return super().make_view_atomic(view)

    # The response.

    async def send_response(self, response: Response, send: Any) -> None:
        """Send a response; its last event follows when this has returned."""
        exchange = current_exchange()
        if exchange is None:
            await super().send_response(response, send)
        else:
            await send_response(self, exchange, response)

    # Django's other doors.

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Wait for the client to leave.

        Raises:
            RequestAborted: it left.
            AssertionError: the server sent something that may not come here.
        """
        for _ in range(MAX_REPEATS):
            message: Any = await receive()
            kind = message.get("type") if isinstance(message, Mapping) else None
            if kind == "http.disconnect":
                raise RequestAborted
            if kind != "http.request" or message.get("body"):
                raise AssertionError(
                    "Invalid ASGI message after request body: "
                    f"{message if kind is None else kind}"
                )
            # Some servers repeat the end of the body.
            await asyncio.sleep(0)
        logger.warning(
            "the server repeats the end of the request body: whether the client of "
            "this request leaves is watched no longer"
        )

    async def read_body(self, receive: Receive) -> Any:
        """Read a whole body, whatever its size, into a spooled file."""
        return await spool(pieces_of(receive))
