"""What the layer on Redis promises beyond the interface of all layers."""

import asyncio
import subprocess
import sys
import textwrap
import threading

import pytest
import redis
from asgiref.sync import async_to_sync
from django.core.exceptions import ImproperlyConfigured

from django_asgi_bridge.exceptions import (
    BadMessage,
    LayerUnavailable,
    MessageTooLarge,
)
from django_asgi_bridge.layers.redis import RedisChannelLayer, registry
from django_asgi_bridge.layers.redis.envelopes import Envelope, Envelopes, Kind
from django_asgi_bridge.layers.redis.serializers import Serializer
from tests.layers.redis.servers import RedisServer
from tests.layers.redis.support import WATCHDOG, Box, joined, until

# Groups.


@pytest.mark.asyncio
async def test_group_is_published_to_once_and_subscribed_to_once(make, redis_url):
    layer = make()
    boxes = await joined(layer, 50)
    watcher = redis.Redis.from_url(redis_url)
    key = f"{layer.prefix}:group:room"

    assert dict(watcher.pubsub_numsub(key))[key.encode()] == 1
    before = watcher.info("commandstats").get("cmdstat_publish", {"calls": 0})["calls"]
    await layer.group_send("room", {"type": "a", "list": [1]})
    await until(lambda: all(box.events for box in boxes))
    after = watcher.info("commandstats")["cmdstat_publish"]["calls"]
    watcher.close()

    assert after - before == 1
    # Each member has a copy of its own.
    boxes[0].events[0]["list"].append(2)
    assert boxes[1].events[0] == {"type": "a", "list": [1]}
    await layer.close()


@pytest.mark.asyncio
async def test_broadcast_gives_one_frame_to_all_members(make):
    layer = make()
    boxes = await joined(layer, 3)

    await layer.group_broadcast("room", json={"a": 1})
    await layer.group_broadcast("room", bytes_data=b"x")
    await until(lambda: all(len(box.frames) == 2 for box in boxes))

    assert boxes[0].frames == [
        {"type": "websocket.send", "text": '{"a": 1}'},
        {"type": "websocket.send", "bytes": b"x"},
    ]
    assert boxes[0].frames[0] is boxes[1].frames[0]
    await layer.close()


@pytest.mark.asyncio
async def test_broadcast_reaches_lists_as_an_event(make):
    layer = make(capacity=1)
    await layer.group_add("room", "plain")

    await layer.group_broadcast("room", text_data="a")
    await layer.group_broadcast("room", text_data="b")

    async with asyncio.timeout(WATCHDOG):
        message = await layer.receive("plain")
    assert message == {"type": "bridge.broadcast", "group": "room", "text": "a"}
    stats = layer.stats()
    assert (stats.sent, stats.delivered, stats.dropped) == (2, 1, 1)
    await layer.close()


@pytest.mark.asyncio
async def test_message_that_the_format_cannot_carry_is_refused(make):
    layer = make(serializer_format="json")

    with pytest.raises(BadMessage, match=r"serializer_format.*bytes"):
        await layer.send("jobs", {"type": "a", "content": b"x"})

    await layer.close()


@pytest.mark.asyncio
async def test_closed_mailbox_leaves_its_groups_and_the_subscription(make, redis_url):
    layer = make()
    box = Box()
    name = await layer.open_mailbox(box)
    await layer.group_add("room", name)
    key = f"{layer.prefix}:group:room".encode()
    watcher = redis.Redis.from_url(redis_url)
    assert key in watcher.pubsub_channels(f"{layer.prefix}:*")

    layer.close_mailbox(name)
    layer.close_mailbox(name)
    await until(lambda: key not in watcher.pubsub_channels(f"{layer.prefix}:*"))
    await layer.group_send("room", {"type": "a"})
    watcher.close()

    assert box.events == []
    await layer.close()


@pytest.mark.asyncio
async def test_consumer_of_another_process_is_sent_to_and_joined(make):
    """Two layers are two processes, as far as Redis sees."""
    one, two = make(), make()
    box = Box()
    name = await one.open_mailbox(box)

    await two.send(name, {"type": "direct"})
    await two.group_add("room", name)
    await until(lambda: one._homes[asyncio.get_running_loop()]._groups)
    await two.group_send("room", {"type": "group"})
    await until(lambda: len(box.events) == 2)
    await two.group_discard("room", name)
    await until(lambda: not one._homes[asyncio.get_running_loop()]._groups)

    assert [event["type"] for event in box.events] == ["direct", "group"]
    await one.close()
    await two.close()


