"""One connection of one consumer: from its first event to the last clean-up.

With a layer of somebody else's there is one task that asks it. A layer of this
package puts its events into the inbox itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
from collections.abc import Callable
from typing import Any

from django_asgi_bridge import consumer as package
from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.consumer.contract import Consumer
from django_asgi_bridge.consumer.events import EventFilter, broadcast_frame
from django_asgi_bridge.consumer.handling import Handling
from django_asgi_bridge.consumer.loop import HandlerLoop
from django_asgi_bridge.consumer.reader import Reader
from django_asgi_bridge.exceptions import PoolBusy, StopConsumer
from django_asgi_bridge.protocol.messages import check_message
from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets import Inbox, Socket, SyncSend
from django_asgi_bridge.sockets.failure import FailureClose
from django_asgi_bridge.sockets.marks import STRICT_EVENTS
from django_asgi_bridge.sockets.refusal import busy
from django_asgi_bridge.threads import call_async
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("Connection", "serve")

logger = logging.getLogger("django.request")

_NO_CLOSE = 1006
_INTERNAL_ERROR = 1011
_RESTART = 1012


async def serve(
    make: Callable[[], Consumer], scope: Scope, receive: Receive, send: Send
) -> None:
    """Serve a connection to its end, by the consumer that ``make`` returns.

    Raises:
        Exception: what a handler raised, after clean-up.
    """
    connection = Connection(make(), scope, receive)
    loop = connection.loop
    try:
        await connection.open(send)
        try:
            loop.begin()
            waited = await loop.until_idle()
            while waited is not None:
                # Here an idle connection waits: each further call would take
                # memory of each of them.
                try:
                    message = await waited
                except BaseException as error:
                    if not await loop.takes_failure(error):
                        raise
                    message = None
                waited = loop.take(message)
                # What is left here would be kept until the next message.
                message = None
                if waited is None:
                    waited = await loop.until_idle()
            await loop.finish()
        except StopConsumer:
            if connection.inbox.error is None:
                return
        if connection.inbox.error is not None:
            raise connection.inbox.error
    except BaseException as error:
        if not await connection.survives(error):
            raise
    finally:
        await connection.close()


class Connection:
    """What one consumer has of its connection; made anew for each scope.

    Args:
        consumer: whose handlers are called.
        scope: the connection's.
        receive: the server's.

    Attributes:
        inbox: what waits for the consumer.
        loop: runs the handlers, until the end.
    """

    __slots__ = ("_consumer", "_layer", "_puller", "_scope", "inbox", "loop")

    def __init__(self, consumer: Consumer, scope: Scope, receive: Receive) -> None:
        self._consumer = consumer
        self._scope = consumer.scope = scope
        bounds = consumer.bounds
        needs_key = "latest_by_key" in (bounds.client_overflow, bounds.layer_overflow)
        inbox = Inbox(bounds, consumer.overflow_key if needs_key else None)
        is_ahead = scope.get("type") != "channel"
        reader = Reader(receive, inbox, is_ahead=is_ahead)
        self.inbox = inbox
        self.loop = HandlerLoop(Handling(consumer, inbox), inbox, reader)
        self._layer: Any = None
        self._puller: asyncio.Task[None] | None = None

    @property
    def socket_state(self) -> SocketState:
        """How far the WebSocket is."""
        socket = self.inbox.socket
        return SocketState.CLOSED if socket is None else socket.state

    # The beginning.

    async def open(self, send: Send) -> None:
        """Give the consumer what it sends with, and its channel.

        Args:
            send: the server's.
        """
        consumer, inbox = self._consumer, self.inbox
        consumer.connection = self
        is_strict = django_settings.DEBUG
        if self._scope.get("type") == "websocket":
            socket = inbox.socket = Socket(
                send,
                consumer.bounds,
                owner=inbox,
                context=self.loop.handling.context,
                is_strict=is_strict,
            )
            consumer.base_send = SyncSend(socket) if consumer._sync else socket.send
        else:
            do_send = self._send_checked if is_strict else self._send_while_connected
            own = functools.partial(do_send, send)
            is_sync = consumer._sync
            consumer.base_send = functools.partial(call_async, own) if is_sync else own
        await self._open_channel()

    async def _open_channel(self) -> None:
        consumer, inbox = self._consumer, self.inbox
        # By the package's name for it, which tests patch as that of Channels.
        find = package.get_channel_layer
        layer = consumer.channel_layer = find(consumer.channel_layer_alias)
        if layer is None:
            return
        is_strict = consumer.strict_events
        if is_strict is None:
            is_strict = bool(self._scope.get(STRICT_EVENTS))
        inbox.refuses = EventFilter(consumer, is_strict=is_strict)
        if hasattr(layer, "open_mailbox"):
            consumer.channel_name = await layer.open_mailbox(inbox)
            self._layer = layer
        else:
            consumer.channel_name = await layer.new_channel()
            self._puller = asyncio.get_running_loop().create_task(self._pull(layer))

    async def _send_while_connected(self, send: Send, message: Message) -> None:
        """Send an event of a connection that is no WebSocket, unless nobody reads."""
        if not self.inbox.is_disconnected:
            await send(message)

    async def _send_checked(self, send: Send, message: Message) -> None:
        """Refuse what ASGI forbids, then send; under ``DEBUG``."""
        check_message(message)
        await self._send_while_connected(send, message)

    # A layer of somebody else's.

    async def _pull(self, layer: Any) -> None:
        """Put what a layer that knows no mailboxes has for us into the inbox.

        One event waits here at most, so that the layer's own capacity counts,
        unless the consumer's bounds say more.
        """
        inbox, name = self.inbox, self._consumer.channel_name
        bound = inbox.bounds.layer_events
        try:
            # What comes after the end stays in the layer.
            while inbox.end is None:
                event = await layer.receive(name)
                if event.get("type") == "bridge.broadcast":
                    inbox.put_frame(broadcast_frame(event), event.get("group", ""))
                    continue
                while bound is None and inbox.waiting_events:
                    await inbox.wait_for_room()
                inbox.put_event(event, 1)
        except Exception as error:
            inbox.break_off(error)

    # The end.

    async def survives(self, error: BaseException) -> bool:
        """Do what an error asks for; tell whether it ends here."""
        loop, inbox = self.loop, self.inbox
        if isinstance(error, asyncio.CancelledError):
            if not loop.takes_cancel():
                await self._end_in_time(_RESTART)
                return False
            # A sync handler outlasted its client: nobody waits for it any more.
            await self._end(inbox.end or _disconnect(_RESTART))
            return True
        if not isinstance(error, Exception):
            return False
        if isinstance(error, PoolBusy) and self.socket_state is SocketState.CONNECTING:
            await self._refuse(error)
            return True
        # Its leaving is seen while the consumer cleans up.
        loop.reader.start()
        await self._fail(error)
        return False

    async def _refuse(self, error: PoolBusy) -> None:
        """Answer a handshake for which no worker came free."""
        socket = self.inbox.socket
        if socket is not None:
            for event in busy(self._scope, error):
                await socket.send(event)
        if not self._consumer._sync:
            # A sync consumer's connect() has not begun.
            await self._end(_disconnect(_NO_CLOSE))

    async def _fail(self, error: Exception) -> None:
        """Log what a handler raised, close with 1011 and let the consumer clean up."""
        kind, socket = self.loop.handling.message_type, self.inbox.socket
        url_route = self._scope.get("url_route")
        logger.error(
            "%s raised %s: path %r, route %r, user %s, message %r",
            type(self._consumer).__qualname__,
            type(error).__name__,
            self._scope.get("path"),
            url_route,
            _name_of_user(self._scope),
            kind,
            exc_info=error,
            extra={"scope": self._scope, "message_type": kind},
        )
        try:
            if socket is not None and socket.state is SocketState.OPEN:
                with contextlib.suppress(Exception):
                    await socket.send(FailureClose(_INTERNAL_ERROR))
            await self._end(_disconnect(_INTERNAL_ERROR))
        except asyncio.CancelledError:
            # The client does not read the close, and the server has lost patience.
            await self._end_in_time(_INTERNAL_ERROR)
            raise

    async def _end_in_time(self, code: int) -> None:
        """Let the consumer clean up although the server has cancelled its task."""
        end = self._end_wholly(_disconnect(code))
        ending = asyncio.get_running_loop().create_task(end)
        grace = self._consumer.disconnect_grace
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([ending], timeout=grace)
        if not ending.done():
            ending.cancel()
            logger.warning(
                "%s.disconnect() was cut off: the server cancelled the connection "
                "and it did not end within %g s",
                type(self._consumer).__qualname__,
                grace,
            )
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([ending])

    async def _end_wholly(self, message: Message) -> None:
        """End, and leave the groups if the server has cut that off.

        A layer of somebody else knows of the consumer's end only what it is told.
        """
        await self._end(message)
        if self._puller is None or self.loop.handling.message_type is None:
            return
        try:
            await self._consumer._leave_groups()
        except Exception:
            logger.exception(
                "%s could not leave its groups", type(self._consumer).__qualname__
            )

    async def _end(self, message: Message) -> None:
        """Dispatch the disconnect that the server will not send any more, once."""
        self.inbox.is_disconnected = True
        if self.inbox.socket is not None:
            self.inbox.socket.client_left()
            await self.loop.handling.end(message)

    async def close(self) -> None:
        """Give back everything the connection had, also if that is cancelled."""
        self.inbox.watcher = None
        self.loop.handling.close()
        if self._layer is not None:
            self._layer.close_mailbox(self._consumer.channel_name)
        both = (self.loop.reader.task, self._puller)
        tasks = [each for each in both if each is not None]
        for task in tasks:
            task.cancel()
        try:
            if tasks:
                await asyncio.wait(tasks)
        finally:
            try:
                if self.inbox.socket is not None:
                    await self.inbox.socket.close()
            finally:
                self.loop.drop_all()
                self.inbox.drop_all()
                self._let_go()

    def _let_go(self) -> None:
        """Keep nothing that refers back to this.

        So what the server has of the connection goes at once, and not when the
        garbage collector looks at everything.
        """
        # A consumer may be kept longer than its connection, by its user.
        del self._consumer, self.loop


def _disconnect(code: int) -> Message:
    return {"type": "websocket.disconnect", "code": code, "reason": ""}


def _name_of_user(scope: Scope) -> str:
    """Name the user without asking the database: only if they are known already."""
    user = scope.get("user")
    if user is None:
        return "unknown"
    wrapped = getattr(user, "_wrapped", user)
    pk = getattr(wrapped, "pk", None)
    return "anonymous" if pk is None else f"#{pk}"
