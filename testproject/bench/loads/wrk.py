"""HTTP requests by wrk (https://github.com/wg/wrk), as fast as they are answered."""

import re
import resource
import shutil
import subprocess
from dataclasses import dataclass

from testproject.bench.loads.figures import Figures
from testproject.bench.machine import load_core, pinned
from testproject.bench.peers import Servers
from testproject.bench.processes import Failed

__all__ = ("Wrk", "parse")

_UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


@dataclass(frozen=True)
class Wrk:
    """GET requests on connections that stay open.

    Attributes:
        path: what is asked for.
        connections: how many, each with one request at a time.
        cookie: a header for all.
        expects: what every peer's answer has in it; looked at once.
    """

    path: str
    connections: int = 32
    cookie: str = ""
    expects: bytes = b""

    def warm(self, servers: Servers, seconds: float) -> None:
        """See ``Load``; the answer is looked at first."""
        try:
            status, body = servers.get(self.path, cookie=self.cookie)
        except OSError as error:
            raise Failed(f"{self.path}: {error}\n{servers.last_words()}") from None
        if status != 200 or self.expects not in body:
            raise Failed(
                f"{self.path} answered {status} {body[:200]!r}, expected "
                f"{self.expects!r}\n{servers.last_words()}"
            )
        self._wrk(servers, seconds)

    def run(self, servers: Servers, seconds: float) -> Figures:
        """See ``Load``."""
        server = servers.cpu()
        own = _children_cpu()
        output = self._wrk(servers, seconds)
        server = servers.cpu() - server
        own = _children_cpu() - own
        requests, took, p99 = parse(output)
        return {
            "rate": requests / took,
            "cpu": server / requests * 1e6,
            "busy": server / took * 100,
            "load": own / took * 100,
            "p99": p99,
        }

    def _wrk(self, servers: Servers, seconds: float) -> str:
        if not shutil.which("wrk"):
            raise Failed("wrk is not installed: see https://github.com/wg/wrk")
        url = f"http://127.0.0.1:{servers.ports[0]}{self.path}"
        # wrk takes whole seconds.
        duration = f"-d{max(1, round(seconds))}s"
        words = ["wrk", "-t1", f"-c{self.connections}", duration, "--latency"]
        if self.cookie:
            words += ["-H", f"Cookie: {self.cookie}"]
        finished = subprocess.run(
            [*pinned(load_core()), *words, url],
            capture_output=True,
            text=True,
            check=False,
        )
        output = finished.stdout + finished.stderr
        if finished.returncode or "Non-2xx" in output:
            raise Failed(f"{self.path} went wrong:\n{output}\n{servers.last_words()}")
        return output


def parse(output: str) -> tuple[int, float, float]:
    """Read what wrk prints: requests, seconds, and the 99th percentile in ms.

    Raises:
        Failed: no request was answered.
    """
    total = re.search(r"(\d+) requests in ([\d.]+)(us|ms|s|m)\b", output)
    p99 = re.search(r"99%\s+([\d.]+)(us|ms|s|m)\b", output)
    if total is None or p99 is None or total.group(1) == "0":
        raise Failed(f"wrk printed no result:\n{output}")
    took = float(total.group(2)) * _UNITS[total.group(3)] / 1000
    return int(total.group(1)), took, float(p99.group(1)) * _UNITS[p99.group(2)]


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime
