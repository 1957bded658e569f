"""One HTTP request between its first event and its last.

It holds what belongs to the request alone: the server's two callables, the lease
on a worker, what the early look at the URL found, whether the client is still
there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from threading import Semaphore
from typing import TYPE_CHECKING, Any

from django.core.exceptions import RequestAborted
from django.http.response import HttpResponse, HttpResponseBase

from django_asgi_bridge.conf import Config
from django_asgi_bridge.exceptions import ClientDisconnected
from django_asgi_bridge.http.djangos import Request, Response
from django_asgi_bridge.http.look import Look
from django_asgi_bridge.http.marks import Marks, marks_of
from django_asgi_bridge.protocol.request import Refusal
from django_asgi_bridge.protocol.response import (
    NEXT_STATES,
    ResponseState,
    state_after,
)
from django_asgi_bridge.threads import Lease, current_lease, start_task, was_left
from django_asgi_bridge.types import Message, Receive, Scope, Send

if TYPE_CHECKING:
    from django_asgi_bridge.http.contracts import Body

__all__ = ("Exchange", "current_exchange", "exchange_of")


class Exchange:
    """The state of one request and its response."""

    __slots__ = (
        "after",
        "body",
        "body_timer",
        "config",
        "has_waited",
        "is_answered",
        "is_body_complete",
        "is_disconnected",
        "is_finished",
        "is_settled",
        "is_started",
        "is_sync_view",
        "last_message",
        "lease",
        "listen",
        "listener",
        "listener_error",
        "look",
        "made",
        "places",
        "prefix",
        "receive",
        "refusal",
        "request",
        "response",
        "scope",
        "server_send",
        "state",
        "task",
        "wants_cancel",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        lease: Lease,
        config: Config,
        listen: Callable[[Receive], Any],
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.server_send = send
        self.lease = lease
        self.config = config
        self.listen = listen
        # Whoever answers the request; set there.
        # That which serves the request, once it does, and then the lease knows us:
        # a task that is cancelled before its first step would end neither.
        self.task: asyncio.Task[Any] | None = None
        self.prefix = ""
        self.look: Look | None = None
        self.body: Body | None = None
        self.request: Request | None = None
        self.response: Response | None = None
        # The responses that views made; middleware may have put another in place.
        self.made: tuple[Any, ...] = ()
        # Few requests have some: no list is made for the others.
        self.after: list[Callable[[], Any]] | tuple[()] = ()
        self.state: ResponseState = "waiting"
        self.last_message: Message | None = None
        self.refusal: Refusal | None = None
        self.listener: asyncio.Task[None] | None = None
        self.listener_error: BaseException | None = None
        self.body_timer: asyncio.TimerHandle | None = None
        self.places: tuple[Semaphore, ...] = ()
        self.is_answered = False
        self.is_sync_view = False
        self.is_body_complete = False
        self.is_disconnected = False
        self.is_started = False
        self.is_settled = False
        self.is_finished = False
        self.has_waited = False
        self.wants_cancel = False

    def __str__(self) -> str:
        match = None if self.look is None else self.look.match
        view = "" if match is None else f" ({match._func_path})"
        return f"{self.scope.get('method')} {self.scope.get('path')!a}{view}"

    def see(self, look: Look) -> None:
        """Take over what the early look found."""
        self.look = look
        self.is_sync_view = not look.marks.is_async

    def marks_of(self, view: Callable[..., Any]) -> Marks:
        """Return what is known of ``view``, mostly by the early look."""
        look = self.look
        if look is not None and look.match is not None and look.match.func is view:
            return look.marks
        return marks_of(view)

    def note(self, response: object) -> None:
        """Remember the view's response, so that it is closed on every path."""
        if type(response) is HttpResponse or isinstance(response, HttpResponseBase):
            if self.response is None or not was_left():
                self.response = response
            if not self.made:
                self.made = (response,)
            elif not any(response is each for each in self.made):
                self.made += (response,)

    def add_after(self, function: Callable[[], Any]) -> None:
        """Call ``function`` after the last byte, also where those calls have begun."""
        if self.after:
            self.after.append(function)
        else:
            self.after = [function]

    def let_go(self) -> None:
        """Give back what the request holds, and drop it with its response.

        They know this object, and the garbage collector need not come for them.
        """
        for place in self.places:
            place.release()
        self.places = ()
        if self.body is not None:
            self.body.close()
        lease = self.lease
        if lease.worker is None:
            # All that close() does then. It takes the pool's lock, which costs
            # more than all else that is done here.
            lease.is_closed = True
        else:
            lease.pool.close(lease)
        self.request = self.response = lease.owner = None
        self.made = ()
        # Middleware of Django's ties requests in circles: what is of the server must
        # not wait with them, and with this object, for the garbage collector.
        self.receive, self.server_send, self.listen = _receive_end, _drop, _drop

    def call_async(self, function: Callable[..., Any], *args: Any) -> Any:
        """Run a coroutine function on the event loop and wait for it, on a worker.

        There it may ask for ``request.body``: so the body is completed first.
        """
        return self.lease.call_async(self._call_with_body, function, args)

    async def _call_with_body(self, function: Callable[..., Any], args: Any) -> Any:
        body = self.body
        look = self.look
        if body is not None and not (look is not None and look.marks.streams_body):
            await body.buffer_for_loop()
        return await function(*args)

    # The client's side.

    def is_driven_here(self) -> bool:
        """Tell whether the calling task is the one that may make trips."""
        return not self.lease.is_direct or asyncio.current_task() is self.task

    def on_wait(self) -> None:
        """Start to listen, now that the request waits for the first time.

        A request that is answered without waiting never needs the task.
        """
        self.has_waited = True
        if self.is_body_complete:
            self.start_listening()
        elif self.body is None:
            loop = asyncio.get_running_loop()
            self.body_timer = loop.call_later(
                self.config.body_timeout, self._time_out_body
            )

    def body_arrived(self) -> None:
        """Note that the request's last body byte was received."""
        self.is_body_complete = True
        if self.body_timer is not None:
            self.stop_body_timer()
        if self.has_waited:
            self.start_listening()

    def stop_body_timer(self) -> None:
        """Note that the first event came."""
        if self.body_timer is not None:
            self.body_timer.cancel()
            self.body_timer = None

    def start_listening(self) -> None:
        """Watch for the client leaving, in a task that ends with the request."""
        is_over = self.is_answered or self.is_disconnected
        if self.listener is None and not is_over:
            loop = asyncio.get_running_loop()
            self.listener = start_task(loop, self._listen())

    def stop_listening(self) -> None:
        """End the watch; the client's leaving means nothing from now on."""
        self.stop_body_timer()
        listener, self.listener = self.listener, None
        if listener is not None:
            # Both may go at once: the error in it refers to this object.
            listener.cancel()

    def take_cancel(self) -> bool:
        """Tell whether a cancellation of the task was this exchange's own doing."""
        task = self.task
        if not self.wants_cancel or task is None:
            return False
        self.wants_cancel = False
        return task.uncancel() == 0

    def was_too_slow(self) -> bool:
        """Tell whether the task was cancelled because no body byte came."""
        return self.refusal is not None and self.take_cancel()

    def abort(self) -> None:
        """Note that the client left and cancel the task that serves it."""
        self.is_disconnected = True
        if self.look is None or self.look.policy == "cancel":
            self._cancel()

    async def _listen(self) -> None:
        try:
            await self.listen(self.receive)
        except RequestAborted:
            self.abort()
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            self.listener_error = error
            self._cancel()

    def _time_out_body(self) -> None:
        self.refusal = Refusal(
            408, f"no body byte came within {self.config.body_timeout:g} s"
        )
        self._cancel()

    def _cancel(self) -> None:
        if self.task is not None and not self.is_finished:
            self.wants_cancel = True
            self.task.cancel()

    # The server's side.

    async def send(self, message: Message, more: bool = False) -> None:
        """Send one event in its turn; nothing once the client has left.

        Args:
            more: the event's own ``more_body``, ``trailers`` or ``more_trailers``.

        Raises:
            BadResponse: the event is out of its order.
            ClientDisconnected: the server says that the client has left.
        """
        try:
            await self.pass_on(message, more)
        except OSError as error:
            raise self.lost() from error

    def pass_on(self, message: Message, more: bool = False) -> Awaitable[None]:
        """Do as ``send`` does, but for what the server says: an ``OSError``.

        One step less, for the two events that each response has, and parts of streams.
        """
        event = message["type"]
        self.state = NEXT_STATES[more][self.state].get(event) or state_after(
            self.state, event, more
        )
        return _NOTHING if self.is_disconnected else self.server_send(message)

    def lost(self) -> ClientDisconnected:
        """Note that the client has left; return the error that says so.

        ASGI 2.4: the server's ``send()`` raises ``OSError`` then.
        """
        self.is_disconnected = True
        return ClientDisconnected("the client left")


class _Nothing:
    """Awaited where nothing is to be done."""

    __slots__ = ()

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


_NOTHING = _Nothing()


async def _receive_end() -> Message:
    """Be a server after the response, as ASGI says it."""
    return {"type": "http.disconnect"}


async def _drop(message: object) -> None:
    """Be a server that the request no longer has."""


def exchange_of(request: Request) -> Exchange:
    """Return the exchange that ``request`` belongs to.

    Raises:
        RuntimeError: none is being served here.
    """
    exchange: Exchange | None = getattr(request, "_bridge_exchange", None)
    if exchange is None:
        exchange = current_exchange()
    if exchange is None:
        raise RuntimeError(
            f"{request!r} is not being served by django_asgi_bridge's ASGIHandler."
        )
    return exchange


def current_exchange() -> Exchange | None:
    """Return the exchange of the calling context, if any."""
    lease = current_lease.get(None)
    owner = None if lease is None else lease.owner
    return owner if isinstance(owner, Exchange) else None
