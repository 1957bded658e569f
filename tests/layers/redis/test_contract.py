"""What the layers of channels_redis do wrong, and this one right.

Each row runs on both, through the interface that both have: see ``beside``.
"""

import asyncio
import contextlib
import gc
import tracemalloc
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
import redis.asyncio
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import BadMessage, ChannelFull
from django_asgi_bridge.layers import channel_layers
from tests.consumer.test_bursts import Sleeper
from tests.consumer.wire import Wire
from tests.layers.redis.beside import Site, on_layers
from tests.layers.redis.gates import Gate
from tests.layers.redis.support import until


@pytest.fixture
def shards(redis_url):
    """Give two places that share no key: databases of one server."""
    parts = urlsplit(redis_url)
    return [urlunsplit(parts._replace(path=f"/{number}")) for number in (1, 2)]


@pytest.fixture
def site(kind, redis_url, prefix):
    """Give the site of a kind of layers, on the server that tests share."""
    return Site(kind, redis_url, prefix)


@pytest.fixture
def own_site(kind, server, prefix):
    """Give one on a server of the test's own."""
    return Site(kind, server.url, prefix)


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


def member(site):
    """Return a consumer class that notes what it hears, and what it is told it lost."""

    base: Any = site.kind.consumers.AsyncWebsocketConsumer

    class Member(base):
        groups = ["room"]

        def __init__(self):
            super().__init__()
            self.heard, self.lost = [], 0
            Member.last = self

        async def said(self, event):
            self.heard.append(event["n"])

        async def on_gap(self, groups):
            # None: it knows that some were lost, and not yet how many.
            self.lost += groups["room"] or 0

    return Member


async def say(layer, number, group="room"):
    await layer.group_send(group, {"type": "said", "n": number})


def has_subscribers(server):
    """Tell whether a process listens to the group."""
    with contextlib.closing(server.client()) as client:
        return any(each.endswith(b"room") for each in client.pubsub_channels())


# Shards.


@on_layers(core="R1: who sends looks at one server, who receives at another")
@pytest.mark.asyncio
async def test_direct_message_is_where_its_receiver_looks(site, shards):
    async with site:
        here, there = (site.layer(hosts=shards) for _ in range(2))
        names = [await here.new_channel() for _ in range(20)]
        receiving = [asyncio.create_task(here.receive(name)) for name in names]

        for name in names:
            await there.send(name, {"type": name})
        got = await received(site, receiving)

        assert got == names


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


@on_layers(core="R3: it stays at one server while others have messages")
@pytest.mark.asyncio
async def test_receiver_of_a_plain_channel_looks_where_its_messages_are(site, shards):
    async with site:
        reader, *senders = (site.layer(hosts=shards) for _ in range(5))
        names = [f"jobs.{number}" for number in range(10)]
        receiving = [asyncio.create_task(reader.receive(name)) for name in names]

        for index, name in enumerate(names):
            await senders[index % 4].send(name, {"type": name})
        got = await received(site, receiving)

        assert got == names


async def received(site, receiving):
    """Return the types of the messages that come, and give the rest up."""
    await asyncio.wait(receiving, timeout=site.kind.side.patience)
    got = [task.result()["type"] for task in receiving if task.done()]
    for task in receiving:
        task.cancel()
    await asyncio.wait(receiving)
    return got


# Options and interface.


@on_layers(pubsub="R4: it takes the functions and never calls them")
@pytest.mark.asyncio
async def test_option_has_an_effect_or_is_refused(own_site, server):
    calls = []
    async with own_site as site, Gate(server.port) as gate:
        for option in ("on_disconnect", "on_reconnect"):
            try:
                layer = site.layer(hosts=[gate.url], **{option: calls.append})
            except ImproperlyConfigured:
                # Refused.
                continue
            await site.open(layer, member(site))
            gate.cut()
            await until(lambda: not has_subscribers(server))
            await until(lambda: has_subscribers(server))

            assert calls


@pytest.mark.parametrize("option", ["on_disconnect", "on_reconnect"])
def test_option_without_effect_is_refused(option, make):
    """R4."""
    with pytest.raises(ImproperlyConfigured, match=f"has no option '{option}'"):
        make(**{option: print})


