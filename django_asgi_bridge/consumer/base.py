"""The two base classes of all consumers."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Mapping
from functools import cached_property
from typing import Any, ClassVar, Literal

from django_asgi_bridge.consumer.connection import Connection, serve
from django_asgi_bridge.consumer.names import get_handler_name
from django_asgi_bridge.db import database_sync_to_async
from django_asgi_bridge.exceptions import StopConsumer
from django_asgi_bridge.sockets import Bounds, Dropped
from django_asgi_bridge.threads import raising, tail_call
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("AsyncConsumer", "SyncConsumer")


class AsyncConsumer:
    """Handles the events of one connection with coroutine methods.

    An event of type ``chat.message`` goes to the method ``chat_message(event)``.
    Handlers run one after the other unless ``concurrency`` says otherwise.

    Attributes:
        channel_layer_alias: which of ``CHANNEL_LAYERS`` the connection uses.
        bounds: how much may wait for the connection, and what happens to more.
        concurrency: how many handlers may run at once. The first event, and the
            disconnect, always run alone.
        on_disconnect: what the client's leaving does to a handler that runs then:
            ``"finish"`` lets it end and the client's earlier messages be handled;
            ``"cancel"`` cancels it after ``disconnect_grace`` and drops those.
        disconnect_grace: seconds that ``"cancel"`` waits, and that clean-up may
            take when the server cancels the connection.
        strict_events: events from the layer reach only methods of your own class
            that no type of the ASGI protocol names; others are logged and counted.
            None does so for consumers that ``websocket_urlpatterns`` routes.
        scope: the connection's scope; set when it begins, as what follows.
        channel_layer: the layer, or None when none is configured.
        channel_name: this connection's own channel on it.
    """

    _sync: ClassVar[bool] = False
    channel_layer_alias = "default"
    bounds = Bounds()
    concurrency = 1
    on_disconnect: Literal["finish", "cancel"] = "finish"
    disconnect_grace = 5.0
    strict_events: bool | None = None

    scope: Any
    channel_layer: Any
    channel_name: str
    base_send: Any
    connection: Connection

    @tail_call
    def __call__(
        self, scope: Scope, receive: Receive, send: Send
    ) -> Coroutine[Any, Any, None]:
        """Serve one connection: an instance is an ASGI application for one scope."""
        return serve(lambda: self, scope, receive, send)

    @tail_call
    def dispatch(self, message: Message) -> Coroutine[Any, Any, None]:
        """Call the handler of an event.

        Raises:
            ValueError: there is no such method.
        """
        try:
            handler = getattr(self, get_handler_name(message), None)
        except ValueError as error:
            return raising(error)
        if handler is None:
            kind = message["type"]
            return raising(ValueError(f"No handler for message type {kind}"))
        return handler(message)  # type: ignore[no-any-return] # a coroutine method

    @tail_call
    def send(self, message: Mapping[str, Any]) -> Coroutine[Any, Any, None]:
        """Send an event to the client; waits while the client reads slowly.

        After the client has left nothing is sent and nothing is raised.

        Raises:
            SocketStateError: the event may not be sent now.
        """
        return self.base_send(message)  # type: ignore[no-any-return] # a coroutine

    @classmethod
    def as_asgi(cls, **initkwargs: Any) -> Any:
        """Return an ASGI application that makes a new consumer for each scope.

        Its type is Any, since Django's ``path()`` is typed for views alone.

        Args:
            initkwargs: what the class is called with.
        """
        make = functools.partial(cls, **initkwargs)

        @tail_call
        def app(
            scope: Scope, receive: Receive, send: Send
        ) -> Coroutine[Any, Any, None]:
            is_own = cls.__call__ is AsyncConsumer.__call__
            # The second way takes the memory of one more call that waits.
            return (serve if is_own else _call)(make, scope, receive, send)

        described: Any = app
        described.consumer_class = cls
        described.consumer_initkwargs = initkwargs
        described.__name__ = cls.__name__
        described.__qualname__ = cls.__qualname__
        described.__doc__ = cls.__doc__
        described.__module__ = cls.__module__
        return app

    @cached_property
    def channel_receive(self) -> Callable[[], Awaitable[dict[str, Any]]]:
        """Receive from the connection's channel, as the layer does."""
        return functools.partial(self.channel_layer.receive, self.channel_name)

    # What this package adds to the interface of Channels.

    @property
    def is_disconnected(self) -> bool:
        """Whether the client has left; seen at once, also while a handler runs."""
        return self.connection.inbox.is_disconnected

    @property
    def dropped(self) -> Dropped:
        """How many messages of this connection were lost to full queues so far."""
        return self.connection.inbox.dropped

    @property
    def state(self) -> Any:
        """What the lifespan hooks left for requests and connections."""
        return self.scope.get("state")

    def sync_dispatch(self) -> Callable[[Message], None] | None:
        """Return the dispatch that runs on a worker, if that is all there is to it."""
        return None

    async def _leave_groups(self) -> None:
        """Leave the groups that the consumer joined for its user, if any are left."""

    def overflow_key(self, message: Message) -> Hashable:
        """Return what ``"latest_by_key"`` goes by: the event's type by default."""
        return message.get("type")

    def concurrency_key(self, message: Message) -> Hashable:
        """Return a key; events of one key are handled one after the other.

        None, the default, lets an event run beside any other.
        """
        return None

    async def on_overflow(self, dropped: Dropped) -> None:
        """Called before the next handler, after messages were dropped."""

    async def on_gap(self, groups: Mapping[str, int | None]) -> None:
        """Called after the layer lost messages of groups this connection is in.

        Args:
            groups: how many were lost by group; None where nobody knows.
        """

    async def bridge_overflow(self, message: Message) -> None:
        """Tell ``on_overflow()``."""
        await self.on_overflow(message["dropped"])

    async def bridge_gap(self, message: Message) -> None:
        """Tell ``on_gap()``."""
        await self.on_gap(message["groups"])

    async def bridge_broadcast(self, message: Message) -> None:
        """Do nothing: a frame for clients, where no client is behind the channel."""

    async def bridge_end(self, message: Message) -> None:
        """End a consumer that no client is behind, when its worker stops."""
        raise StopConsumer


