"""Two processes read one channel, as two ``runworker`` do."""

import signal
import subprocess
import sys
import threading
from collections import defaultdict
from pathlib import Path

import pytest

from tests.layers.redis.support import WATCHDOG, until

PROGRAM = Path(__file__).with_name("worker_process.py")


class Reader:
    """A process that reads; its lines are collected as they come."""

    def __init__(self, url, prefix):
        self._process = subprocess.Popen(
            [sys.executable, str(PROGRAM), url, prefix],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.got = []
        self._thread = threading.Thread(target=self._collect)
        self._thread.start()

    def _collect(self):
        for line in self._process.stdout:
            by, number = line.split()
            self.got.append((int(by), int(number)))

    def go_on(self):
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def end(self, number):
        """End it by a signal; all that it printed is there then."""
        self._process.send_signal(number)
        self._process.wait(WATCHDOG)
        self._thread.join(WATCHDOG)
        self._process.stdin.close()
        self._process.stdout.close()
        return self._process.returncode


@pytest.fixture
def start(redis_url, prefix):
    """Give a function that starts readers, which end with the test."""
    readers = []

    def start():
        readers.append(Reader(redis_url, prefix))
        return readers[-1]

    yield start
    for each in readers:
        each.end(signal.SIGKILL)


def in_order(got):
    """Tell whether the numbers of each sender are."""
    numbers = [[n for sender, n in got if sender == by] for by in range(2)]
    return all(each == sorted(each) for each in numbers)


@pytest.mark.asyncio
@pytest.mark.slow
async def test_two_processes_share_a_channel_and_lose_nothing(make, start):
    """None twice, none lost while nobody reads, the order of each sender kept."""
    senders = [make(capacity=1000), make(capacity=1000)]
    sent = defaultdict(int)

    async def send(count):
        for _ in range(count):
            for by, layer in enumerate(senders):
                message = {"type": "job", "by": by, "n": sent[by]}
                await layer.send("jobs", message)
                sent[by] += 1

    # Nobody reads yet.
    await send(50)
    one, two = start(), start()
    await until(lambda: one.got and two.got)
    one.go_on()
    two.go_on()
    await send(50)
    await until(lambda: len(one.got) + len(two.got) == 200)
    assert in_order(one.got)
    assert in_order(two.got)

    # One is told to end while messages come.
    await send(20)
    assert one.end(signal.SIGTERM) == 0
    await send(20)
    # Nobody reads again, and then a new one does.
    assert two.end(signal.SIGTERM) == 0
    await send(20)
    three = start()
    await until(lambda: three.got)
    three.go_on()
    total = sum(sent.values())
    await until(lambda: len(one.got) + len(two.got) + len(three.got) >= total)

    everything = one.got + two.got + three.got
    assert sorted(everything) == [(by, n) for by in range(2) for n in range(sent[by])]
    # Not so of the second one: what the first gave back as it ended was older than
    # what the second had by then.
    assert in_order(three.got)
    for layer in senders:
        await layer.close()