@on_layers(pubsub="R12: it checks no name", raises=pytest.fail.Exception)
@pytest.mark.parametrize("name", ["a room", "r" * 100, 5])
@pytest.mark.asyncio
async def test_name_that_is_none_is_refused(site, name):
    async with site:
        layer = site.layer()
        with pytest.raises(TypeError, match="name must be a valid unicode string"):
            await layer.group_send(name, {"type": "said"})
        with pytest.raises(TypeError, match="name must be a valid unicode string"):
            await layer.send(name, {"type": "said"})


@on_layers(pubsub="R12: it is no BaseChannelLayer")
def test_layer_is_a_channel_layer(kind):
    assert issubclass(kind.layer, kind.side("layers").BaseChannelLayer)


_NO_ERRORS = "R14: the layer does not have the errors that it raises"


@on_layers(core=_NO_ERRORS, pubsub=_NO_ERRORS, raises=AttributeError)
@pytest.mark.asyncio
async def test_sender_finds_the_errors_at_the_layer(site):
    async with site:
        layer = site.layer(capacity=1)
        await layer.send("jobs", {"type": "job"})

        with pytest.raises(layer.ChannelFull):
            await layer.send("jobs", {"type": "job"})
        assert issubclass(layer.MessageTooLarge, Exception)


_ANY_SIZE = "R14: no message is too large"


@on_layers(core=_ANY_SIZE, pubsub=_ANY_SIZE, raises=pytest.fail.Exception)
@pytest.mark.asyncio
async def test_message_of_a_megabyte_is_carried_and_one_without_end_is_not(site):
    async with site:
        layer = site.layer()
        await layer.group_send("room", {"type": "said", "body": "x" * (1 << 20)})

        with pytest.raises(Exception, match="bytes"):
            await layer.group_send("room", {"type": "said", "body": "x" * (1 << 23)})


# What a message costs.


@on_layers(core="R5: four round trips")
@pytest.mark.asyncio
async def test_send_is_one_command(site, commands):
    async with site:
        layer = site.layer()
        await layer.send("jobs", {"type": "first"})
        commands.clear()

        for _ in range(3):
            await layer.send("jobs", {"type": "job"})

        assert len(commands) == 3


@on_layers(core="R6: it sends the text of its script each time")
@pytest.mark.asyncio
async def test_group_send_sends_no_script(site, commands):
    async with site:
        layer = site.layer()
        await layer.group_add("room", "jobs")
        await say(layer, 1)
        commands.clear()

        await say(layer, 2)

        assert "EVAL" not in commands


@on_layers(core="R5: between its look and its send others send, too")
@pytest.mark.asyncio
async def test_senders_together_put_no_more_than_the_capacity_into_a_channel(site):
    async with site:
        layers = [site.layer(capacity=10) for _ in range(4)]

        outcomes = await asyncio.gather(
            *(
                layer.send("jobs", {"type": "job"})
                for layer in layers
                for _ in range(50)
            ),
            return_exceptions=True,
        )

        assert outcomes.count(None) == 10
        full = site.kind.side("exceptions").ChannelFull
        assert sum(isinstance(each, full) for each in outcomes) == 190


@pytest.mark.asyncio
async def test_each_message_that_finds_no_room_is_counted(make):
    layers = [make(capacity=10) for _ in range(4)]

    for layer in layers:
        for _ in range(50):
            with contextlib.suppress(ChannelFull):
                await layer.send("jobs", {"type": "job"})

    assert sum(layer.stats().dropped for layer in layers) == 190
    await layers[0].flush()
    for layer in layers:
        await layer.close()


@on_layers(core="R7: KEYS walks through all keys while everybody waits")
@pytest.mark.asyncio
async def test_flush_does_not_stop_the_server(own_site, server):
    async with own_site as site:
        layer = site.layer()
        for number in range(1200):
            await layer.send(f"jobs.{number}", {"type": "job"})

        await layer.flush()

        with contextlib.closing(server.client()) as client:
            assert client.dbsize() == 0
            assert "cmdstat_keys" not in client.info("commandstats")


# Members that come and go.


@on_layers(pubsub="R8: it does not wait for the subscription")
@pytest.mark.asyncio
async def test_member_gets_what_is_sent_as_soon_as_it_has_joined(own_site, server):
    """Also by a process that knows nothing of it, and if Redis is slow to hear."""
    async with own_site as site, Gate(server.port) as gate:
        here, there = site.layer(hosts=[gate.url]), site.layer()
        consumer = member(site)
        consumer.groups = []
        await site.open(here, consumer)
        mine = consumer.last

        gate.shut()
        joining = asyncio.create_task(here.group_add("room", mine.channel_name))
        await until(lambda: gate.held)
        for _ in range(50):
            # Whoever does not wait for an answer ends.
            await asyncio.sleep(0)
        if not joining.done():
            gate.open()
        await joining
        await say(there, 1)
        gate.open()
        await until(lambda: has_subscribers(server))
        await say(there, 2)
        await site.until(lambda: 2 in mine.heard)

        assert mine.heard == [1, 2]