@pytest.mark.asyncio
async def test_each_sender_keeps_its_order(make):
    """C9."""
    receiver, *senders = make(), make(), make()
    (box,) = await joined(receiver, 1)

    async def send(number, layer):
        for index in range(200):
            await layer.group_send("room", {"type": "n", "by": number, "n": index})

    await asyncio.gather(*(send(*each) for each in enumerate(senders)))
    await until(lambda: len(box.events) == 400)

    for number in range(2):
        assert [e["n"] for e in box.events if e["by"] == number] == list(range(200))
    assert box.gaps == []
    for layer in (receiver, *senders):
        await layer.close()


# Lists.


@pytest.mark.asyncio
async def test_two_workers_share_the_messages_of_a_channel(make):
    sender, *readers = make(), make(), make()
    got = [[], []]

    async def read(layer, into):
        while True:
            into.append((await layer.receive("jobs"))["n"])

    for number in range(50):
        await sender.send("jobs", {"type": "job", "n": number})
    tasks = [
        asyncio.create_task(read(*each)) for each in zip(readers, got, strict=True)
    ]
    for number in range(50, 100):
        await sender.send("jobs", {"type": "job", "n": number})
    await until(lambda: len(got[0]) + len(got[1]) == 100)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)

    assert sorted(got[0] + got[1]) == list(range(100))
    for layer in (sender, *readers):
        await layer.close()


# Shards.


@pytest.mark.asyncio
async def test_every_name_is_on_one_of_two_servers_for_both_sides(tmp_path, prefix):
    """R1: ten thousand direct sends arrive, over names of both kinds."""
    servers = [RedisServer(tmp_path), RedisServer(tmp_path)]
    hosts = [server.url for server in servers]
    one = RedisChannelLayer(hosts, prefix, capacity=20_000)
    two = RedisChannelLayer(hosts, prefix, capacity=20_000)
    try:
        boxes = {}
        for _ in range(500):
            box = Box()
            boxes[await one.open_mailbox(box)] = box
        lists = [await one.new_channel() for _ in range(500)]
        names = [*boxes, *lists]

        async def send(index):
            for number in range(10):
                await two.send(names[index], {"type": "n", "n": number})

        for start in range(0, len(names), 50):
            await asyncio.gather(*map(send, range(start, start + 50)))
        await until(lambda: sum(len(box.events) for box in boxes.values()) == 5000)
        received = [
            [(await one.receive(name))["n"] for _ in range(10)] for name in lists
        ]

        assert all([e["n"] for e in b.events] == [*range(10)] for b in boxes.values())
        assert received == [[*range(10)]] * 500
    finally:
        await one.close()
        await two.close()
        for server in servers:
            server.kill()


# Redis goes away.


@pytest.mark.asyncio
async def test_killed_server_costs_no_consumer_and_the_gap_is_told(
    server, prefix, caplog
):
    """1.14, C5: kill -9 and restart between messages to 200 members."""
    layer = RedisChannelLayer([server.url], prefix, timeout=1.0)
    boxes = await joined(layer, 200)
    sent = lost = 0

    async def send(count):
        nonlocal sent, lost
        for _ in range(count):
            try:
                await layer.group_send("room", {"type": "n", "n": sent})
            except LayerUnavailable:
                lost += 1
            sent += 1

    await send(20)
    await until(lambda: all(len(box.events) == 20 for box in boxes))
    server.kill()
    await send(10)
    assert lost == 10
    server.start()
    await until(lambda: all(box.gaps for box in boxes))
    await send(20)
    await until(lambda: all(box.events[-1]["n"] == sent - 1 for box in boxes))
    await until(lambda: all(len(box.gaps) == 2 for box in boxes))

    for box in boxes:
        numbers = [event["n"] for event in box.events]
        assert numbers == [*range(20), *range(30, 50)]
        # First that something may be missing, then how much.
        assert box.gaps[0]["room"] is None
        assert box.gaps[1:] == [{"room": 10}]
    assert caplog.text.count("is lost") == 1
    assert caplog.text.count("Redis is back") == 1
    await layer.close()


