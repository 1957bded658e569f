"""Series: what more of something costs."""

from collections.abc import Iterator

from testproject.bench.cases.case import Case, Contender, Series
from testproject.bench.cases.sockets import (
    CHANNELS_MEMORY,
    OURS_MEMORY,
    echo_load,
    fan_out,
)
from testproject.bench.loads.client import ClientLoad
from testproject.bench.loads.wrk import Wrk
from testproject.bench.peers import BARE, DJANGO, GTHREAD, OURS, STARLETTE

__all__ = ("growth",)


def growth() -> Iterator[Series]:
    """Give all of them."""
    yield _connections()
    for kind in ("async", "sync"):
        yield _middlewares(kind)
    yield _routes()
    yield _members()
    yield _groups()


def _connections() -> Series:
    peers = (OURS, DJANGO, STARLETTE, BARE)
    return Series(
        name="growth.connections",
        title="Hello, world, async view",
        axis="connections",
        cases={
            count: Case(
                name=f"growth.connections.{count}",
                title=f"Hello, world, async view, {count} connections",
                load=Wrk("/hello/async", connections=count),
                contenders=tuple(Contender(each) for each in peers),
            )
            for count in (1, 4, 16, 64, 256, 512)
        },
    )


def _middlewares(kind: str) -> Series:
    peers = (OURS, DJANGO) if kind == "async" else (OURS, DJANGO, GTHREAD)
    return Series(
        name=f"growth.middlewares.{kind}",
        title=f"Hello, world, {kind} view",
        axis="middlewares",
        cases={
            count: Case(
                name=f"growth.middlewares.{kind}.{count}",
                title=f"Hello, world, {kind} view, {count} middlewares",
                load=Wrk(f"/hello/{kind}"),
                contenders=tuple(Contender(each) for each in peers),
                environment={"BENCH_EXTRA_MIDDLEWARE": str(count)},
            )
            for count in (0, 5, 10, 15, 20)
        },
    )


def _routes() -> Series:
    return Series(
        name="growth.routes",
        title="Hello, world, async view, the last route",
        axis="routes",
        cases={
            count: Case(
                name=f"growth.routes.{count}",
                title=f"Hello, world, async view, behind {count:,} routes",
                load=Wrk("/hello/async"),
                contenders=(Contender(OURS), Contender(DJANGO)),
                environment={"BENCH_ROUTES": str(count)},
            )
            for count in (10, 100, 1000, 5000)
        },
    )


def _members() -> Series:
    def case(count: int) -> Case:
        return Case(
            name=f"growth.members.{count}",
            title=f"one message to {count:,} sockets",
            load=fan_out("/room", count),
            contenders=(
                Contender(OURS_MEMORY.peer, "handler", OURS_MEMORY.environment),
                Contender(
                    OURS_MEMORY.peer,
                    "broadcast",
                    OURS_MEMORY.environment,
                    fan_out("/broadcast", count),
                ),
                CHANNELS_MEMORY,
                Contender(BARE, "a loop over sends"),
            ),
            unit="deliveries",
        )

    return Series(
        name="growth.members",
        title="one message to all",
        axis="group members",
        cases={count: case(count) for count in (10, 100, 500, 1000, 2000, 5000)},
    )


def _groups() -> Series:
    sockets = 10

    def load() -> ClientLoad:
        return echo_load("/many-rooms", sockets=sockets)

    return Series(
        name="growth.groups",
        title="a message to a group of one",
        axis="groups",
        cases={
            count: Case(
                name=f"growth.groups.{count}",
                title=f"a message to a group of one, of {count:,} groups",
                load=load(),
                contenders=(OURS_MEMORY, CHANNELS_MEMORY),
                unit="messages",
                environment={"BENCH_GROUPS": str(count // sockets)},
            )
            for count in (10, 100, 1000, 10_000)
        },
    )
