"""Loads that are programs of our own: one process, on the core of the load generators.

Such a program (``testproject.bench.clients``) prints a line when all is open, works
when it reads a line, and prints what it did; so what the server's process used can be
told apart by phase.
"""

import json
import select
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from testproject.bench.loads.figures import Figures
from testproject.bench.machine import load_core
from testproject.bench.peers import Servers
from testproject.bench.processes import Failed, Process, running

__all__ = ("ClientLoad",)

_PATIENCE = 300.0
"""Seconds that one phase may take."""


@dataclass(frozen=True)
class ClientLoad:
    """A load by one of the clients.

    Attributes:
        client: the module below ``clients``.
        job: what it is told to do; ports and seconds are added.
        keep: the figures that mean something in this case.
        settle: seconds between the last opening and the look at the memory.
        beside: a path that is asked for while everything is open.
        warm_job: what of the job is different when it is only a warm-up.
        warm_ups: how many there are.
        least: seconds that a measurement takes at least.
    """

    client: str
    job: Mapping[str, Any]
    keep: tuple[str, ...] = ("rate", "cpu", "busy", "load")
    settle: float = 0.0
    beside: str = ""
    warm_job: Mapping[str, Any] = field(default_factory=dict)
    warm_ups: int = 1
    least: float = 0.0

    def warm(self, servers: Servers, seconds: float) -> None:
        """See ``Load``."""
        for _ in range(self.warm_ups):
            with self._client(servers, seconds, self.warm_job) as client:
                _heard(client, servers)
                _told(client, servers)

    def run(self, servers: Servers, seconds: float) -> Figures:
        """See ``Load``."""
        before = servers.memory()
        with self._client(servers, max(seconds, self.least), {}) as client:
            ready = _heard(client, servers)
            time.sleep(self.settle)
            opened = servers.memory()
            figures = {"open": float(ready["open"])}
            if ready["open"]:
                figures["each"] = (opened - before) / ready["open"] / 1024
            if self.beside:
                figures["beside"] = _asked(servers, self.beside)
            servers.reset_peak()
            server = servers.cpu()
            done = _told(client, servers)
            server = servers.cpu() - server
            figures["growth"] = (servers.peak() - opened) / 1024**2
        if done["count"]:
            figures["cpu"] = server / done["count"] * 1e6
        figures["rate"] = done["count"] / done["seconds"]
        figures["busy"] = server / done["seconds"] * 100
        figures["load"] = done["cpu"] / done["seconds"] * 100
        figures["late"] = done.get("late", 0.0) * 1000
        return {name: figures[name] for name in self.keep if name in figures}

    @contextmanager
    def _client(
        self, servers: Servers, seconds: float, changes: Mapping[str, Any]
    ) -> Iterator[Process]:
        job = {**self.job, **changes, "ports": servers.ports, "seconds": seconds}
        module = f"testproject.bench.clients.{self.client}"
        words = [sys.executable, "-m", module, json.dumps(job)]
        with running(words, core=load_core(), talks=True) as client:
            yield client


def _told(client: Process, servers: Servers) -> dict[str, Any]:
    """Let the client begin, and return what it says at the end."""
    if client.popen.stdin is None:
        raise Failed("the client does not listen")
    try:
        client.popen.stdin.write(b"go\n")
        client.popen.stdin.flush()
    except BrokenPipeError:
        pass
    return _heard(client, servers)


def _heard(client: Process, servers: Servers) -> dict[str, Any]:
    """Return the next line of the client."""
    stdout = client.popen.stdout
    line = b""
    if stdout is not None and select.select([stdout], [], [], _PATIENCE)[0]:
        line = stdout.readline()
    if not line:
        words = client.last_words()
        last = words.rsplit("\n", 1)[-1] or "the load generator was silent"
        raise Failed(f"{last}\n{words}\n{servers.last_words()}")
    heard: dict[str, Any] = json.loads(line)
    return heard


def _asked(servers: Servers, path: str) -> float:
    """Return the milliseconds that a request takes, the median of some."""
    taken = []
    for _ in range(20):
        begin = time.perf_counter()
        status, _ = servers.get(path)
        taken.append(time.perf_counter() - begin)
        if status != 200:
            raise Failed(f"{path} answered {status}")
    return statistics.median(taken) * 1000