@pytest.mark.asyncio
async def test_consumers_open_and_join_while_redis_is_away(server, prefix, caplog):
    layer = RedisChannelLayer([server.url], prefix, timeout=0.5)
    server.kill()

    boxes = await joined(layer, 2)
    with pytest.raises(LayerUnavailable, match="was not sent"):
        await layer.group_send("room", {"type": "n"})
    server.start()
    await until(lambda: all(box.gaps for box in boxes))
    await layer.group_send("room", {"type": "n"})
    await until(lambda: all(box.events for box in boxes))
    await layer.close()


@pytest.mark.asyncio
async def test_receiver_waits_while_redis_is_away(server, prefix, caplog):
    layer = RedisChannelLayer([server.url], prefix, timeout=0.5)
    receiving = asyncio.create_task(layer.receive("jobs"))
    await until(lambda: layer._homes)
    server.kill()
    await asyncio.sleep(0)
    server.start()

    async def send():
        while True:
            try:
                await layer.send("jobs", {"type": "job"})
                return
            except LayerUnavailable:
                await asyncio.sleep(0.01)

    await send()
    async with asyncio.timeout(WATCHDOG):
        assert await receiving == {"type": "job"}
    await layer.close()


# Senders without a loop of their own.


def test_senders_in_threads_share_two_connections(make, redis_url):
    """R9: as a task queue sends, each call with a loop that is gone afterwards."""
    layer = make(connections=2)
    watcher = redis.Redis.from_url(redis_url)
    known = {each["id"] for each in watcher.client_list()}

    def send():
        for _ in range(50):
            async_to_sync(layer.group_send)("room", {"type": "n"})

    threads = [threading.Thread(target=send) for _ in range(8)]
    for thread in threads:
        thread.start()
    most = 0
    while any(thread.is_alive() for thread in threads):
        new = {each["id"] for each in watcher.client_list()} - known
        most = max(most, len(new))
    for thread in threads:
        thread.join()
    watcher.close()

    assert most <= 2
    assert layer.stats().dropped == 0
    asyncio.run(layer.close())


def test_process_ends_without_a_warning(redis_url, prefix):
    """A command that sends and ends leaves nothing behind."""
    code = f"""
        import asyncio
        from asgiref.sync import async_to_sync
        from django.conf import settings
        settings.configure()
        from django_asgi_bridge.layers.redis import RedisChannelLayer
        layer = RedisChannelLayer([{redis_url!r}], {prefix!r})
        async_to_sync(layer.send)("jobs", {{"type": "job"}})
        print(asyncio.run(layer.receive("jobs")))
    """
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "{'type': 'job'}\n"
    assert "closed" not in done.stderr
    assert "Traceback" not in done.stderr


# What may be sent.


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("message", "path"),
    [
        ({"type": "a", "b": [1, {"c": object()}]}, r"\['b'\]\[1\]\['c'\]"),
        ({"type": "a", 1: 2}, "1"),
        ({"type": "a", "n": float("nan")}, r"\['n'\]"),
        ({"type": "a", "n": 2**64}, r"\['n'\]"),
    ],
)
async def test_message_that_cannot_be_carried_names_the_place(make, message, path):
    layer = make()

    with pytest.raises(BadMessage, match=path):
        await layer.group_send("room", message)


@pytest.mark.asyncio
async def test_message_may_not_be_larger_than_the_limit(make):
    layer = make(max_message_size=1000)

    with pytest.raises(MessageTooLarge, match="max_message_size is 1000"):
        await layer.send("jobs", {"type": "a", "text": "x" * 1000})


@pytest.mark.asyncio
async def test_poisoned_data_is_counted_and_left_out(make, redis_url, caplog):
    layer = make()
    (box,) = await joined(layer, 1)
    other = redis.Redis.from_url(redis_url)

    for data in (b"", b"nonsense", b"\xff" * 100):
        other.publish(f"{layer.prefix}:group:room", data)
    other.close()
    await layer.group_send("room", {"type": "fine"})
    await until(lambda: box.events)

    assert box.events == [{"type": "fine"}]
    assert layer._counts.poisoned == 3
    await layer.close()


# Encryption.


def envelopes(*keys, ttl=60):
    return Envelopes(registry["msgpack"], keys, max_size=1000, ttl=ttl)


