"""A master that is watched by a Sentinel dies, and the layer goes on with the next."""

import asyncio
import contextlib
import socket

import pytest

from django_asgi_bridge.exceptions import LayerUnavailable
from django_asgi_bridge.layers.redis import RedisChannelLayer
from tests.layers.redis.servers import Sentinel
from tests.layers.redis.support import WATCHDOG, joined, until


class Site:
    """A master, its replica, and a Sentinel that knows both."""

    def __init__(self, start_server):
        self.master = start_server("--repl-diskless-sync-delay", "0")
        self.replica = start_server(
            "--replicaof", "127.0.0.1", str(self.master.port)
        )  # fmt: skip
        self.sentinel = start_server(self.master, kind=Sentinel)

    async def is_ready(self):
        with contextlib.closing(self.replica.client()) as client:
            await until(
                lambda: client.info("replication")["master_link_status"] == "up"
            )
        await until(lambda: int(self.sentinel.master()["num-slaves"]) == 1)


@pytest.fixture
def site(start_server):
    return Site(start_server)


@pytest.fixture
def silent():
    """Give the port of a Sentinel that is gone."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


@pytest.mark.asyncio
@pytest.mark.slow
async def test_layer_goes_on_when_the_master_dies(site, silent, prefix, caplog):
    """Row 36 of the faults: no consumer is lost, and what was lost is told."""
    await site.is_ready()
    sentinels = [("127.0.0.1", silent), ("127.0.0.1", site.sentinel.port)]
    host = {"sentinels": sentinels, "master_name": "site"}
    layer = RedisChannelLayer([host], prefix, timeout=2.0, connections=3)
    boxes = await joined(layer, 5)
    sent = 0

    async def send():
        nonlocal sent
        sent += 1
        try:
            await layer.group_send("room", {"type": "n", "n": sent})
        except LayerUnavailable:
            return False
        return True

    async def sent_at_last():
        """Send until Redis takes it: in a failover Sentinels change their minds."""
        async with asyncio.timeout(WATCHDOG):
            while not await send():
                pass

    assert await send()
    await layer.send("jobs", {"type": "job"})
    with contextlib.closing(site.master.client()) as client:
        await until(lambda: client.execute_command("WAIT", 1, 100) == 1)

    site.master.kill()
    assert not await send()
    await sent_at_last()
    await until(lambda: all(box.gaps for box in boxes))
    await sent_at_last()
    await until(
        lambda: all(len(box.events) + box.lost("room") == sent for box in boxes)
    )

    for box in boxes:
        assert box.gaps[0]["room"] is None
        assert box.numbers[-1] == sent
    async with asyncio.timeout(WATCHDOG):
        assert await layer.receive("jobs") == {"type": "job"}
    with contextlib.closing(site.replica.client()) as client:
        assert client.info("replication")["role"] == "master"
    assert caplog.text.count("is lost") == 1
    await layer.close()


@pytest.mark.asyncio
@pytest.mark.slow
async def test_senders_wait_for_a_connection_to_a_watched_master(site, prefix):
    """Bounded, and all closed at the end, those to the Sentinel too."""
    await site.is_ready()
    with contextlib.closing(site.master.client()) as client:
        own = client.client_list(_type="normal")
        before = len(own)
        asked = len(site.sentinel.connections())
        host = {
            "sentinels": [("127.0.0.1", site.sentinel.port)],
            "master_name": "site",
        }
        layer = RedisChannelLayer([host], prefix, connections=3)
        (box,) = await joined(layer, 1)

        await asyncio.gather(
            *(layer.group_send("room", {"type": "n", "n": n}) for n in range(50))
        )
        await until(lambda: len(box.events) == 50)

        assert len(client.client_list(_type="normal")) - before <= 3
        assert len(client.client_list(_type="pubsub")) == 1 + 1
        await layer.close()
        await until(lambda: len(client.client_list(_type="normal")) == before)
        await until(lambda: len(site.sentinel.connections()) == asked)


@pytest.mark.asyncio
@pytest.mark.slow
async def test_sentinel_that_hangs_up_is_asked_once(site, prefix):
    """The next one is asked at once, as a failover may wait for it."""
    await site.is_ready()
    asked = 0

    async def hang_up(reader, writer):
        nonlocal asked
        asked += 1
        writer.close()

    async with await asyncio.start_server(hang_up, "127.0.0.1", 0) as bad:
        sentinels = [bad.sockets[0].getsockname(), ("127.0.0.1", site.sentinel.port)]
        host = {"sentinels": sentinels, "master_name": "site"}
        layer = RedisChannelLayer([host], prefix, timeout=WATCHDOG)
        (box,) = await joined(layer, 1)
        await layer.group_send("room", {"type": "n", "n": 1})
        await until(lambda: box.events)

        assert asked == 1
        await layer.close()
