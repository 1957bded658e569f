"""``ASGIHandler``: one HTTP request from scope to last byte.

Read ``ASGIHandler._answer`` for the walk of a request; each step is a room of its
own: the body (``body``), the signals (``lifecycle``), the middleware and the view
(``plan``), the response (``response``).

It never raises for what a client sent, and opens no thread by itself.

Specification: ASGI HTTP 2.5.
"""

import asyncio
import contextvars
import functools
import inspect
import io
import logging
import sys
from contextlib import AsyncExitStack
from typing import Any

from django.core.exceptions import BadRequest, RequestAborted, RequestDataTooBig
from django.core.handlers import base as django_base
from django.core.handlers.asgi import ASGIHandler as DjangoASGIHandler
from django.core.handlers.asgi import get_script_prefix
from django.db import connections
from django.http import HttpRequest, HttpResponse, HttpResponseBadRequest
from django.http.response import HttpResponseBase
from django.urls import get_resolver, set_script_prefix, set_urlconf
from django.utils.translation import get_language

from django_asgi_bridge.conf import django_settings as settings
from django_asgi_bridge.conf import get_config
from django_asgi_bridge.db import atomic
from django_asgi_bridge.exceptions import ClientDisconnected, LifespanError, PoolBusy
from django_asgi_bridge.http import answers
from django_asgi_bridge.http.body import (
    BodyTimeout,
    IncomingBody,
    Quota,
    check_message,
    pieces_of,
    spool,
)
from django_asgi_bridge.http.exchange import (
    Exchange,
    Look,
    current_exchange,
    exchange_of,
)
from django_asgi_bridge.http.extensions import trailers_of
from django_asgi_bridge.http.hooks import is_from
from django_asgi_bridge.http.lifecycle import (
    closes_inline,
    finish_inline,
    finishes_inline,
    fire_finished,
    fire_started,
)
from django_asgi_bridge.http.marks import disconnect_policy, does_stream_body
from django_asgi_bridge.http.plan import Layer, Plan, convert, make_layer
from django_asgi_bridge.http.request import ASGIRequest
from django_asgi_bridge.http.response import send_response
from django_asgi_bridge.lifespan import Lifespan, app_hooks, find_hooks
from django_asgi_bridge.protocol.request import Refusal, check_request, split_path
from django_asgi_bridge.protocol.response import BadResponse, encode_headers
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

    def __init__(self) -> None:
        config = get_config()
        self.upload_places = Quota(max(1, config.threads // 4))
        self.stream_places = Quota(config.max_sync_streams)
        self._shielded: set[asyncio.Task[None]] = set()
        self.lifespan = Lifespan(
            [*app_hooks(), *find_hooks(config.lifespan)],
            timeout=config.lifespan_timeout,
            run_sync=run_apart,
        )
        super().__init__()

    # Loading.

    def load_middleware(self, is_async: bool = False) -> None:
        """Load ``MIDDLEWARE`` by Django's own code and compile the plan from it."""
        self.plan = Plan(self)
        self._built: list[Layer] = []
        self._building: tuple[str, Any, bool] | None = None
        self._outer: Any = None
        super().load_middleware(is_async=is_async)
        self.plan.set_layers(self._built[::-1])

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
        if self._building is not None and method is not self._outer:
            path, link, was_async = self._building
            layer = make_layer(path, method.__wrapped__, link, was_async)
            self._built.append(layer)
        self._outer = method
        if name is None:
            self._building = None
            return self._dispatch
        inside = len(self._built)
        link = (
            self.plan.async_link(inside) if is_async else self.plan.sync_link(inside)
        )
        self._building = (name.removeprefix("middleware "), link, is_async)
        return link

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
            await super().__call__(scope, receive, send)

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
            await self._send_last(exchange)
        except asyncio.CancelledError:
            if not exchange.take_cancel():
                raise
            if exchange.listener_error is not None:
                raise exchange.listener_error from None
        except ClientDisconnected:
            logger.debug("the client left: %s", exchange.scope["path"])
        finally:
            exchange.stop_listening()
            exchange.take_cancel()
            if exchange.is_answered and not context.run(self._finish_now, exchange):
                await drive(context, self._finish(exchange))

    async def _answer(self, exchange: Exchange) -> None:
        """Do everything of a request but its last event and what follows that."""
        try:
            exchange.lease.enter()
            if self.lifespan.needs_start:
                await self._start_lazily(exchange)
            body = await self._open_body(exchange)
            if body is not None:
                set_script_prefix(get_script_prefix(exchange.scope))
                await fire_started(exchange, type(self))
                exchange.response = await self._respond(exchange, body)
            elif exchange.refusal is not None:
                exchange.response = answers.refused(exchange.refusal, exchange.scope)
            if exchange.response is not None:
                await self._send(exchange, exchange.response)
        except BaseException:
            exchange.stop_listening()
            await self._finish(exchange)
            raise
        exchange.is_answered = True

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
            _, path_info = split_path(scope["path"], get_script_prefix(scope))
            urlconf = getattr(self.request_class, "urlconf", None)
            self._look(exchange, path_info, urlconf or settings.ROOT_URLCONF)
        return exchange

    def _look(self, exchange: Exchange, path_info: str, urlconf: Any) -> None:
        """Find out which view a URL seems to lead to; it only chooses the walk."""
        default = exchange.config.on_disconnect
        language = get_language() if settings.USE_I18N else None
        try:
            match = get_resolver(urlconf).resolve(path_info)
        except Exception:
            # Not found, or an error that the real look will meet in its place.
            look = Look(path_info, urlconf, language, None, False, False, default)
        else:
            view = match.func
            look = Look(
                path_info,
                urlconf,
                language,
                match,
                django_base.iscoroutinefunction(view),
                does_stream_body(view),
                disconnect_policy(view, default),
            )
        exchange.look = look
        exchange.is_sync_view = not look.is_async

    async def _start_lazily(self, exchange: Exchange) -> None:
        """Run the startup hooks where the server has no lifespan of its own."""
        try:
            await self.lifespan.ensure_started()
        except LifespanError as error:
            exchange.refusal = Refusal(503, str(error))
            return
        state = self.lifespan.request_state(exchange.scope)
        exchange.scope = {**exchange.scope, "state": state}

    async def _open_body(self, exchange: Exchange) -> Any:
        """Return a file to read the body from; None when there is no request."""
        if exchange.refusal is None:
            exchange.refusal = self._refuse_length(exchange)
        if exchange.refusal is not None:
            return None
        try:
            return await self._receive_body(exchange)
        except (RequestAborted, ClientDisconnected):
            exchange.is_disconnected = True
        except BodyTimeout:
            return None
        except RequestDataTooBig as error:
            exchange.refusal = exchange.refusal or Refusal(413, str(error))
        except asyncio.CancelledError:
            if exchange.refusal is None or not exchange.take_cancel():
                raise
        return None

    async def _receive_body(self, exchange: Exchange) -> Any:
        look = exchange.look
        if type(self).read_body is not ASGIHandler.read_body:
            body_file = await self.read_body(exchange.receive)
            exchange.body_arrived()
            return body_file
        # On the event loop, code that nobody knows may ask for request.body.
        is_lazy = look is not None and self.plan.last_async < 0
        if is_lazy and look is not None and (look.match is None or look.streams_body):
            exchange.body = IncomingBody(exchange)
            return exchange.body
        message = await exchange.receive()
        exchange.stop_body_timer()
        check_message(message)
        first: bytes = message.get("body", b"")
        if not message.get("more_body", False):
            exchange.body_arrived()
            _check_size(exchange, len(first))
            return io.BytesIO(first)
        body = exchange.body = IncomingBody(exchange, first)
        if is_lazy and exchange.is_sync_view:
            await body.prefetch()
            if not body.is_complete and self.upload_places.take():
                exchange.places.append(self.upload_places)
                return body
            await body.buffer()
        else:
            await body.buffer(_buffer_limit(exchange.scope))
        return body

    def _refuse_length(self, exchange: Exchange) -> Refusal | None:
        """Refuse a body by its announced length, before a byte of it is read."""
        length = _header(exchange.scope, b"content-length")
        if not length.isdigit():
            return None
        limits = [exchange.config.max_body_size]
        if not exchange.is_sync_view and not _streams(exchange):
            limits.append(_buffer_limit(exchange.scope))
        for limit in limits:
            if limit is not None and int(length) > limit:
                return Refusal(
                    413, f"a body of {int(length)} bytes is over the limit of {limit}"
                )
        return None

    async def _respond(self, exchange: Exchange, body: Any) -> HttpResponseBase:
        try:
            request, error_response = self.create_request(exchange.scope, body)
        except BadRequest as error:
            logger.warning(
                "Bad Request: %s", error, extra={"status_code": 400}, exc_info=True
            )
            request, error_response = None, HttpResponseBadRequest()
        if request is None:
            body.close()
            return error_response  # type: ignore[no-any-return]
        exchange.request = request
        request._bridge_exchange = exchange
        try:
            response: HttpResponseBase = await self.run_get_response(request)
        except PoolBusy as error:
            response = answers.busy(error, request)
        except Exception:
            if settings.DEBUG_PROPAGATE_EXCEPTIONS:
                raise
            logger.exception("no response for %s", request.path)
            response = self._last_chance(request)
        if exchange.refusal is not None and not exchange.is_disconnected:
            # The body turned out to be too large or too slow in mid-view.
            response = answers.instead(
                answers.refused(exchange.refusal, exchange.scope), response
            )
        return response

    def _last_chance(self, request: HttpRequest) -> HttpResponseBase:
        response: HttpResponseBase = self.handle_uncaught_exception(
            request, get_resolver(None), sys.exc_info()
        )
        response._resource_closers.append(request.close)
        response._handler_class = type(self)  # type: ignore[assignment]
        return response

    async def get_response_async(self, request: HttpRequest) -> HttpResponseBase:
        """Run middleware and view; see ``BaseHandler.get_response_async``."""
        if current_exchange() is None:
            return await self._get_response_apart(request)
        if not is_from(django_base.BaseHandler.get_response_async, _BASE):
            return await super().get_response_async(request)  # type: ignore[no-any-return]
        set_urlconf(settings.ROOT_URLCONF)
        response: HttpResponseBase = await self._dispatch(request)
        response._resource_closers.append(request.close)
        if response.status_code >= 400 and not answers.is_logged(response):
            await exchange_of(request).lease.run(answers.log, request, response)
        return response

    async def _get_response_apart(self, request: HttpRequest) -> HttpResponseBase:
        """Answer a request that came without an ASGI exchange, as tests make it."""

        async def nobody(*args: Any) -> Any:
            raise RequestAborted

        exchange = Exchange(
            getattr(request, "scope", {}),
            nobody,
            nobody,
            new_lease(),
            get_config(),
            nobody,
        )
        request._bridge_exchange = exchange

        async def answer() -> HttpResponseBase:
            exchange.lease.enter()
            self._look(exchange, request.path_info, settings.ROOT_URLCONF)
            try:
                return await self.get_response_async(request)
            finally:
                exchange.lease.pool.close(exchange.lease)

        return await drive(  # type: ignore[no-any-return]
            contextvars.copy_context(), answer()
        )

    async def _dispatch(self, request: HttpRequest) -> HttpResponseBase:
        """Run the plan: in one trip where everything is sync."""
        exchange = exchange_of(request)
        urlconf = getattr(request, "urlconf", settings.ROOT_URLCONF)
        look = exchange.look
        if look is None or (look.path_info, look.urlconf) != (
            request.path_info,
            urlconf,
        ):
            self._look(exchange, request.path_info, urlconf)
        lease = exchange.lease
        if exchange.is_sync_view and self.plan.last_async < 0 and lease.is_direct:
            return await lease.run(self._whole_trip, request, exchange)
        return await self.plan.on_loop(request, 0, exchange)

    def _whole_trip(
        self, request: HttpRequest, exchange: Exchange
    ) -> HttpResponseBase:
        """Do everything on the worker, and end the lease where that is all."""
        response = self.plan.on_worker(request, 0, exchange)
        if response.status_code >= 400:
            answers.log(request, response)
        if closes_inline(exchange, response) and finishes_inline(exchange):
            exchange.is_settled = True
            exchange.lease.is_closed = True
        return response

    def resolve_request(self, request: HttpRequest) -> Any:
        """Resolve the URL, by what the early look found where that still holds."""
        look = getattr(getattr(request, "_bridge_exchange", None), "look", None)
        if (
            look is not None
            and look.match is not None
            and look.path_info == request.path_info
            and not hasattr(request, "urlconf")
            and look.urlconf == settings.ROOT_URLCONF
            and (look.language is None or look.language == get_language())
        ):
            request.resolver_match = look.match
            return look.match
        return super().resolve_request(request)

    def make_view_atomic(self, view: Any) -> Any:
        """Wrap a view for ``ATOMIC_REQUESTS``; see ``ATOMIC_ASYNC_VIEWS``."""
        if django_base.iscoroutinefunction(view) and get_config().atomic_async_views:
            return _atomic_async_view(view)
        return super().make_view_atomic(view)

    # The response.

    async def _send(self, exchange: Exchange, response: HttpResponseBase) -> None:
        try:
            await self.send_response(response, exchange.send)
        except (BadResponse, PoolBusy) as error:
            if exchange.order.is_started:
                raise
            exchange.response = await self._replace(exchange, response, error)
            await self.send_response(exchange.response, exchange.send)

    async def send_response(self, response: HttpResponseBase, send: Any) -> None:
        """Send a response; its last event follows when this has returned."""
        exchange = current_exchange()
        if exchange is None:
            await super().send_response(response, send)
        else:
            await send_response(self, exchange, response)

    async def _replace(
        self, exchange: Exchange, response: HttpResponseBase, error: Exception
    ) -> HttpResponseBase:
        """Return an error response for one that cannot be sent."""
        request = exchange.request
        if isinstance(error, PoolBusy):
            return answers.instead(answers.busy(error, request), response)
        if request is None:
            return answers.instead(HttpResponse("Internal Server Error", status=500), response)
        try:
            page = await exchange.lease.run(convert, request, error)
            encode_headers(page.items(), (), lower=False)
        except BadResponse:
            page = self._last_chance(request)
        return answers.instead(page, response)

    async def _send_last(self, exchange: Exchange) -> None:
        message = exchange.last_message
        if message is None:
            return
        exchange.last_message = None
        trailers = None
        if exchange.response is not None:
            trailers = trailers_of(exchange.response)
        await exchange.send(message, message.get("more_body", False))
        if trailers is not None:
            encoded = encode_headers(trailers.items(), (), lower=True)
            await exchange.send(
                {
                    "type": "http.response.trailers",
                    "headers": encoded.headers,
                    "more_trailers": False,
                }
            )

    def take_stream_place(self, exchange: Exchange) -> None:
        """Count a response with a sync iterator.

        Raises:
            PoolBusy: as many as ``ASGI_BRIDGE["MAX_SYNC_STREAMS"]`` are under way.
        """
        if not self.stream_places.take():
            raise PoolBusy(
                "as many responses with a sync iterator are under way as "
                "ASGI_BRIDGE['MAX_SYNC_STREAMS'] allows, "
                f"{exchange.config.max_sync_streams}."
            )
        exchange.places.append(self.stream_places)

    # The end.

    def _finish_now(self, exchange: Exchange) -> bool:
        """End a request that needs nobody to wait; tell whether it did."""
        if exchange.is_finished:
            return True
        response = exchange.response
        if response is None or not exchange.is_settled or exchange.after:
            if not (
                response is not None
                and exchange.lease.worker is None
                and exchange.lease.is_direct
                and exchange.is_started
                and closes_inline(exchange, response)
                and finishes_inline(exchange)
            ):
                return False
        exchange.is_finished = True
        finish_inline(exchange, response)
        exchange.lease.pool.close(exchange.lease)
        return True

    async def _finish(self, exchange: Exchange) -> None:
        """Close the response and the body, fire ``request_finished``, leave."""
        if exchange.is_finished:
            return
        exchange.is_finished = True
        try:
            for function in exchange.after:
                await _run_after(exchange, function)
            if exchange.is_started:
                response = exchange.response
                sender = type(self) if response is None else response._handler_class
                await fire_finished(exchange, sender)
        finally:
            for places in exchange.places:
                places.give_back()
            if exchange.body is not None:
                exchange.body.close()
            exchange.lease.pool.close(exchange.lease)

    # Django's other doors.

    async def listen_for_disconnect(self, receive: Receive) -> None:
        """Wait for the client to leave.

        Raises:
            RequestAborted: it left.
            AssertionError: the server sent something that may not come here.
        """
        for _ in range(MAX_REPEATS):
            message = await receive()
            if message["type"] == "http.disconnect":
                raise RequestAborted
            if message["type"] != "http.request" or message.get("body"):
                raise AssertionError(
                    f"Invalid ASGI message after request body: {message['type']}"
                )
            # Some servers repeat the end of the body.
            await asyncio.sleep(0)

    async def read_body(self, receive: Receive) -> Any:
        """Read a whole body, whatever its size, into a spooled file."""
        return await spool(pieces_of(receive))


def _header(scope: Scope, name: bytes) -> str:
    for key, value in scope.get("headers", ()):
        if key.lower() == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def _streams(exchange: Exchange) -> bool:
    return exchange.look is not None and exchange.look.streams_body


def _buffer_limit(scope: Scope) -> int | None:
    """Return the bytes that a body may have to be buffered for an async view."""
    if _header(scope, b"content-type").lower().startswith("multipart/"):
        # The parser limits its fields; files may be of any size.
        return None
    limit: int | None = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    return limit


def _check_size(exchange: Exchange, size: int) -> None:
    limits = [exchange.config.max_body_size]
    if not exchange.is_sync_view:
        limits.append(_buffer_limit(exchange.scope))
    for limit in limits:
        if limit is not None and size > limit:
            raise RequestDataTooBig(
                f"a body of {size} bytes is over the limit of {limit}"
            )


def _atomic_async_view(view: Any) -> Any:
    """Wrap an async view in a transaction of each ``ATOMIC_REQUESTS`` database."""
    exempt = getattr(view, "_non_atomic_requests", set())
    aliases = [
        alias
        for alias, options in connections.settings.items()
        if options["ATOMIC_REQUESTS"] and alias not in exempt
    ]
    if not aliases:
        return view

    @functools.wraps(view)
    async def atomic_view(*args: Any, **kwargs: Any) -> Any:
        async with AsyncExitStack() as stack:
            for alias in aliases:
                await stack.enter_async_context(atomic(using=alias))
            return await view(*args, **kwargs)

    return atomic_view


async def _run_after(exchange: Exchange, function: Any) -> None:
    try:
        if inspect.iscoroutinefunction(function):
            await function()
        else:
            await exchange.lease.run(function, is_cleanup=True)
    except Exception:
        logger.exception("a function given to request.after failed")
