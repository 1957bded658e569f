"""A server that is slow, full or refuses: nothing is lost silently, nothing leaks."""

import asyncio
import contextlib

import pytest
import redis

from django_asgi_bridge.exceptions import LayerUnavailable, MessageTooLarge
from django_asgi_bridge.layers.redis import RedisChannelLayer
from django_asgi_bridge.layers.redis.envelopes import Envelope, Kind
from tests.layers.redis.support import WATCHDOG, Box, joined, until


async def sent_to_group(layer, number, group="room"):
    """Send; return whether the layer said that it was done."""
    try:
        await layer.group_send(group, {"type": "n", "n": number})
    except LayerUnavailable:
        return False
    return True


@pytest.mark.asyncio
async def test_senders_get_an_error_and_connections_stay_few_when_redis_pauses(
    server, prefix
):
    """C5: ``CLIENT PAUSE``, longer than the layer has patience."""
    layer = RedisChannelLayer([server.url], prefix, timeout=0.3, connections=3)
    (box,) = await joined(layer, 1)
    # Losses are told of senders that were heard before.
    assert await sent_to_group(layer, 0)
    tasks = len(asyncio.all_tasks())

    with contextlib.closing(server.client()) as client:
        client.client_pause(60_000, all=False)
        results = await asyncio.gather(
            *(sent_to_group(layer, number) for number in range(1, 30))
        )
        client.client_unpause()

    assert not any(results)
    assert await sent_to_group(layer, 30)
    await until(lambda: len(box.events) + box.lost("room") == 31)
    assert box.numbers == [0, 30]
    assert len(server.connections()) <= 4
    assert len(asyncio.all_tasks()) == tasks
    await layer.close()


@pytest.mark.asyncio
async def test_senders_wait_when_redis_pauses_shortly(server, prefix):
    layer = RedisChannelLayer([server.url], prefix, timeout=WATCHDOG, connections=3)
    (box,) = await joined(layer, 1)

    with contextlib.closing(server.client()) as client:
        client.client_pause(60_000, all=False)
        sending = [
            asyncio.create_task(sent_to_group(layer, number)) for number in range(30)
        ]
        # Three have a connection, and Redis has their commands.
        await until(lambda: client.info("clients")["blocked_clients"] == 3)
        assert not any(task.done() for task in sending)
        assert box.events == []
        client.client_unpause()

    assert all(await asyncio.gather(*sending))
    await until(lambda: len(box.events) == 30)
    assert box.gaps == []
    await layer.close()


@pytest.mark.asyncio
async def test_message_is_not_lost_when_redis_answers_its_reader_too_late(
    server, prefix
):
    """A frozen server takes the message for a reader that has given up."""
    layer = RedisChannelLayer([server.url], prefix, timeout=0.3)
    sender = RedisChannelLayer([server.url], prefix)
    await sender.send("jobs", {"type": "n", "n": 1})
    await sender.send("jobs", {"type": "n", "n": 2})
    assert (await layer.receive("jobs"))["n"] == 1

    server.freeze()
    receiving = asyncio.create_task(layer.receive("jobs"))
    home = layer._homes[asyncio.get_running_loop()]
    # It has asked, and waits before it asks again.
    await until(lambda: home.lists._lines["jobs"].waiters)
    server.thaw()

    async with asyncio.timeout(WATCHDOG):
        assert (await receiving)["n"] == 2
    await layer.close()
    await sender.close()


@pytest.mark.asyncio
async def test_error_tells_that_redis_has_no_room_for_clients(start_server, prefix):
    server = start_server("--maxclients", "10")
    layer = RedisChannelLayer([server.url], prefix)
    (box,) = await joined(layer, 1)
    late = RedisChannelLayer([server.url], prefix)
    with contextlib.closing(server.client()) as client:
        client.config_set("maxclients", 2)

        # Redis hangs up as it says so, and redis-py 5 may see that first.
        why = r"max number of clients|Connection lost"
        with pytest.raises(LayerUnavailable, match=why):
            await late.group_send("room", {"type": "n", "n": 1})
        client.config_set("maxclients", 10)

    await late.group_send("room", {"type": "n", "n": 2})
    await until(lambda: box.numbers == [2])
    await layer.close()
    await late.close()


@pytest.mark.asyncio
async def test_error_tells_that_redis_has_no_memory(start_server, prefix):
    """A full Redis stores nothing; groups go on, and lists can be emptied."""
    server = start_server("--maxmemory-policy", "noeviction")
    layer = RedisChannelLayer([server.url], prefix)
    (box,) = await joined(layer, 1)
    await layer.send("jobs", {"type": "n", "n": 1})
    await layer.send("jobs", {"type": "n", "n": 2})
    with contextlib.closing(server.client()) as client:
        client.config_set("maxmemory", 1)

        with pytest.raises(LayerUnavailable, match=r"OutOfMemory.*maxmemory"):
            await layer.send("jobs", {"type": "n", "n": 3})
        await layer.group_send("room", {"type": "n", "n": 4})
        await until(lambda: box.numbers == [4])
        async with asyncio.timeout(WATCHDOG):
            got = [(await layer.receive("jobs"))["n"] for _ in range(2)]

    assert got == [1, 2]
    await layer.close()


@pytest.mark.asyncio
async def test_one_connection_beside_the_listening_one_is_enough(server, prefix):
    layer = RedisChannelLayer([server.url], prefix, connections=1, timeout=1.0)
    (box,) = await joined(layer, 1)

    results = await asyncio.gather(*(sent_to_group(layer, n) for n in range(20)))
    await until(lambda: len(box.events) == 20)

    assert all(results)
    assert len(server.connections()) == 2
    await layer.close()


