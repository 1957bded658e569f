"""The peers: ways to serve the site, each on the server that its users would take."""

import importlib.util
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

from testproject.bench.machine import server_core
from testproject.bench.processes import (
    Failed,
    Process,
    free_port,
    running,
    wait_until,
)

__all__ = (
    "BARE",
    "BOLT",
    "CHANNELS",
    "DJANGO",
    "GTHREAD",
    "OURS",
    "OURS_GRANIAN",
    "OURS_SOCKETS",
    "OURS_SOCKETS_GRANIAN",
    "STARLETTE",
    "Peer",
    "Servers",
    "serving",
)

SITE = "testproject.bench.site"
_START = 60.0
"""Seconds that a server has to answer its first request."""


@dataclass(frozen=True, eq=False)
class Peer:
    """One way to serve the site.

    Attributes:
        name: how a report calls it.
        server: a key of ``_COMMANDS``.
        target: the module below ``site`` that has its ``application``.
        needs: modules without which it is left out.
        environment: variables that it always has.
    """

    name: str
    server: str
    target: str
    needs: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """Return which of its modules are not installed."""
        names = (self.server, *self.needs)
        return [name for name in names if importlib.util.find_spec(name) is None]

    def command(self, port: int, environment: Mapping[str, str]) -> list[str]:
        """Return the server's command line."""
        words = _COMMANDS[self.server]
        values = {
            "port": str(port),
            "threads": environment.get("BENCH_THREADS", "8"),
            "target": f"{SITE}.{self.target}:application",
        }
        return [sys.executable, *(word.format_map(values) for word in words)]


_COMMANDS = {
    # Pings are off: a client that counts bytes is not to mistake them for messages.
    "uvicorn": (
        "-m", "uvicorn", "--log-level", "error", "--no-access-log", "--port", "{port}",
        "--ws-ping-interval", "3600", "--backlog", "4096", "{target}",
    ),
    "granian": (
        "-m", "granian", "--interface", "asgi", "--workers", "1", "--log-level",
        "error", "--backlog", "4096", "--port", "{port}", "{target}",
    ),
    "gunicorn": (
        "-m", "gunicorn", "-k", "gthread", "--threads", "{threads}", "--keep-alive",
        "75", "--worker-connections", "4000", "--log-level", "critical", "-b",
        "127.0.0.1:{port}", "{target}",
    ),
    "django_bolt": (
        "-m", "django", "runbolt", "--host", "127.0.0.1", "--port", "{port}",
        "--processes", "1", "--skip-checks",
    ),
}  # fmt: skip

_APP = {"BENCH_APPS": "django_asgi_bridge"}
OURS = Peer("django_asgi_bridge on uvicorn", "uvicorn", "ours", environment=_APP)
OURS_GRANIAN = Peer(
    "django_asgi_bridge on granian", "granian", "ours", environment=_APP
)
OURS_SOCKETS = Peer(
    "django_asgi_bridge on uvicorn", "uvicorn", "ours_sockets", environment=_APP
)
OURS_SOCKETS_GRANIAN = Peer(
    "django_asgi_bridge on granian", "granian", "ours_sockets", environment=_APP
)
DJANGO = Peer("Django's ASGI handler on uvicorn", "uvicorn", "django_asgi")
GTHREAD = Peer("Django on gunicorn gthread", "gunicorn", "django_wsgi")
STARLETTE = Peer(
    "Starlette on uvicorn",
    "uvicorn",
    "with_starlette",
    ("starlette", "python_multipart"),
)
BOLT = Peer(
    "django-bolt", "django_bolt", "with_bolt", environment={"BENCH_APPS": "django_bolt"}
)
BARE = Peer("a bare ASGI function on uvicorn", "uvicorn", "bare")
CHANNELS = Peer("Channels on uvicorn", "uvicorn", "with_channels", ("channels",))


@dataclass(frozen=True)
class Servers:
    """The processes of one peer that serve.

    Attributes:
        processes: usually one.
        ports: one for each.
        started: seconds from the start to the first answer.
    """

    processes: tuple[Process, ...]
    ports: tuple[int, ...]
    started: float

    def cpu(self) -> float:
        """Return the seconds of CPU time that all used so far."""
        return sum(each.cpu() for each in self.processes)

    def memory(self) -> float:
        """Return the bytes in memory of all."""
        return sum(each.memory() for each in self.processes)

    def reset_peak(self) -> None:
        """Let ``peak()`` begin anew."""
        for each in self.processes:
            each.reset_peak()

    def peak(self) -> float:
        """Return the most bytes that were in memory."""
        return sum(each.peak() for each in self.processes)

    def last_words(self) -> str:
        """Return the ends of the logs."""
        return "\n".join(each.last_words() for each in self.processes)

    def get(self, path: str, *, number: int = 0, cookie: str = "") -> tuple[int, bytes]:
        """Return status and body of a GET request.

        Args:
            path: what is asked for.
            number: of the server that is asked.
            cookie: a header.

        Raises:
            OSError: there was no answer.
        """
        url = f"http://127.0.0.1:{self.ports[number]}{path}"
        request = urllib.request.Request(
            url, headers={"Cookie": cookie} if cookie else {}
        )
        try:
            with _DIRECT.open(request, timeout=30) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@contextmanager
def serving(
    peer: Peer, environment: Mapping[str, str], *, processes: int = 1
) -> Iterator[Servers]:
    """Run the servers of a peer.

    Args:
        peer: who serves.
        environment: the variables of the case.
        processes: how many servers, each on a port of its own.

    Raises:
        Failed: one did not start.
    """
    full = {"DJANGO_SETTINGS_MODULE": f"{SITE}.settings", **peer.environment}
    full |= environment
    core = server_core()
    with ExitStack() as stack:
        begin = time.monotonic()
        ports = tuple(free_port() for _ in range(processes))
        started = tuple(
            stack.enter_context(
                running(peer.command(port, full), core=core, environment=full)
            )
            for port in ports
        )
        servers = Servers(started, ports, 0)
        for number, process in enumerate(started):
            _await_answer(servers, number, process, peer)
        yield Servers(started, ports, time.monotonic() - begin)


def _await_answer(servers: Servers, number: int, process: Process, peer: Peer) -> None:
    def answers() -> bool:
        if process.has_ended:
            raise Failed(f"{peer.name} ended: {process.last_words()}")
        try:
            return servers.get("/hello/async", number=number)[0] == 200
        except OSError:
            return False

    # A WSGI server answers an async view as well. 5 ms: what a start is measured by.
    if not wait_until(answers, _START, 0.005):
        raise Failed(f"{peer.name} does not answer: {process.last_words()}")
