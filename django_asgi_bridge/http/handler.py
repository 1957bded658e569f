"""``ASGIHandler``: one HTTP request from scope to last byte.

Read ``ASGIHandler._answer`` for the walk of a request; each step is a room of its
own: the body (``body``), the signals (``lifecycle``), the middleware and the view
(``plan``), the response (``response``).

It never raises for what a client sent, and opens no thread by itself.

Specification: ASGI HTTP 2.5.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import Awaitable, Coroutine
from functools import cached_property
from operator import itemgetter
from threading import Semaphore
from typing import Any

from django.core.exceptions import BadRequest
from django.core.handlers import base as django_base
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.db import connections
from django.http import FileResponse, HttpResponseBadRequest
from django.urls import get_resolver

from django_asgi_bridge import http
from django_asgi_bridge.conf import django_settings, get_config, read_setting
from django_asgi_bridge.exceptions import ClientDisconnected, LifespanError, PoolBusy
from django_asgi_bridge.http.arrival import open_body, open_exchange
from django_asgi_bridge.http.djangos import Request, Response, iscoroutinefunction
from django_asgi_bridge.http.ending import finish, finish_now
from django_asgi_bridge.http.exchange import Exchange, current_exchange, exchange_of
from django_asgi_bridge.http.hooks import is_from, unless_patched
from django_asgi_bridge.http.incoming import wait_for_disconnect
from django_asgi_bridge.http.layers import LayerRecorder
from django_asgi_bridge.http.lifecycle import fire_started, start_inline
from django_asgi_bridge.http.place import use_script_prefix, use_urlconf
from django_asgi_bridge.http.plan import Plan, walk
from django_asgi_bridge.http.request import ASGIRequest
from django_asgi_bridge.http.response import send_response
from django_asgi_bridge.lifespan import Lifespan, app_hooks, find_hooks
from django_asgi_bridge.protocol.request import Refusal
from django_asgi_bridge.threads import drive, raising, run_apart
from django_asgi_bridge.types import Receive, Scope, Send

__all__ = ("ASGIHandler", "ASGIRequest")

logger = logging.getLogger("django.request")

_Serving = Coroutine[Any, Any, None]
_wants_atomic = itemgetter("ATOMIC_REQUESTS")
_ASGI = "django.core.handlers.asgi"
_BASE = "django.core.handlers.base"
_DJANGOS_CALL = unless_patched(DjangoASGIHandler.__call__, _ASGI)


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
    def upload_places(self) -> Semaphore:
        """The workers that may wait for body bytes: a quarter of the pool."""
        return Semaphore(max(1, get_config().threads // 4))

    @cached_property
    def stream_places(self) -> Semaphore:
        """The responses with a sync iterator that may be under way."""
        return Semaphore(get_config().max_sync_streams)

    def reads_lazily(self) -> bool:
        """Tell whether no unknown code runs on the event loop before a sync view."""
        return self.plan.last_async < 0

    @cached_property
    def _shielded(self) -> set[asyncio.Task[None]]:
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

        Django gives ``method_is_async`` for the links of the chain, not for the hooks.
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
        await self.begin(scope, receive, send)

    def begin(self, scope: Scope, receive: Receive, send: Send) -> _Serving:
        """Return the coroutine of a call, without one more around it."""
        if scope["type"] != "http":
            raise ValueError(
                f"Django can only handle ASGI/HTTP connections, not {scope['type']}."
            )
        if DjangoASGIHandler.__call__ is not _DJANGOS_CALL:
            # A monitoring tool replaced Django's method and wants to be called.
            return super().__call__(dict(scope), receive, send)
        handle = self.handle
        serve = self._open if getattr(handle, "__func__", None) is _HANDLE else handle
        return serve(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, in a copy of the calling context."""
        await self._open(scope, receive, send)

    def _open(self, scope: Scope, receive: Receive, send: Send) -> _Serving:
        try:
            exchange = open_exchange(self, scope, receive, send)
        except Exception as error:
            return raising(error)
        is_shielded = exchange.look is not None and exchange.look.policy == "shield"
        return (self._serve_shielded if is_shielded else self._serve)(exchange)

    async def _serve_shielded(self, exchange: Exchange) -> None:
        task = asyncio.get_running_loop().create_task(self._serve(exchange))
        self._shielded.add(task)
        task.add_done_callback(self._shielded.discard)
        await asyncio.shield(task)

    async def _serve(self, exchange: Exchange) -> None:
        exchange.task, exchange.lease.owner = asyncio.current_task(), exchange
        context = contextvars.copy_context()
        try:
            await drive(context, self._answer(exchange), exchange.on_wait)
            last = exchange.last_message
            if last is not None:
                # Outside the request's context: a server may start the
                # connection's next request from within this call.
                exchange.last_message = None
                try:
                    await exchange.pass_on(last)
                except OSError as error:
                    raise exchange.lost() from error
                if exchange.state == "trailing":
                    await http.delivery.send_trailers(exchange)
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
                context = exchange.lease.free(context)
            if not exchange.is_answered:
                # Nothing may be sent from the background any more.
                exchange.is_disconnected = True
            if exchange.is_answered and not context.run(finish_now, exchange):
                await drive(context, finish(exchange, type(self)))
            exchange.task = None  # as in let_go(); take_cancel() asked for it

    async def _answer(self, exchange: Exchange) -> None:
        """Do everything of a request but its last event and what follows that."""
        try:
            exchange.lease.enter()
            if self.lifespan.needs_start:
                await self._start_lazily(exchange)
            body = await open_body(self, exchange, type(self).read_body is _READ_BODY)
            if body is not None:
                use_script_prefix(exchange.prefix)
                if not start_inline(exchange):
                    await fire_started(exchange, type(self))
                exchange.response = await self._respond(exchange, body)
            elif exchange.refusal is not None:
                exchange.response = http.answers.refused(
                    exchange.refusal, exchange.scope
                )
            if exchange.response is not None:
                try:
                    if type(self).send_response is _SEND_RESPONSE:
                        await send_response(self, exchange, exchange.response)
                    else:
                        await self.send_response(exchange.response, exchange.send)
                except Exception as error:
                    if not http.delivery.is_replaceable(exchange, error):
                        raise
                    await http.delivery.replace(self, exchange, error)
        except GeneratorExit:
            # The task is thrown away with its loop: nothing can be awaited.
            raise
        except BaseException:
            exchange.stop_listening()
            await finish(exchange, type(self))
            raise
        exchange.is_answered = True
        if exchange.has_waited and asyncio.current_task() is not exchange.task:
            # In the background, after a cancellation that somebody recovered from:
            # the task that would end the request has left.
            await finish(exchange, type(self))

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
        request._bridge_exchange = exchange  # type: ignore[attr-defined]  # our own
        try:
            if type(self).run_get_response is _RUN_GET_RESPONSE:
                # What that does, and what the other one does, without their steps.
                own = getattr(self.get_response_async, "__func__", None)
                djangos = django_base.BaseHandler.get_response_async
                if own is _OWN_GET_RESPONSE and djangos is _GET_RESPONSE:
                    response = await self._walk(request, exchange)
                    if _owes_log(request, response):
                        await exchange.lease.run_promptly(
                            http.answers.log, request, response
                        )
                else:
                    response = await self.get_response_async(request)
                response._handler_class = type(self)
                if isinstance(response, FileResponse):
                    response.block_size = self.chunk_size
            else:
                response = await self.run_get_response(request)
        except PoolBusy as error:
            response = http.answers.busy(error, request)
        except Exception:
            if django_settings.DEBUG_PROPAGATE_EXCEPTIONS:
                raise
            logger.exception("no response for %s", request.path)
            response = self.last_chance(request)
        if exchange.refusal is not None and not exchange.is_disconnected:
            # The body turned out to be too large or too slow in mid-view.
            exchange.note(response)
            response = http.answers.refused(exchange.refusal, exchange.scope)
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
        exchange = getattr(request, "_bridge_exchange", None) or current_exchange()
        if exchange is None:
            return await http.apart.answer_apart(self, request)
        djangos = django_base.BaseHandler.get_response_async
        if djangos is not _GET_RESPONSE and not is_from(djangos, _BASE):
            # A monitoring tool replaced Django's method and wants to be called.
            return await super().get_response_async(request)
        response: Response = await self._walk(request, exchange)
        if _owes_log(request, response):
            await exchange.lease.run_promptly(http.answers.log, request, response)
        return response

    def _walk(self, request: Request, exchange: Exchange) -> Awaitable[Response]:
        urlconf = read_setting("ROOT_URLCONF")
        use_urlconf(urlconf)
        return walk(self.plan, request, exchange, urlconf)

    async def _dispatch(self, request: Request) -> Response:
        """Be Django's middleware chain."""
        exchange = exchange_of(request)
        return await walk(self.plan, request, exchange, read_setting("ROOT_URLCONF"))

    def resolve_request(self, request: Request) -> Any:
        """Resolve the URL, by what the early look found where that still holds."""
        exchange: Exchange | None = getattr(request, "_bridge_exchange", None)
        look = None if exchange is None else exchange.look
        if look is not None and look.holds_for(request):
            match = request.resolver_match = look.take_match()
            return match
        return super().resolve_request(request)

    def make_view_atomic(self, view: Any) -> Any:
        """Wrap a view for ``ATOMIC_REQUESTS``; see ``ATOMIC_ASYNC_VIEWS``."""
        if get_config().atomic_async_views and iscoroutinefunction(view):
            # Few sites ask for it; the others do not pay for that room.
            from django_asgi_bridge.db import atomic_view  # noqa: PLC0415

            return atomic_view(view)
        make_atomic = super().make_view_atomic
        is_djangos = getattr(make_atomic, "__func__", make_atomic) is _MAKE_ATOMIC
        if is_djangos and not any(map(_wants_atomic, connections.settings.values())):
            return view
        return make_atomic(view)

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
        await wait_for_disconnect(receive)

    async def read_body(self, receive: Receive) -> Any:
        """Read a whole body, whatever its size, into a spooled file."""
        return await http.body.spool(http.body.pieces_of(receive))


def _owes_log(request: Request, response: Response) -> bool:
    """Let the response close the request; tell whether the log must hear of it."""
    response._resource_closers.append(request.close)
    return response.status_code >= 400 and not http.answers.is_logged(response)


# Methods as nobody has replaced or overridden them. Of Django's, a tool may have
# replaced one before this was imported: then there is none to compare with.
_GET_RESPONSE = unless_patched(django_base.BaseHandler.get_response_async, _BASE)
_RUN_GET_RESPONSE = unless_patched(DjangoASGIHandler.run_get_response, _ASGI)
_MAKE_ATOMIC = unless_patched(django_base.BaseHandler.make_view_atomic, _BASE)
_HANDLE = ASGIHandler.handle
_READ_BODY = ASGIHandler.read_body
_OWN_GET_RESPONSE = ASGIHandler.get_response_async
_SEND_RESPONSE = ASGIHandler.send_response