_SILENT = "R8: disconnect() does not run when the server ends the consumer"


@on_layers(core=_SILENT, pubsub=_SILENT)
@pytest.mark.asyncio
async def test_last_words_reach_the_others_of_the_group(site):
    """However a member goes: what ``disconnect()`` sends."""
    async with site:
        base: Any = site.kind.consumers.AsyncWebsocketConsumer

        class Polite(base):
            groups = ["room"]
            heard: list = []
            said: list = []

            async def left(self, event):
                self.heard.append((event["who"], self.channel_name))

            async def disconnect(self, code):
                self.said.append(code)
                await self.channel_layer.group_send(
                    "room", {"type": "left", "who": self.channel_name}
                )

        layer = site.layer()
        wires = [await site.open(layer, Polite) for _ in range(3)]

        await wires[0].leave()
        await site.until(lambda: len(Polite.heard) == 2)
        wires[1].task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await wires[1].end()
        assert len(Polite.said) == 2
        await site.until(lambda: len(Polite.heard) == 3)

        assert len({who for who, _ in Polite.heard}) == 2
        assert all(who != by for who, by in Polite.heard)


# Connections, and what waits.


def talkers(site):
    """Return consumers that speak to their group when they come and when they go."""

    async def say_to_all(consumer, word):
        event = {"type": "said", "word": word}
        await consumer.channel_layer.group_send("room", event)

    sync_base: Any = site.kind.consumers.WebsocketConsumer
    async_base: Any = site.kind.consumers.AsyncWebsocketConsumer

    class Sync(sync_base):
        groups = ["room"]

        def connect(self):
            self.accept()
            async_to_sync(say_to_all)(self, "hello")

        def said(self, event):
            """Hear it."""

        def disconnect(self, code):
            async_to_sync(say_to_all)(self, "bye")

    class Async(async_base):
        groups = ["room"]

        async def connect(self):
            await self.accept()
            await say_to_all(self, "hello")

        async def said(self, event):
            """Hear it."""

        async def disconnect(self, code):
            await say_to_all(self, "bye")

    return Sync, Async


async def storm(site, consumer):
    """Let many come at once, and go, twice."""
    layer = site.layer()
    for _ in range(2):
        wires = [site.wire(layer, consumer) for _ in range(60)]
        for wire in wires:
            wire.push("connect")
        for wire in wires:
            await wire.until(wire.sent.copy)
        for wire in wires:
            await wire.leave()


MOST = 11
"""Connections of this layer: ten that send, and the one that listens."""


@on_layers(core="R9: each of those that come together opens a connection")
@pytest.mark.asyncio
async def test_storm_of_consumers_shares_few_connections(own_site, server):
    async with own_site as site:
        await storm(site, talkers(site)[1])

        assert 0 < len(server.connections()) <= MOST
    await until(lambda: not server.connections())


@on_layers()
@pytest.mark.asyncio
async def test_storm_of_sync_consumers_ends_and_shares_few_connections(
    own_site, server
):
    """R9. channels_redis 4.3 does as well: Channels has one thread for all of them."""
    async with own_site as site:
        await storm(site, talkers(site)[0])

        assert 0 < len(server.connections()) <= MOST
    await until(lambda: not server.connections())


@on_layers(core="R10: what comes for one that has left is kept for ever")
@pytest.mark.asyncio
async def test_message_for_a_consumer_that_has_left_is_not_kept(site):
    async with site:
        here, there = site.layer(), site.layer()
        consumer = member(site)
        leaver = await site.open(here, consumer)
        gone = consumer.last.channel_name
        await site.open(here, consumer)
        await leaver.leave()

        for _ in range(50):
            await there.send(gone, {"type": "late", "list": []})
        # It comes behind them.
        await say(there, 1)
        await site.until(lambda: consumer.last.heard)

        gc.collect()
        kept = [each for each in gc.get_objects() if type(each) is dict]
        assert [each for each in kept if each.get("type") == "late"] == []