async def _call(
    make: Callable[[], AsyncConsumer], scope: Scope, receive: Receive, send: Send
) -> None:
    await make()(scope, receive, send)


class SyncConsumer(AsyncConsumer):
    """Handles the events of one connection with plain methods.

    Each handler runs on a worker thread, leased for that handler alone: consumers
    do not wait for each other, and nothing is held between two events.
    """

    _sync = True

    async def dispatch(self, message: Message) -> None:
        """Call the handler of an event, on a worker thread."""
        await database_sync_to_async(self._dispatch)(message)

    def _dispatch(self, message: Message) -> None:
        handler = getattr(self, get_handler_name(message), None)
        if handler is None:
            raise ValueError(f"No handler for message type {message['type']}")
        handler(message)

    def sync_dispatch(self) -> Callable[[Message], None] | None:
        is_own = type(self).dispatch is SyncConsumer.dispatch
        return self._dispatch if is_own else None

    def send(self, message: Mapping[str, Any]) -> None:  # type: ignore[override] # as Channels
        """Send an event to the client; the thread waits while it reads slowly."""
        self.base_send(message)

    def on_overflow(self, dropped: Dropped) -> None:  # type: ignore[override]
        """Called before the next handler, after messages were dropped."""

    def on_gap(self, groups: Mapping[str, int | None]) -> None:  # type: ignore[override]
        """Called after the layer lost messages of groups this connection is in."""

    def bridge_overflow(self, message: Message) -> None:  # type: ignore[override]
        """Tell ``on_overflow()``."""
        self.on_overflow(message["dropped"])

    def bridge_gap(self, message: Message) -> None:  # type: ignore[override]
        """Tell ``on_gap()``."""
        self.on_gap(message["groups"])

    def bridge_broadcast(self, message: Message) -> None:  # type: ignore[override]
        """Do nothing: a frame for clients, where no client is behind the channel."""

    def bridge_end(self, message: Message) -> None:  # type: ignore[override]
        """End a consumer that no client is behind, when its worker stops."""
        raise StopConsumer
