"""``python -m testproject.bench.outage``: how long a layer is deaf after Redis was.

A redis-server of its own is killed and started again on the same port, between
senders of so many messages a second and consumers in groups. Printed are, for each
round, the seconds from its first answer until all subscriptions are there again and
until every consumer was told of the gap, and what became of the messages.

Needs redis-server.
"""

import argparse
import asyncio
import itertools
import platform
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

from django.conf import settings

from django_asgi_bridge.exceptions import LayerUnavailable

__all__ = ("main",)

ROOMS = 20


class Server:
    """A redis-server that keeps nothing."""

    def __init__(self, folder: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it; return when it first took a connection."""
        command = ["redis-server", "--port", str(self.port), "--save", ""]
        self._process = subprocess.Popen(
            [*command, "--dir", self._folder], stdout=subprocess.DEVNULL
        )
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return time.perf_counter()
            except OSError:
                time.sleep(0.001)

    def kill(self) -> None:
        """End it at once, as ``kill -9`` does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Mailbox:
    """A consumer's, as the layer sees it."""

    def __init__(self) -> None:
        self.received = self.lost = 0
        self.told_at = 0.0

    def put_event(self, message: dict[str, Any], capacity: int) -> bool:
        self.received += 1
        return True

    def put_frame(self, frame: Any, key: str) -> bool:
        return True

    def note_gap(self, groups: Any) -> None:
        self.told_at = self.told_at or time.perf_counter()
        for group, lost in groups.items():
            self.lost += (lost or 0) if group.startswith("room") else 0


async def _until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.002)


async def _round(server: Server, sockets: int, rate: int, away: float) -> str:
    import redis.asyncio  # noqa: PLC0415 - an extra

    from django_asgi_bridge.layers import RedisChannelLayer  # noqa: PLC0415 - settings

    server.start()
    hosts = [f"redis://127.0.0.1:{server.port}/0"]
    layer, sender = RedisChannelLayer(hosts), RedisChannelLayer(hosts)
    boxes = [Mailbox() for _ in range(sockets)]
    for number, box in enumerate(boxes):
        name = await layer.open_mailbox(box)
        await layer.group_add(f"room{number % ROOMS}", name)
    sent = [0] * ROOMS
    failed = 0

    async def send(room: int) -> None:
        nonlocal failed
        sent[room] += 1
        try:
            await sender.group_send(f"room{room}", {"type": "note", "n": sent[room]})
        except LayerUnavailable:
            failed += 1

    async def send_on() -> None:
        started = time.perf_counter()
        for turn in itertools.count():
            await send(turn % ROOMS)
            due = started + turn / rate
            await asyncio.sleep(max(0.0, due - time.perf_counter()))

    sending = asyncio.create_task(send_on())
    await _until(lambda: all(box.received > 2 for box in boxes))
    server.kill()
    await asyncio.sleep(away)
    started = await asyncio.to_thread(server.start)
    watcher = redis.asyncio.Redis.from_url(hosts[0])
    while len(await watcher.pubsub_channels("asgi:group:*")) < ROOMS:  # noqa: ASYNC110 - nothing tells it
        await asyncio.sleep(0.001)
    subscribed = time.perf_counter() - started
    await watcher.aclose()
    await _until(lambda: all(box.told_at for box in boxes))
    told = max(box.told_at for box in boxes) - started
    heard = [box.received for box in boxes]
    await _until(
        lambda: all(b.received > n + 1 for b, n in zip(boxes, heard, strict=True))
    )
    sending.cancel()
    await asyncio.wait([sending])
    for room in range(ROOMS):
        await send(room)
    # Late ones are waited for before they are told as lost.
    await asyncio.sleep(1)
    difference = sum(
        sent[n % ROOMS] - box.received - box.lost for n, box in enumerate(boxes)
    )
    lost = sum(box.lost for box in boxes)
    total = sum(sent[n % ROOMS] for n in range(sockets))
    await layer.close()
    await sender.close()
    server.kill()
    return (
        f"{subscribed:10.3f}{told:10.3f}{sum(sent):9}{failed:9}"
        f"{total:12}{lost:9}{difference:14}"
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the rounds and print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=200)
    parser.add_argument("--rate", type=int, default=200, help="messages a second")
    parser.add_argument("--away", type=float, default=1.0, help="seconds without Redis")
    parser.add_argument("--repeat", type=int, default=5)
    options = parser.parse_args(arguments)
    settings.configure()
    print(
        f"Python {platform.python_version()}, redis-py {version('redis')}, "
        f"{options.sockets} sockets, {options.rate} messages/s, "
        f"{options.away:g} s away\n"
        "subscribed      told     sent   failed      copies     lost   unexplained"
    )
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        for _ in range(options.repeat):
            try:
                line = asyncio.run(
                    _round(server, options.sockets, options.rate, options.away)
                )
            finally:
                server.kill()
            print(line)


if __name__ == "__main__":
    main()
