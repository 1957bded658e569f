"""What the layers of channels_redis do wrong, and this one right."""

import asyncio
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
import redis.asyncio
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import BadMessage, ChannelFull, MessageTooLarge
from django_asgi_bridge.generic.websocket import (
    AsyncWebsocketConsumer,
    WebsocketConsumer,
)
from django_asgi_bridge.layers import BaseChannelLayer, channel_layers
from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.consumer.test_bursts import Sleeper
from tests.consumer.wire import Wire

WATCHDOG = 30.0


@pytest.fixture
def shards(redis_url):
    """Give two places that share no key: databases of one server."""
    parts = urlsplit(redis_url)
    return [urlunsplit(parts._replace(path=f"/{number}")) for number in (1, 2)]


@pytest.fixture
def commands(monkeypatch):
    """Give the names of the commands that are sent outside pipelines."""
    names = []
    execute = redis.asyncio.Redis.execute_command

    def noting(self, *args, **options):
        names.append(args[0].split()[0])
        return execute(self, *args, **options)

    monkeypatch.setattr(redis.asyncio.Redis, "execute_command", noting)
    return names


async def until(condition):
    async with asyncio.timeout(WATCHDOG):
        while not condition():  # noqa: ASYNC110 - what is awaited has no event
            await asyncio.sleep(0.005)


async def served(layer, consumer):
    """Return the socket of a consumer on a layer, open."""
    channel_layers.set("default", layer)
    try:
        return await Wire(consumer.as_asgi()).open()
    finally:
        channel_layers.backends.pop("default")


# Shards.


@pytest.mark.asyncio
async def test_group_of_lists_reaches_all_on_whichever_shard_they_are(make, shards):
    """R2: channels_redis ends memberships on the wrong server."""
    layer = make(hosts=shards, group_expiry=3600)
    lists = [f"jobs.{number}" for number in range(20)]
    groups = [f"room.{number}" for number in range(6)]
    for group in groups:
        for name in lists:
            await layer.group_add(group, name)
        await layer.group_add(group, "old")
    for number, url in enumerate(shards):
        with redis.Redis.from_url(url) as client:
            keys = client.keys(f"{layer.prefix}:members:*")
            assert keys, number
            for key in keys:
                client.zadd(key, {"old": 1})

    for group in groups:
        await layer.group_send(group, {"type": group})

    for name in lists:
        assert [(await layer.receive(name))["type"] for _ in groups] == groups
    await layer.send("old", {"type": "marker"})
    assert await layer.receive("old") == {"type": "marker"}
    await layer.flush()
    await layer.close()


@pytest.mark.asyncio
async def test_receiver_of_a_plain_channel_looks_where_its_messages_are(make, shards):
    """R3: a worker of channels_redis stays at one server while others have some."""
    reader, senders = make(hosts=shards), [make(hosts=shards) for _ in range(4)]
    names = [f"jobs.{number}" for number in range(10)]
    receiving = [asyncio.create_task(reader.receive(name)) for name in names]

    for index, name in enumerate(names):
        await senders[index % 4].send(name, {"type": name})

    async with asyncio.timeout(WATCHDOG):
        got = await asyncio.gather(*receiving)
    assert [message["type"] for message in got] == names
    for each in (reader, *senders):
        await each.close()


# Options and interface.


@pytest.mark.parametrize("option", ["on_disconnect", "on_reconnect"])
def test_option_without_effect_is_refused(option):
    """R4: the pub/sub layer takes these and never calls them."""
    with pytest.raises(ImproperlyConfigured, match=f"has no option '{option}'"):
        RedisChannelLayer(**{option: print})


def test_layer_is_a_channel_layer_with_its_errors():
    """R12, R14."""
    assert issubclass(RedisChannelLayer, BaseChannelLayer)
    assert RedisChannelLayer.ChannelFull is ChannelFull
    assert RedisChannelLayer.MessageTooLarge is MessageTooLarge


# What a message costs.


@pytest.mark.asyncio
async def test_send_is_one_command(make, commands):
    """R5, R6: four round trips there, and the script's text each time."""
    layer = make()
    await layer.send("jobs", {"type": "first"})
    commands.clear()

    for _ in range(3):
        await layer.send("jobs", {"type": "job"})

    assert commands == ["EVALSHA"] * 3
    await layer.flush()
    await layer.close()


