"""``python -m testproject.bench``: requests per second, peers side by side.

Each peer is a server process of its own, pinned to one core; wrk is pinned to
another. The peers take turns, ``--repeat`` times, so that a noisy moment hits all
of them. Printed are the medians with their spread and the ratios to this package.

Needs wrk and, for two cores, taskset.
"""

import argparse
import json
import os
import platform
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

APP = "testproject.bench.app"
UVICORN = ["-m", "uvicorn", "--factory", "--log-level", "critical", "--no-access-log"]


@dataclass(frozen=True)
class Peer:
    """One way to serve the two views."""

    name: str
    factory: str
    is_wsgi: bool = False

    def command(self, port: int) -> list[str]:
        """Return the server's command line."""
        if self.is_wsgi:
            return [
                sys.executable, "-m", "gunicorn", "-k", "gthread", "--threads", "8",
                "-b", f"127.0.0.1:{port}", "--keep-alive", "75", "--log-level",
                "critical", f"{APP}:{self.factory}()",
            ]  # fmt: skip
        return [
            sys.executable, *UVICORN, "--port", str(port), f"{APP}:{self.factory}",
        ]  # fmt: skip


OURS = Peer("django_asgi_bridge on uvicorn", "ours")
DJANGO = Peer("Django's ASGI handler on uvicorn", "django_asgi")
GTHREAD = Peer("Django on gunicorn gthread, 8 threads", "django_wsgi", is_wsgi=True)
STARLETTE = Peer("Starlette on uvicorn", "starlette")

# case -> (path, middleware, peers)
CASES: dict[str, tuple[str, str, tuple[Peer, ...]]] = {
    "async hello": ("/async", "none", (OURS, DJANGO, STARLETTE)),
    "async hello, default middleware": ("/async", "default", (OURS, DJANGO)),
    "sync hello": ("/sync", "none", (OURS, DJANGO, GTHREAD, STARLETTE)),
    "sync hello, default middleware": ("/sync", "default", (OURS, DJANGO, GTHREAD)),
}


def pinned(core: int) -> list[str]:
    """Return the words that pin a command to a core, where that is possible."""
    has_cores = (os.cpu_count() or 1) > 1 and shutil.which("taskset")
    return ["taskset", "-c", str(core)] if has_cores else []


def free_port() -> int:
    """Ask the system for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(peer: Peer, middleware: str) -> Iterator[int]:
    """Run a peer's server; yields its port."""
    port = free_port()
    environment = {**os.environ, "BENCH_MIDDLEWARE": middleware}
    environment.pop("DJANGO_SETTINGS_MODULE", None)
    process = subprocess.Popen([*pinned(0), *peer.command(port)], env=environment)
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise SystemExit(f"{peer.name} did not start") from None
                time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(10)


def load(port: int, path: str, seconds: float, connections: int) -> float:
    """Return the requests per second that wrk got answered."""
    url = f"http://127.0.0.1:{port}{path}"
    command = ["wrk", "-t1", f"-c{connections}", f"-d{seconds:g}s", url]
    output = subprocess.run(
        [*pinned(1), *command], capture_output=True, text=True, check=True
    ).stdout
    if "Non-2xx" in output:
        raise SystemExit(f"{url} answered errors:\n{output}")
    found = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if found is None:
        raise SystemExit(f"wrk printed no result:\n{output}")
    return float(found.group(1))


def run_case(
    name: str, repeat: int, seconds: float, connections: int
) -> dict[str, list[float]]:
    """Measure the peers of one case in turns."""
    path, middleware, peers = CASES[name]
    results: dict[str, list[float]] = {peer.name: [] for peer in peers}
    for _ in range(repeat):
        for peer in peers:
            with serving(peer, middleware) as port:
                load(port, path, 1, connections)
                results[peer.name].append(load(port, path, seconds, connections))
    return results


def report(name: str, results: dict[str, list[float]]) -> None:
    """Print medians, spread and ratios of one case."""
    print(f"\n{name}")
    base = results[OURS.name]
    for peer, rates in results.items():
        middle = statistics.median(rates)
        ratios = sorted(own / rate for own, rate in zip(base, rates, strict=True))
        ratio = statistics.median(ratios)
        print(
            f"  {peer:40} {middle:9,.0f}/s ({min(rates):,.0f} - {max(rates):,.0f})"
            f"   ours is {ratio:5.2f} x ({ratios[0]:.2f} - {ratios[-1]:.2f})"
        )


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the cases that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[], help="default: all")
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--json", help="write the raw figures to this file")
    options = parser.parse_args(arguments)
    if not shutil.which("wrk"):
        raise SystemExit("wrk is not installed: see https://github.com/wg/wrk")
    names = options.cases or list(CASES)
    for name in names:
        if name not in CASES:
            parser.error(f"no case {name!r}; there are {', '.join(CASES)}")
    print(
        f"{time.strftime('%Y-%m-%d')}, {platform.machine()}, {os.cpu_count()} cores, "
        f"Python {platform.python_version()}, Django {version('django')}, "
        f"uvicorn {version('uvicorn')}; {options.connections} connections, "
        f"{options.repeat} turns of {options.seconds:g} s"
    )
    figures = {}
    for name in names:
        figures[name] = run_case(
            name, options.repeat, options.seconds, options.connections
        )
        report(name, figures[name])
    if options.json:
        Path(options.json).write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
