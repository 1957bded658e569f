"""The channel layer on Redis."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ClassVar

from django_asgi_bridge.exceptions import ChannelFull, LayerUnavailable
from django_asgi_bridge.layers.base import BaseChannelLayer, require_message
from django_asgi_bridge.layers.broadcast import (
    MISSING,
    broadcast_event,
    broadcast_payload,
)
from django_asgi_bridge.layers.redis.background import Background
from django_asgi_bridge.layers.redis.counts import Counts
from django_asgi_bridge.layers.redis.envelopes import Envelope, Envelopes, Kind
from django_asgi_bridge.layers.redis.home import Home
from django_asgi_bridge.layers.redis.hosts import check_hosts
from django_asgi_bridge.layers.redis.options import check_overflow, refuse
from django_asgi_bridge.layers.redis.serializers import registry
from django_asgi_bridge.layers.redis.session import Session
from django_asgi_bridge.layers.stats import LayerStats
from django_asgi_bridge.protocol.messages import check_message
from django_asgi_bridge.types.layers import Mailbox

__all__ = ("RedisChannelLayer",)

logger = logging.getLogger("django_asgi_bridge.layers")

_LIVE = re.compile(r"specific\.live\.([0-9a-f]{16})!")
"""The channel of a consumer, and the home that it lives in."""


class RedisChannelLayer(BaseChannelLayer):
    """Channels and groups between the processes of a site.

    Args:
        hosts: URLs, ``(host, port)`` pairs, or dictionaries of redis-py's options
            with ``address``, or with ``sentinels`` and ``master_name``. Several are
            shards: each name is on one of them, for senders and receivers alike.
        prefix: of all keys; one for each site on a server.
        expiry: seconds after which a message that nobody took from its list is
            dropped.
        group_expiry: seconds after which the membership of a list ends.
        capacity: messages that may wait in a list, or in a consumer's inbox.
        channel_capacity: capacities by glob or compiled regular expression.
        symmetric_encryption_keys: secrets; the first encrypts, all decrypt.
        serializer_format: ``"msgpack"``, ``"json"`` or one that was registered.
        overflow: what goes when a list is full. ``"drop_newest"``: what is sent, and
            ``send()`` raises ``ChannelFull``. ``"drop_oldest"``: what waits longest,
            which suits readers to whom old news is worth least. Consumers' inboxes
            have ``Bounds`` of their own.
        max_message_size: bytes of one message. 2 MiB: twice what the specification
            of channel layers asks for.
        connections: that one event loop may open to one server, beside the one that
            listens.
        timeout: seconds that Redis may take to answer.
        options: none; named to tell which one is meant.

    Raises:
        ImproperlyConfigured: an option is unknown or wrong.
    """

    extensions: ClassVar[list[str]] = ["groups", "flush"]

    def __init__(
        self,
        hosts: Sequence[Any] | None = None,
        prefix: str = "asgi",
        expiry: float = 60,
        group_expiry: float = 86400,
        capacity: int = 100,
        channel_capacity: Any = None,
        symmetric_encryption_keys: Sequence[str | bytes] = (),
        serializer_format: str = "msgpack",
        *,
        overflow: str = "drop_newest",
        max_message_size: int = 2 * 1024 * 1024,
        connections: int = 10,
        timeout: float = 5.0,
        **options: Any,
    ) -> None:
        if options:
            refuse(next(iter(options)), inspect.signature(RedisChannelLayer))
        super().__init__(expiry, capacity, channel_capacity)
        self.hosts = check_hosts(hosts)
        self.prefix = prefix
        self.overflow = check_overflow(overflow)
        self.group_expiry = group_expiry
        self.timeout = timeout
        self._connections = connections
        self._envelopes = Envelopes(
            registry.find(serializer_format),
            symmetric_encryption_keys,
            max_size=max_message_size,
            ttl=expiry + 10,
        )
        self._lock = threading.Lock()
        self._homes: dict[asyncio.AbstractEventLoop, Home] = {}
        self._background = Background(self._make_session)
        self._counts = Counts()

    def stats(self) -> LayerStats:
        """Return what this process has sent and received; ``waiting`` is Redis'."""
        counts = self._counts
        return LayerStats(
            sent=counts.sent,
            delivered=counts.delivered,
            dropped=counts.dropped,
            expired=counts.expired,
            waiting=0,
        )

    # Channels.

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send a message to one channel.

        Whether a consumer's inbox is full is seen, and counted, where it lives.

        Raises:
            BadMessage: the message cannot be carried; the error names the key path.
            ChannelFull: as many messages wait as the list's capacity allows.
            LayerUnavailable: Redis does not answer.
            MessageTooLarge: it has more than ``max_message_size`` bytes.
            TypeError: the name is not valid.
        """
        self._check(message)
        self.require_valid_channel_name(channel)
        self._counts.sent += 1
        live = _LIVE.match(channel)
        if live is not None:
            await self._send_live(live[1], channel, Kind.EVENT, message)
        elif not await self._store(channel, message):
            raise ChannelFull(
                f"channel {channel!r} is full: its capacity is "
                f"{self.get_capacity(channel)} waiting messages."
            )

    async def receive(self, channel: str) -> dict[str, Any]:
        """Wait for the next message of a channel.

        Several may wait, in several processes; each message goes to one of them. A
        cancelled ``receive()`` takes none: one that Redis had given it already goes
        back to the front, where others may have taken later ones by then. While
        Redis is away it waits on.

        Raises:
            LayerUnavailable: the layer was closed meanwhile.
            RuntimeError: a consumer reads the channel.
            TypeError: the name is not valid.
        """
        self.require_valid_channel_name(channel)
        if _LIVE.match(channel):
            raise RuntimeError(
                f"channel {channel!r} is read by its consumer; receive() on a name of "
                "new_channel() instead."
            )
        home = self._home()
        async with home.lists.reading(channel) as lane:
            while True:
                data = await home.lists.next(channel, lane)
                try:
                    envelope = self._envelopes.open(data, channel)
                except Exception as error:
                    self._counts.poisoned += 1
                    logger.warning("a message in %r is left out: %s", channel, error)
                    continue
                self._counts.delivered += 1
                message: dict[str, Any] = envelope.message
                return message

    async def new_channel(self, prefix: str = "specific.") -> str:
        """Return a channel name that nobody else has."""
        return f"{prefix}.{secrets.token_hex(8)}!{secrets.token_hex(8)}"

    # Groups.

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel receive what is sent to a group, whichever process has it.

        Raises:
            LayerUnavailable: the channel is none of this process, and Redis does
                not answer.
            TypeError: a name is not valid.
        """
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._change(group, channel, Kind.JOIN)

    async def group_discard(self, group: str, channel: str) -> None:
        """Let a channel receive it no longer; raises what ``group_add()`` does."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        await self._change(group, channel, Kind.LEAVE)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send a message to all channels of a group: published once.

        Raises:
            BadMessage: the message cannot be carried; the error names the key path.
            LayerUnavailable: Redis does not answer.
            MessageTooLarge: it has more than ``max_message_size`` bytes.
            TypeError: the name is not valid.
        """
        self._check(message, "Message")
        self.require_valid_group_name(group)
        members = await self._publish(group, Kind.EVENT, message)
        await self._store_each(members, message)

    async def group_broadcast(
        self,
        group: str,
        *,
        text_data: str | None = None,
        bytes_data: bytes | None = None,
        json: object = MISSING,
    ) -> None:
        """Send one frame to the client of each consumer in a group.

        It is published once, and each process gives one frame to all its sockets.
        Members that no consumer reads get it as an event of the type
        ``bridge.broadcast``.

        Raises:
            ValueError: not exactly one of the three contents is given.
            LayerUnavailable: Redis does not answer.
        """
        self.require_valid_group_name(group)
        payload = broadcast_payload(text_data, bytes_data, json)
        members = await self._publish(group, Kind.FRAME, payload)
        await self._store_each(members, broadcast_event(group, payload))

    # Consumers.

    async def open_mailbox(self, mailbox: Mailbox) -> str:
        """Return a new channel whose messages go into ``mailbox``.

        While Redis is away it returns all the same: the subscription follows.
        """
        home = self._home()
        name = f"specific.live.{home.id}!{secrets.token_hex(8)}"
        await home.open(mailbox, name, self.get_capacity(name))
        return name

    def close_mailbox(self, channel: str) -> None:
        """Forget a consumer, from any thread: its channel leaves every group."""
        home = self._home_of(channel)
        if home is not None:
            home.close_mailbox(channel)

    # The whole layer.

    async def flush(self) -> None:
        """Delete everything of this layer in Redis; consumers keep their groups."""
        await self._do(Session.flush)

    async def close(self) -> None:
        """Close the connections of the running loop, and those of the background."""
        home = self._homes.get(asyncio.get_running_loop())
        if home is not None:
            await home.close()
        self._background.close()

    # Steps.

    def _check(self, message: Any, noun: str = "message") -> None:
        require_message(message, noun)
        check_message(message)

    def _seal(self, kind: Kind, name: str, message: Any) -> bytes:
        """Return the envelope of a message to one channel: these have no numbers."""
        body = self._envelopes.body(name, message)
        return self._envelopes.seal(Envelope(kind, bytes(8), 0, name, body))

    async def _publish(self, group: str, kind: Kind, message: Any) -> list[str]:
        # What is refused here has no number, for it would be told as lost.
        body = self._envelopes.body(group, message)
        since = time.time() - self.group_expiry

        async def publish(session: Session) -> list[str]:
            sender, number = session.numbering.next(group)
            data = self._envelopes.seal(Envelope(kind, sender, number, group, body))
            return await session.publish_to_group(group, data, since)

        members: list[str] = await self._do(publish)
        return members

    async def _send_live(
        self, home_id: str, channel: str, kind: Kind, message: Any
    ) -> None:
        data = self._seal(kind, channel, message)
        await self._do(lambda session: session.publish("live", home_id, data))

    async def _store(self, channel: str, message: Any) -> bool:
        data = self._seal(Kind.EVENT, channel, message)
        is_stored, expired, dropped = await self._do(
            lambda session: session.push(
                channel,
                data,
                self.expiry,
                self.get_capacity(channel),
                drops_oldest=self.overflow == "drop_oldest",
            )
        )
        self._counts.expired += expired
        self._counts.dropped += dropped
        return bool(is_stored)

    async def _store_each(self, channels: list[str], message: Any) -> None:
        """Store a message in each list; what a full one refuses is counted.

        Raises:
            LayerUnavailable: a list's server does not answer; the other lists have it.
        """
        failures = []
        for channel in channels:
            self._counts.sent += 1
            try:
                await self._store(channel, message)
            except LayerUnavailable as error:
                failures.append(error)
        if failures:
            raise failures[0]

    async def _change(self, group: str, channel: str, kind: Kind) -> None:
        """Change a membership, where it is kept."""
        live = _LIVE.match(channel)
        if live is None:
            now = time.time()
            if kind is Kind.JOIN:
                await self._do(
                    lambda session: session.join(group, channel, now, self.group_expiry)
                )
            else:
                await self._do(lambda session: session.leave(group, channel))
            return
        home = self._homes.get(asyncio.get_running_loop())
        if home is None or home.id != live[1]:
            await self._send_live(live[1], channel, kind, {"group": group})
        elif kind is Kind.JOIN:
            await home.join(group, channel)
        else:
            home.leave(group, channel)

    # Loops.

    async def _do(self, work: Callable[[Session], Coroutine[Any, Any, Any]]) -> Any:
        """Do something in Redis, over the connections that may be used from here."""
        home = self._homes.get(asyncio.get_running_loop())
        if home is not None:
            return await work(home.session)
        return await self._background.call(work)

    def _make_session(self) -> Session:
        return Session(
            self.hosts,
            self.prefix,
            connections=self._connections,
            timeout=self.timeout,
        )

    def _home(self) -> Home:
        """Return what the layer has on the running loop; made when first asked."""
        loop = asyncio.get_running_loop()
        home = self._homes.get(loop)
        if home is None:
            with self._lock:
                for each in [each for each in self._homes if each.is_closed()]:
                    del self._homes[each]
            home = self._homes[loop] = Home(
                self._make_session(),
                self._envelopes,
                self._counts,
                patience=min(2.0, self.timeout),
                expiry=self.expiry,
                on_end=functools.partial(self._homes.pop, loop, None),
            )
        return home

    def _home_of(self, channel: str) -> Home | None:
        for home in list(self._homes.values()):
            if home.has(channel):
                return home
        return None