class Raising(Box):
    """A mailbox with a fault, such as a consumer's own ``overflow_key()``."""

    def put_event(self, message, capacity):
        raise RuntimeError("a fault of the consumer's")


@pytest.mark.asyncio
async def test_members_receive_on_when_one_of_them_fails(make, caplog):
    layer = make()
    (before,) = await joined(layer, 1)
    await layer.group_add("room", await layer.open_mailbox(Raising()))
    (after,) = await joined(layer, 1)

    for number in range(2):
        await layer.group_send("room", {"type": "n", "n": number})
    await until(lambda: len(before.events) == len(after.events) == 2)

    assert caplog.text.count("could not be given its message") == 2
    assert before.gaps == after.gaps == []
    await layer.close()


@pytest.mark.asyncio
async def test_refused_message_is_not_told_as_lost(make):
    layer = make(max_message_size=100)
    (box,) = await joined(layer, 1)

    await layer.group_send("room", {"type": "n", "n": 1})
    with pytest.raises(MessageTooLarge):
        await layer.group_send("room", {"type": "n", "text": "x" * 1000})
    await layer.group_send("room", {"type": "n", "n": 2})
    await until(lambda: len(box.events) == 2)
    home = layer._homes[asyncio.get_running_loop()]

    assert not any(origin.missing for origin in home._arrivals._origins.values())
    await layer.close()


@pytest.mark.asyncio
async def test_gap_is_told_when_the_client_reconnects_by_itself(server, prefix):
    """redis-py does so when its options ask for it."""
    layer = RedisChannelLayer([f"{server.url}?retry_on_timeout=true"], prefix)
    (box,) = await joined(layer, 1)

    with contextlib.closing(server.client()) as client:
        client.client_kill_filter(_type="pubsub")
    await until(lambda: box.gaps)

    assert box.gaps[0]["room"] is None
    await layer.group_send("room", {"type": "n", "n": 1})
    await until(lambda: box.events)
    await layer.close()


@pytest.mark.asyncio
async def test_other_members_are_sent_to_when_one_cannot_be(start_server, prefix):
    """A group whose members are lists on two servers, one of which is gone."""
    servers = [start_server(), start_server()]
    layer = RedisChannelLayer([each.url for each in servers], prefix, timeout=1.0)
    await layer._do(_nothing)
    shard_of = layer._background._session.shard_of
    group = next(f"g{n}" for n in range(99) if shard_of(f"g{n}") == 0)
    gone = next(f"a{n}" for n in range(99) if shard_of(f"a{n}") == 1)
    here = next(f"b{n}" for n in range(99) if shard_of(f"b{n}") == 0)
    await layer.group_add(group, gone)
    await layer.group_add(group, here)
    servers[1].kill()

    with pytest.raises(LayerUnavailable):
        await layer.group_send(group, {"type": "n", "n": 1})

    async with asyncio.timeout(WATCHDOG):
        assert (await layer.receive(here))["n"] == 1
    await layer.close()


async def _nothing(session):
    """Make the session, and do nothing with it."""


@pytest.mark.asyncio
async def test_only_members_on_the_lost_server_are_told(start_server, prefix, caplog):
    servers = [start_server(), start_server()]
    layer = RedisChannelLayer([each.url for each in servers], prefix, timeout=1.0)
    await layer.new_channel()
    home = layer._home()
    names = {home.session.shard_of(f"g{n}"): f"g{n}" for n in range(99)}
    (lost,), (kept,) = [await joined(layer, 1, names[shard]) for shard in (0, 1)]
    home_is_on = home.session.shard_of(home.id)

    servers[0].kill()
    for number in range(5):
        assert not await sent_to_group(layer, number, names[0])
        assert await sent_to_group(layer, number, names[1])
    servers[0].start()
    await until(lambda: any(names[0] in gap for gap in lost.gaps))
    await until(lambda: len(kept.events) == 5)

    assert not any(names[1] in gap for gap in kept.gaps + lost.gaps)
    # Direct messages come over one server, whose loss concerns everybody.
    assert len(kept.gaps) == (home_is_on == 0)
    await layer.close()


@pytest.mark.asyncio
async def test_message_that_comes_twice_is_delivered_once(make, redis_url):
    """A client that was told to repeat commands may publish it twice."""
    layer = make()
    (box,) = await joined(layer, 1)
    own = layer._envelopes

    def sealed(number):
        body = own.body("room", {"type": "n", "n": number})
        return own.seal(Envelope(Kind.EVENT, b"8 bytes.", number, "room", body))

    with contextlib.closing(redis.Redis.from_url(redis_url)) as client:
        for number in (1, 2, 2, 1, 3):
            client.publish(f"{layer.prefix}:group:room", sealed(number))
    await until(lambda: box.events and box.numbers[-1] == 3)

    assert box.numbers == [1, 2, 3]
    assert layer.stats().dropped == 2
    await layer.close()


@pytest.mark.asyncio
async def test_reader_gets_the_same_message_for_the_same_number(make):
    """And what it asked before takes nothing when it reaches Redis late."""
    layer = make()
    for number in range(3):
        await layer.send("jobs", {"type": "n", "n": number})
    home = layer._home()

    async def pop(reader, number):
        data, _ = await home.session.pop("jobs", reader, number)
        return data and layer._envelopes.open(data, "jobs").message["n"]

    assert [await pop("a", 7), await pop("a", 7)] == [0, 0]
    assert [await pop("b", 1), await pop("a", 8)] == [1, 2]
    await layer.send("jobs", {"type": "n", "n": 3})
    assert await pop("a", 7) is None
    assert await pop("a", 9) == 3
    await layer.close()