LETTER = Envelope(Kind.EVENT, b"12345678", 1, "room", {"type": "a"})


def sealed_with(*keys):
    own = envelopes(*keys)
    return own.seal(LETTER._replace(message=own.body("room", LETTER.message)))


def test_encrypted_message_opens_with_a_rotated_key():
    """C3."""
    sealed = sealed_with("old")

    assert envelopes("new", "old").open(sealed, "room") == LETTER
    assert b"room" not in sealed


@pytest.mark.parametrize(
    ("change", "name", "keys"),
    [
        (lambda data: data[:-3] + b"xx=", "room", ["key"]),
        (lambda data: data, "other", ["key"]),
        (lambda data: data, "room", ["another"]),
        (lambda data: b"plain", "room", ["key"]),
    ],
    ids=["tampered", "replayed to another group", "another key", "not encrypted"],
)
def test_message_that_was_not_meant_so_is_refused(change, name, keys):
    sealed = sealed_with("key")

    with pytest.raises(ValueError, match=r"encrypted|is for"):
        envelopes(*keys).open(change(sealed), name)


def test_message_that_is_too_old_is_refused(monkeypatch):
    import time

    sealed = sealed_with("key")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 61)

    with pytest.raises(ValueError, match="too long ago"):
        envelopes("key").open(sealed, "room")


# Options.


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"hosts": "redis://localhost"}, ValueError, "expected a list"),
        ({"hosts": []}, ImproperlyConfigured, "expected a list"),
        ({"hosts": ["localhost"]}, ImproperlyConfigured, "expected a list"),
        ({"hosts": [{"sentinels": []}]}, ImproperlyConfigured, "master_name"),
        ({"capcity": 5}, ImproperlyConfigured, "nearest one is 'capacity'"),
        ({"serializer_format": "pickle"}, ImproperlyConfigured, "'msgpack'"),
        ({"symmetric_encryption_keys": "key"}, ImproperlyConfigured, "a list"),
    ],
)
def test_option_that_cannot_be_meant_is_an_error(options, error, message):
    with pytest.raises(error, match=message):
        RedisChannelLayer(**options)


@pytest.mark.asyncio
@pytest.mark.parametrize("kind", ["pair", "dictionary", "address"])
async def test_host_may_be_named_in_several_ways(kind, server, prefix):
    host = {
        "pair": ("127.0.0.1", server.port),
        "dictionary": {"host": "127.0.0.1", "port": server.port, "db": 0},
        "address": {"address": server.url},
    }[kind]
    layer = RedisChannelLayer([host], prefix, serializer_format="json")

    await layer.send("jobs", {"type": "job"})

    assert await layer.receive("jobs") == {"type": "job"}
    await layer.close()


def test_formats_can_be_registered_once():
    own = Serializer(lambda message: b"", lambda data: {})
    registry.register_serializer("own", own)
    try:
        assert registry.find("own") is own
        with pytest.raises(ValueError, match="registered already"):
            registry.register_serializer("own", own)
    finally:
        del registry["own"]


@pytest.mark.asyncio
async def test_options_of_a_sentinel_host_replace_the_layers(prefix):
    host = {
        "sentinels": [("127.0.0.1", 1)],
        "master_name": "m",
        "socket_timeout": 1.5,
        "password": "secret",
    }
    layer = RedisChannelLayer([host], prefix)
    (client,) = layer._make_session().clients

    found = client.connection_pool.connection_kwargs
    assert (found["socket_timeout"], found["password"]) == (1.5, "secret")
    await layer.close()


@pytest.mark.asyncio
async def test_connection_that_the_server_closed_is_made_anew(make, server):
    """A restart, or a limit on idle connections, costs no send once that is over."""
    layer = make(hosts=[server.url])
    await layer.new_channel()
    session = layer._home().session
    await layer.send("jobs", {"type": "a"})
    (idle,) = session.clients[0].connection_pool._available_connections
    admin = redis.Redis.from_url(server.url)

    admin.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    admin.close()
    await until(idle._reader.at_eof)
    await layer.send("jobs", {"type": "b"})

    async with asyncio.timeout(WATCHDOG):
        assert (await layer.receive("jobs"))["type"] == "a"
        assert (await layer.receive("jobs"))["type"] == "b"
    await layer.close()