@pytest.mark.asyncio
async def test_nothing_waits_for_ever_where_nobody_reads(make, redis_url):
    """R10, on the server."""
    layer = make(expiry=50, group_expiry=70)
    await layer.send("jobs", {"type": "job"})
    await layer.group_add("room", "jobs")

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


@on_layers(pubsub="R11: a queue without bound for each that is slow")
@pytest.mark.asyncio
async def test_slow_reader_is_bounded(site):
    """In memory: of 1,000 messages of 10 kB those wait that the capacity allows."""
    async with site:
        here, there = site.layer(), site.layer()
        asleep, gate = asyncio.Event(), asyncio.Event()

        base: Any = site.kind.consumers.AsyncWebsocketConsumer

        class Slow(base):
            groups = ["room"]

            async def said(self, event):
                asleep.set()
                await gate.wait()

        quick = member(site)
        quick.groups = ["other"]
        await site.open(here, Slow)
        await site.open(here, quick)
        await say(there, 0)
        await asleep.wait()

        tracemalloc.start()
        try:
            for number in range(1000):
                body = str(number) * 3400
                await there.group_send("room", {"type": "said", "body": body})
            # It comes behind them.
            await say(there, 1, group="other")
            await site.until(lambda: quick.last.heard)
            kept, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
            gate.set()

        assert kept < 150 * 10_200


@on_layers(pubsub="R11: nobody is told what is lost while it connects again")
@pytest.mark.asyncio
async def test_what_is_lost_while_redis_is_away_is_told(own_site, server):
    """Counted: what is sent is heard, or told as lost."""
    async with own_site as site, Gate(server.port) as gate:
        here, there = site.layer(hosts=[gate.url]), site.layer()
        consumer = member(site)
        await site.open(here, consumer)
        await say(there, 0)
        await site.until(lambda: consumer.last.heard == [0])

        gate.shut()
        gate.cut()
        await until(lambda: not has_subscribers(server))
        for number in range(1, 6):
            await say(there, number)
        gate.open()
        await until(lambda: has_subscribers(server))
        await say(there, 6)
        await site.until(lambda: 6 in consumer.last.heard)

        assert consumer.last.heard == [0, 6]
        await site.until(lambda: consumer.last.lost, "nobody is told of a loss")
        assert consumer.last.lost == 5


@on_layers(pubsub="R11: it looks for messages ten times a second")
@pytest.mark.asyncio
async def test_layer_that_waits_sets_no_short_timer(site, monkeypatch):
    """Redis tells it: the shortest time it waits by itself is a second."""
    loop, delays = asyncio.get_running_loop(), []
    call_at = loop.call_at

    def noting(when, *args, **options):
        delays.append(when - loop.time())
        return call_at(when, *args, **options)

    async with site:
        here, there = site.layer(), site.layer()
        consumer = member(site)
        monkeypatch.setattr(loop, "call_at", noting)
        await site.open(here, consumer)
        heard = consumer.last.heard
        for number in range(3):
            await say(there, number)
            while len(heard) == number:  # noqa: ASYNC110 - it would be a timer
                await asyncio.sleep(0)
        monkeypatch.undo()

    assert [each for each in delays if each < 0.9] == []


@pytest.mark.asyncio
@pytest.mark.parametrize("total", [150, 10_000])
async def test_what_a_slow_reader_loses_is_counted(total, make):
    """R11: sent == delivered + dropped, across the broker."""
    layer = make()
    channel_layers.set("default", layer)
    try:
        wire = await Wire(Sleeper.as_asgi()).open()
    finally:
        channel_layers.backends.pop("default")
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


@on_layers(core="R13: the first member's capacity counts for all of a process")
@pytest.mark.asyncio
async def test_each_member_has_the_capacity_of_its_own_name(site):
    sizes: dict[str, int] = {}

    base: Any = site.kind.layer

    class Sized(base):
        def get_capacity(self, channel):
            return sizes.get(channel, 100)

    async with site:
        layer = site.layer(Sized)
        small, large = sorted([await layer.new_channel() for _ in range(2)])
        sizes |= {small: 1, large: 6}
        for name in (small, large):
            await layer.group_add("room", name)

        for number in range(5):
            await say(layer, number)

        assert (await layer.receive(small))["n"] == 0
        for name in (small, large):
            await layer.send(name, {"type": "marker"})
        assert await layer.receive(small) == {"type": "marker"}
        got = [await layer.receive(large)]
        while got[-1]["type"] != "marker":
            got.append(await layer.receive(large))
        assert [each["n"] for each in got[:-1]] == [*range(5)]


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