@pytest.mark.asyncio
async def test_senders_together_put_no_more_than_the_capacity_into_a_channel(make):
    """R5: between its look and its send others of channels_redis send, too."""
    layers = [make(capacity=10) for _ in range(4)]

    outcomes = await asyncio.gather(
        *(layer.send("jobs", {"type": "job"}) for layer in layers for _ in range(50)),
        return_exceptions=True,
    )

    assert outcomes.count(None) == 10
    assert sum(isinstance(each, ChannelFull) for each in outcomes) == 190
    assert sum(layer.stats().dropped for layer in layers) == 190
    await layers[0].flush()
    for layer in layers:
        await layer.close()


@pytest.mark.asyncio
async def test_flush_does_not_stop_the_server(make, commands, redis_url):
    """R7: KEYS walks through all keys of a server while everybody waits."""
    layer = make()
    for number in range(1200):
        await layer.send(f"jobs.{number}", {"type": "job"})
    commands.clear()

    await layer.flush()

    assert set(commands) == {"SCAN", "DEL"}
    with redis.Redis.from_url(redis_url) as client:
        assert list(client.scan_iter(f"{layer.prefix}:*", count=1000)) == []
    await layer.close()


# Members that come and go.


@pytest.mark.asyncio
async def test_member_gets_what_is_sent_as_soon_as_it_has_joined(make):
    """R8: also by a process that knows nothing of it."""
    here, there = make(), make()

    class Joining(AsyncWebsocketConsumer):
        async def receive(self, text_data=None, bytes_data=None):
            await self.channel_layer.group_add(text_data, self.channel_name)
            await there.group_send(text_data, {"type": "echo", "text": text_data})

        async def echo(self, event):
            await self.send(text_data=event["text"])

    wire = await served(here, Joining)
    groups = [f"room.{number}" for number in range(100)]
    wire.say(*groups)
    await wire.until(lambda: len(wire.texts()) == 100)

    assert wire.texts() == groups
    await wire.leave()
    await here.close()
    await there.close()


@pytest.mark.asyncio
async def test_last_words_reach_the_others_of_the_group(make):
    """R8: what ``disconnect()`` sends."""
    layer = make()

    class Polite(AsyncWebsocketConsumer):
        groups = ["room"]
        heard: list = []

        async def left(self, event):
            self.heard.append((event["who"], self.channel_name))

        async def disconnect(self, code):
            await self.channel_layer.group_send(
                "room", {"type": "left", "who": self.channel_name}
            )

    wires = [await served(layer, Polite) for _ in range(3)]

    await wires[0].leave()
    await until(lambda: len(Polite.heard) == 2)
    await wires[1].leave()
    await until(lambda: len(Polite.heard) == 3)
    await wires[2].leave()

    assert len({who for who, _ in Polite.heard}) == 2
    assert all(who != by for who, by in Polite.heard)
    await layer.close()


# Connections, and what waits.


class Member(WebsocketConsumer):
    """A sync consumer that speaks to its group when it comes and when it goes."""

    groups = ["room"]

    def connect(self):
        self.accept()
        self.say("hello")

    def said(self, event):
        """Hear it."""

    def disconnect(self, code):
        self.say("bye")

    def say(self, word):
        async_to_sync(self.channel_layer.group_send)(
            "room", {"type": "said", "word": word}
        )


@pytest.mark.asyncio
async def test_storm_of_sync_consumers_ends_and_shares_few_connections(server, prefix):
    """R9: leaks and deadlocks of channels_redis."""
    layer = RedisChannelLayer([server.url], prefix, connections=4)
    with redis.Redis.from_url(server.url) as watcher:
        most, mine = 0, watcher.client_id()

        def others():
            return [each for each in watcher.client_list() if int(each["id"]) != mine]

        for _ in range(2):
            channel_layers.set("default", layer)
            wires = [Wire(Member.as_asgi()) for _ in range(100)]
            for wire in wires:
                wire.push("connect")
            for wire in wires:
                await wire.until(wire.sent.copy)
            channel_layers.backends.pop("default")
            most = max(most, len(others()))
            for wire in wires:
                await wire.leave()

        # Those that send, and the one that listens.
        assert 0 < most <= 5
        await layer.close()
        await until(lambda: not others())


@pytest.mark.asyncio
async def test_nothing_waits_for_ever_where_nobody_reads(make, redis_url):
    """R10."""
    layer = make(expiry=50, group_expiry=70)
    wire = await served(layer, AsyncWebsocketConsumer)
    (home,) = layer._homes.values()
    (gone,) = home._mailboxes
    await wire.leave()

    await layer.send("jobs", {"type": "job"})
    await layer.group_add("room", "jobs")
    await layer.send(gone, {"type": "late"})

    with redis.Redis.from_url(redis_url) as client:
        left = {key: client.ttl(key) for key in client.keys(f"{layer.prefix}:*")}
    names = {
        f"{layer.prefix}:list:jobs".encode(): 50,
        f"{layer.prefix}:members:room".encode(): 70,
    }
    assert left.keys() == names.keys()
    assert all(0 < left[key] <= names[key] for key in names)
    await layer.flush()
    await layer.close()


@pytest.mark.asyncio
@pytest.mark.parametrize("total", [150, 10_000])
async def test_slow_reader_is_bounded_and_each_loss_is_counted(total, make):
    """R11: sent == delivered + dropped, across the broker."""
    layer = make()
    wire = await served(layer, Sleeper)
    consumer = Sleeper.last
    wire.say("sleep")
    await wire.until(lambda: consumer.is_asleep)

    for number in range(total):
        await layer.group_send("room", {"type": "chat.message", "number": number})
    await until(lambda: layer.stats().delivered + layer.stats().dropped == total)
    assert layer.stats().delivered == 100
    consumer.gate.set()
    await wire.until(lambda: len(consumer.seen) == 100)
    await wire.leave()

    assert consumer.seen == list(range(100))
    assert consumer.dropped.layer_events == total - 100
    assert consumer.connection.inbox.gaps == {}
    await layer.close()


@pytest.mark.asyncio
async def test_each_member_has_the_capacity_of_its_own_name(make):
    """R13: channels_redis takes the first member's for all."""
    layer = make(channel_capacity={"small*": 1, "large*": 5})
    small, large = await layer.new_channel("small"), await layer.new_channel("large")
    for name in (small, large):
        await layer.group_add("room", name)

    for number in range(5):
        await layer.group_send("room", {"type": "n", "n": number})

    assert (await layer.receive(small))["n"] == 0
    await layer.send(small, {"type": "marker"})
    assert await layer.receive(small) == {"type": "marker"}
    assert [(await layer.receive(large))["n"] for _ in range(5)] == [*range(5)]
    assert layer.stats().dropped == 4
    await layer.flush()
    await layer.close()


# What cannot be carried.


@pytest.mark.asyncio
@pytest.mark.parametrize("method", ["send", "group_send"])
@pytest.mark.parametrize("kind", ["msgpack", "json"])
@pytest.mark.parametrize(
    ("content", "path"),
    [
        ({1: 2}, r"message\['a'\] has the key 1 "),
        ({None: 2}, r"message\['a'\] has the key None "),
        ({("b",): 2}, r"message\['a'\] has the key \('b',\) "),
        ([float("nan")], r"message\['a'\]\[0\] is nan"),
        ({"b": float("inf")}, r"message\['a'\]\['b'\] is inf"),
        ({"b": 2**63}, r"message\['a'\]\['b'\] is an integer of 64 bits"),
        ({"b": {2}}, r"message\['a'\]\['b'\] is \{2\} of type set"),
        ([[object]], r"message\['a'\]\[0\]\[0\] is <class 'object'>"),
        ("\ud800", r"message\['a'\] has the lone surrogate"),
    ],
)
async def test_forbidden_content_is_refused_by_its_path(
    content, path, kind, method, make
):
    layer = make(serializer_format=kind)

    with pytest.raises(BadMessage, match=path):
        await getattr(layer, method)("jobs", {"type": "a", "a": content})

    assert layer.stats().sent == 0
    await layer.close()


@pytest.mark.asyncio
async def test_bytes_are_refused_by_their_path_where_messages_are_json(make):
    layer = make(serializer_format="json")

    with pytest.raises(BadMessage, match=r"message\['a'\]\[0\] is b'b' of type bytes"):
        await layer.send("jobs", {"type": "a", "a": [b"b"]})
    with pytest.raises(BadMessage, match=r"message\['bytes'\] is b'b' of type bytes"):
        await layer.group_broadcast("room", bytes_data=b"b")

    await layer.close()
