"""What is measured for the page of results: ``python -m testproject.bench.plan``.

Prints the commands, each with the minutes that it takes on a quiet machine. They write
into ``docs/explanation/measured``; ``python -m testproject.bench.page`` makes the page
of that.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from testproject.bench.cases import Case, Contender, find
from testproject.bench.kept import command
from testproject.bench.loads.client import ClientLoad
from testproject.bench.loads.startup import StartUp

__all__ = ("PLAN", "Part", "main", "minutes")

_TURNS = 5
"""So that a median stays where two turns were disturbed."""

_SERVER = 0.35
"""Seconds to start and to stop a server."""

_CLIENT = 0.15
"""Seconds to start a client; one warms, one measures."""

_OPENINGS = 2500
"""Sockets that are opened in a second, and closed again."""


@dataclass(frozen=True)
class Part:
    """One command, and so one file of figures.

    Attributes:
        name: of the file.
        words: which cases.
        repeat: turns.
        seconds: of each turn.
        peers: words of the peers that take part; all of them where empty.
    """

    name: str
    words: tuple[str, ...]
    repeat: int
    seconds: float
    peers: tuple[str, ...] = ()


_DJANGOS = ("django_asgi_bridge on uvicorn", "Django")
"""The ways to serve Django, granian aside."""

PLAN = (
    Part("requests", ("hello",), repeat=_TURNS, seconds=2),
    # A turn is one start. It takes a third more or less than the one before, and what
    # is asked of it is 3 %.
    Part("start", ("start",), repeat=4 * _TURNS, seconds=1),
    Part(
        "websockets",
        (
            "echo.async",
            "echo.sync",
            "echo.group",
            "fan-out.*.500.memory",
            "fan-out.*.500.redis",
            "connect",
            "connect.signed-in",
            "idle",
            "idle.signed-in",
        ),
        repeat=_TURNS,
        seconds=1,
    ),
    Part(
        "queries",
        (
            "query.sync.postgres",
            "query.async.postgres",
            "query.async.sqlite",
            "page.sync.postgres.default",
            "page.sync.sqlite.default",
        ),
        repeat=_TURNS,
        seconds=1,
    ),
    Part(
        "bodies",
        ("wait.sync", "csv", "upload", "file", "events"),
        repeat=_TURNS,
        seconds=1,
    ),
    Part("ten-thousand", ("ten-thousand",), repeat=_TURNS, seconds=1),
    Part(
        "more-requests",
        ("json", "big", "wait.async"),
        repeat=_TURNS,
        seconds=1,
    ),
    Part(
        "more-queries",
        (
            "queries.*.postgres",
            "page.*.postgres.signed-in",
            "user.*.postgres.signed-in",
        ),
        repeat=_TURNS,
        seconds=1,
        peers=_DJANGOS,
    ),
    Part(
        "more-websockets",
        (
            "echo.json",
            "echo.group.redis",
            "fan-out.*.2000.*",
            "fan-out.*.500.redis-2",
        ),
        repeat=_TURNS,
        seconds=1,
        peers=("django_asgi_bridge", "pub/sub", "in-memory", "bare"),
    ),
    Part(
        "growth-requests",
        ("growth.connections", "growth.middlewares", "growth.routes"),
        repeat=_TURNS,
        seconds=1,
        peers=_DJANGOS,
    ),
    Part(
        "growth-messages",
        (
            *(f"growth.members.{count}" for count in (10, 100, 500, 1000)),
            "growth.groups",
        ),
        repeat=_TURNS,
        seconds=1,
    ),
    # Without Channels: its in-memory layer takes long to let so many in.
    Part(
        "growth-many",
        ("growth.members.2000", "growth.members.5000"),
        repeat=_TURNS,
        seconds=1,
        peers=("django_asgi_bridge", "bare"),
    ),
)
"""In the order in which it is measured: the most important first."""


def minutes(part: Part) -> float:
    """Return about how long a part takes."""
    cases = {case.name: case for word in part.words for case in find(word)}
    seconds = [
        (part.repeat + case.is_rehearsed) * _seconds(case, each, part)
        for case in cases.values()
        for each in case.contenders
        if not part.peers or any(word in each.label for word in part.peers)
    ]
    return sum(seconds) / 60


def _seconds(case: Case, contender: Contender, part: Part) -> float:
    load = contender.load or case.load
    start = _SERVER * case.processes
    if isinstance(load, StartUp):
        return start + load.rest
    warm = min(1.0, part.seconds)
    if not isinstance(load, ClientLoad):
        return start + warm + round(part.seconds)
    warmed = load.warm_ups * _sockets({**load.job, **load.warm_job})
    opened = warmed + _sockets(load.job)
    opening = opened / _OPENINGS + (load.warm_ups + 1) * _CLIENT
    return start + opening + warm + max(part.seconds, load.least) + load.settle


def _sockets(job: Mapping[str, Any]) -> int:
    found: int = job.get("sockets", job.get("streams", 0))
    return found


def main() -> None:
    """Print the commands."""
    for part in PLAN:
        options = {
            "repeat": part.repeat,
            "seconds": part.seconds,
            "words": part.words,
            "peers": part.peers,
        }
        print(f"# {minutes(part):.1f} minutes")
        print(command(f"{part.name}.json", options))
    print(f"# {sum(map(minutes, PLAN)):.0f} minutes in all")


if __name__ == "__main__":
    main()
