"""How a load generator talks to the benchmark: lines of JSON."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ("job", "perform")


def job() -> dict[str, Any]:
    """Return what this process is to do."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    return told


def perform(
    opened: int,
    work: Callable[[], int],
    more: Callable[[], Mapping[str, float]] = dict,
) -> None:
    """Say that all is open, do the work when asked to, and tell what it was.

    Args:
        opened: how many connections are open.
        work: does it and returns how much it was.
        more: returns what else there is to tell.
    """
    _say({"open": opened})
    if not sys.stdin.readline():
        raise SystemExit("the benchmark is gone")
    cpu, begin = time.process_time(), time.perf_counter()
    count = work()
    seconds = time.perf_counter() - begin
    cpu = time.process_time() - cpu
    _say({"count": count, "seconds": seconds, "cpu": cpu, **more()})


def _say(values: Mapping[str, float]) -> None:
    sys.stdout.write(json.dumps(values) + "\n")
    sys.stdout.flush()
