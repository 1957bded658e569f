"""Redis is killed and comes back between 200 consumers and their senders."""

import asyncio
import itertools
import json

import pytest

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.generic.websocket import AsyncWebsocketConsumer
from django_asgi_bridge.layers import channel_layers
from django_asgi_bridge.layers.redis import RedisChannelLayer
from django_asgi_bridge.testing import WebsocketCommunicator
from tests.layers.redis.support import WATCHDOG, until

SOCKETS = 200
ROOMS = [f"room{number}" for number in range(20)]
RATE = 200
"""Messages a second."""


class Member(AsyncWebsocketConsumer):
    """Counts what comes to its room, and what it is told to have missed."""

    live: list["Member"] = []

    async def connect(self):
        self.room = self.scope["path"].strip("/")
        self.numbers, self.gaps, self.overflowed = [], [], 0
        await self.channel_layer.group_add(self.room, self.channel_name)
        await self.accept()
        self.live.append(self)

    async def receive(self, text_data=None, bytes_data=None):
        await self.send(text_data=json.dumps({"heard": text_data}))

    async def note(self, event):
        self.numbers.append(event["n"])

    async def on_gap(self, groups):
        self.gaps.append(dict(groups))

    async def on_overflow(self, dropped):
        self.overflowed += dropped.layer_events

    async def disconnect(self, code):
        self.live.remove(self)

    @property
    def lost(self):
        """How many of its room were told as lost, where that is known."""
        return sum(gap.get(self.room) or 0 for gap in self.gaps)


class Traffic:
    """Sends numbered messages to one room after the other.

    Args:
        layer: over which.
    """

    def __init__(self, layer):
        self.layer = layer
        self.sent = dict.fromkeys(ROOMS, 0)
        self.failed = 0
        self._is_ending = False

    async def run(self):
        loop = asyncio.get_running_loop()
        started = loop.time()
        for turn in itertools.count():
            if self._is_ending:
                return
            await self.send(ROOMS[turn % len(ROOMS)])
            # The load that is asked for, nothing that the test waits for.
            await asyncio.sleep(max(0.0, started + turn / RATE - loop.time()))

    def end(self):
        self._is_ending = True

    async def send(self, room):
        number, self.sent[room] = self.sent[room], self.sent[room] + 1
        try:
            await self.layer.group_send(room, {"type": "note", "n": number})
        except LayerUnavailable:
            self.failed += 1


@pytest.fixture
def sender(server, prefix):
    """Give the layer of another process, as far as Redis sees."""
    return RedisChannelLayer([server.url], prefix, timeout=2.0)


@pytest.fixture
def layer(server, prefix):
    own = RedisChannelLayer([server.url], prefix, timeout=2.0)
    channel_layers.set("default", own)
    Member.live = []
    yield own
    channel_layers.backends.pop("default", None)


async def connected(count):
    sockets = [
        WebsocketCommunicator(Member.as_asgi(), f"/{ROOMS[n % len(ROOMS)]}")
        for n in range(count)
    ]
    for socket in sockets:
        assert (await socket.connect(timeout=WATCHDOG))[0]
    return sockets


@pytest.mark.asyncio
@pytest.mark.slow
async def test_no_socket_drops_and_losses_are_exact_when_redis_is_killed(
    server, layer, sender, caplog
):
    """C5, 1.14: sent = delivered + told as lost, for each of 200 sockets."""
    sockets = await connected(SOCKETS)
    members = list(Member.live)
    traffic = Traffic(sender)
    sending = asyncio.create_task(traffic.run())
    await until(lambda: all(member.numbers for member in members))

    server.kill()
    await until(lambda: traffic.failed >= 2 * len(ROOMS))
    await asyncio.to_thread(server.start)
    await until(lambda: all(member.gaps for member in members))
    heard = [len(member.numbers) for member in members]
    await until(
        lambda: all(
            len(member.numbers) > before
            for member, before in zip(members, heard, strict=True)
        )
    )
    traffic.end()
    await sending

    def accounts():
        return [
            len(member.numbers) + member.lost + member.overflowed
            - traffic.sent[member.room]
            for member in members
        ]  # fmt: skip

    await until(lambda: not any(accounts()))
    assert not any(member.overflowed for member in members)
    for member in members:
        # In order, none twice; told first that something may be missing.
        assert member.numbers == sorted(set(member.numbers))
        assert member.gaps[0][member.room] is None
        assert member.lost > 0
    assert Member.live == members
    for socket in sockets:
        await socket.send_to(text_data="still there?")
        answer = await socket.receive_json_from(timeout=WATCHDOG)
        assert answer == {"heard": "still there?"}
    channels = {str(member.room) for member in members}
    with server.client() as client:
        found = client.pubsub_numsub(*(f"{layer.prefix}:group:{c}" for c in channels))
    assert all(count == 1 for _, count in found)
    assert caplog.text.count("is lost") == 1
    assert caplog.text.count("Redis is back") == 1
    for socket in sockets:
        await socket.disconnect(timeout=WATCHDOG)
    assert Member.live == []
    await layer.close()
    await sender.close()
