"""One connection of one consumer: from its first event to the last clean-up.

Beside the handlers there is a reader of the server's events, and with a layer of
somebody else's one task that asks it. A layer of this package puts its events into
the inbox itself.
"""

import asyncio
import contextlib
import contextvars
import functools
import logging
from typing import Any

from django_asgi_bridge import consumer as package
from django_asgi_bridge.conf import django_settings
from django_asgi_bridge.consumer.contract import Consumer
from django_asgi_bridge.consumer.events import EventFilter, broadcast_frame
from django_asgi_bridge.consumer.loop import HandlerLoop
from django_asgi_bridge.exceptions import PoolBusy, StopConsumer
from django_asgi_bridge.protocol.messages import check_message
from django_asgi_bridge.protocol.websocket import SocketState
from django_asgi_bridge.sockets import Inbox, Socket, SyncSend
from django_asgi_bridge.sockets.failure import FailureClose
from django_asgi_bridge.sockets.marks import STRICT_EVENTS
from django_asgi_bridge.sockets.refusal import busy
from django_asgi_bridge.threads import LeaseOfCaller, call_async, drive
from django_asgi_bridge.types import Message, Receive, Scope, Send

__all__ = ("Connection",)

logger = logging.getLogger("django.request")

_ENDS = frozenset({"websocket.disconnect", "http.disconnect", "bridge.end"})
_NO_STATUS = 1005
_NO_CLOSE = 1006
_INTERNAL_ERROR = 1011
_RESTART = 1012


class Connection:
    """Runs a consumer; made anew for each scope.

    Args:
        consumer: whose handlers are called.
        scope: the connection's.
        receive: the server's.
        send: the server's.

    Attributes:
        inbox: what waits for the consumer.
    """

    __slots__ = (
        "_consumer",
        "_layer",
        "_loop",
        "_puller",
        "_reader",
        "_receive",
        "_scope",
        "_send",
        "inbox",
    )

    def __init__(
        self, consumer: Consumer, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._consumer = consumer
        self._scope = scope
        self._receive = receive
        self._send = send
        bounds = consumer.bounds
        needs_key = "latest_by_key" in (bounds.client_overflow, bounds.layer_overflow)
        self.inbox = Inbox(bounds, consumer.overflow_key if needs_key else None)
        self._loop = HandlerLoop(consumer, self.inbox)
        self._layer: Any = None
        self._reader: asyncio.Task[None] | None = None
        self._puller: asyncio.Task[None] | None = None

    @property
    def socket_state(self) -> SocketState:
        """How far the WebSocket is."""
        socket = self.inbox.socket
        return SocketState.CLOSED if socket is None else socket.state

    async def run(self) -> None:
        """Serve the connection to its end.

        Raises:
            Exception: what a handler raised, after clean-up.
        """
        caller = LeaseOfCaller()
        try:
            await self._open()
            if self._consumer._sync:
                # Handlers and this task take turns inside one context.
                await drive(contextvars.copy_context(), self._loop.run())
            else:
                await self._loop.run()
        except StopConsumer:
            return
        except asyncio.CancelledError:
            if self._loop.takes_cancel():
                # A sync handler outlasted its client: nobody waits for it any more.
                await self._end(self.inbox.end or _disconnect(_RESTART))
                return
            await self._end_in_time(_RESTART)
            raise
        except Exception as error:
            is_asked = self.socket_state is SocketState.CONNECTING
            if isinstance(error, PoolBusy) and is_asked:
                await self._refuse(error)
                return
            await self._fail(error)
            raise
        finally:
            try:
                await self._close()
            finally:
                caller.restore()

    # The beginning.

    async def _open(self) -> None:
        consumer, inbox = self._consumer, self.inbox
        consumer.connection = self
        is_strict = django_settings.DEBUG
        send: Any = self._send_checked if is_strict else self._send_while_connected
        if self._scope.get("type") == "websocket":
            socket = inbox.socket = Socket(
                self._send,
                consumer.bounds,
                on_loss=inbox.note_loss,
                on_stop=inbox.stop,
                is_strict=is_strict,
            )
            send = SyncSend(socket) if consumer._sync else socket.send
        elif consumer._sync:
            send = functools.partial(call_async, send)
        consumer.base_send = send
        await self._open_channel()
        self._reader = asyncio.get_running_loop().create_task(self._read())

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
        consumer.channel_receive = functools.partial(
            layer.receive, consumer.channel_name
        )

    async def _send_while_connected(self, message: Message) -> None:
        """Send an event of a connection that is no WebSocket, unless nobody reads."""
        if not self.inbox.is_disconnected:
            await self._send(message)

    async def _send_checked(self, message: Message) -> None:
        """Refuse what ASGI forbids, then send; under ``DEBUG``."""
        check_message(message)
        await self._send_while_connected(message)

    # The sources of messages.

    async def _read(self) -> None:
        """Put what the server says into the inbox, until the client leaves."""
        receive, inbox = self._receive, self.inbox
        # No client is behind a channel: what is read early would only be lost if a
        # handler fails.
        is_ahead = self._scope.get("type") != "channel"
        try:
            while True:
                while not (is_ahead or inbox.is_asked):
                    await inbox.wait_for_room()
                message = await receive()
                if message["type"] in _ENDS:
                    inbox.finish(_completed(message))
                    return
                while not inbox.offer_client(message):
                    await inbox.wait_for_room()
        except asyncio.CancelledError as error:
            if not _is_being_cancelled():
                # The server's own receive() was: nothing will come any more.
                inbox.fail(error)
            raise
        except Exception as error:
            inbox.fail(error)

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
        loop, socket = self._loop, self.inbox.socket
        url_route = self._scope.get("url_route")
        logger.error(
            "%s raised %s: path %r, route %r, user %s, message %r",
            type(self._consumer).__qualname__,
            type(error).__name__,
            self._scope.get("path"),
            url_route,
            _name_of_user(self._scope),
            loop.message_type,
            exc_info=error,
            extra={"scope": self._scope, "message_type": loop.message_type},
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
        if self._puller is None or self._loop.message_type is None:
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
            await self._loop.end(message)

    async def _close(self) -> None:
        """Give back everything the connection had, also if that is cancelled."""
        if self._layer is not None:
            self._layer.close_mailbox(self._consumer.channel_name)
        tasks = [each for each in (self._reader, self._puller) if each is not None]
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
                self.inbox.drop_all()


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _completed(message: Message) -> Message:
    """Return a disconnect with what older servers leave out (ASGI 2.5)."""
    if message["type"] != "websocket.disconnect":
        return message
    code = message.get("code")
    return {
        **message,
        "code": _NO_STATUS if code is None else code,
        "reason": message.get("reason") or "",
    }


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
