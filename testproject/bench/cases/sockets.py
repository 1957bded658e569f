"""The WebSocket cases."""

import json
from collections.abc import Iterator, Mapping

from testproject.bench.cases.case import Case, Contender
from testproject.bench.cases.http import OWN_ROUTES
from testproject.bench.loads.client import ClientLoad
from testproject.bench.peers import (
    BARE,
    CHANNELS,
    OURS,
    OURS_SOCKETS,
    OURS_SOCKETS_GRANIAN,
)

__all__ = ("CHANNELS_MEMORY", "OURS_MEMORY", "echo_load", "fan_out", "socket_cases")

_TEXT = "x" * 64
_JSON = json.dumps({"text": "Hello, world!", "number": 1, "tags": ["a", "b"]})
_ROOM = "/room"

OURS_MEMORY = Contender(OURS_SOCKETS, "in-memory", {"BENCH_LAYER": "ours-memory"})
CHANNELS_MEMORY = Contender(CHANNELS, "in-memory", {"BENCH_LAYER": "channels-memory"})
_OURS_REDIS = Contender(OURS_SOCKETS, "Redis", {"BENCH_LAYER": "ours-redis"})
_PUBSUB = Contender(
    CHANNELS, "channels_redis pub/sub", {"BENCH_LAYER": "channels-pubsub"}
)
_CORE = Contender(CHANNELS, "channels_redis core", {"BENCH_LAYER": "channels-core"})
_GRANIAN = Contender(OURS_SOCKETS_GRANIAN)


def socket_cases() -> Iterator[Case]:
    """Give all of them."""
    yield from _echoes()
    for sockets in (500, 2000):
        for way in ("handler", "broadcast"):
            yield _in_memory(way, sockets)
            for processes in (1, 2):
                yield _through_redis(way, sockets, processes)
    yield _connects()
    yield _connects_of_users()
    yield _idle()
    yield _idle_users()
    yield _ten_thousand()


def echo_load(path: str, message: str = _TEXT, sockets: int = 50) -> ClientLoad:
    """Each socket sends when its last message came back."""
    job = {"job": "echo", "path": path, "sockets": sockets, "message": message}
    return ClientLoad("sockets", job)


def fan_out(path: str, sockets: int) -> ClientLoad:
    """One socket sends when its last message reached all."""
    job = {"job": "fan-out", "path": path, "sockets": sockets, "message": _TEXT}
    return ClientLoad("sockets", job)


def _echoes() -> Iterator[Case]:
    plain = (Contender(OURS_SOCKETS), _GRANIAN, Contender(CHANNELS), Contender(BARE))
    floor = Contender(BARE, load=echo_load("/echo"))
    yield _echo("async", "async consumer", echo_load("/echo"), plain)
    yield _echo("sync", "sync consumer", echo_load("/sync-echo"), (*plain[:3], floor))
    yield _echo("json", "JSON consumer", echo_load("/json-echo", _JSON), plain)
    yield _echo(
        "group",
        "async consumer in a group",
        echo_load("/group-echo"),
        (OURS_MEMORY, CHANNELS_MEMORY, floor),
    )
    yield _echo(
        "group.redis",
        "async consumer in a group, through Redis",
        echo_load("/group-echo"),
        (_OURS_REDIS, _PUBSUB, _CORE, floor),
        needs=("redis",),
    )


def _echo(
    name: str,
    title: str,
    load: ClientLoad,
    contenders: tuple[Contender, ...],
    needs: tuple[str, ...] = (),
) -> Case:
    return Case(
        name=f"echo.{name}",
        title=f"WebSocket echo, 50 sockets, {title}",
        load=load,
        contenders=contenders,
        unit="messages",
        needs=needs,
    )


_WAYS = {"handler": "a handler for each consumer", "broadcast": "group_broadcast"}


def _in_memory(way: str, sockets: int) -> Case:
    return _fan_out_case(
        name=f"{way}.{sockets}.memory",
        title=f"one message to {sockets:,} sockets, {_WAYS[way]}, in-memory",
        way=way,
        sockets=sockets,
        ours=OURS_MEMORY,
        others=(CHANNELS_MEMORY,),
    )


def _through_redis(way: str, sockets: int, processes: int) -> Case:
    many = "" if processes == 1 else f" in {processes} processes"
    return _fan_out_case(
        name=f"{way}.{sockets}.redis" + ("" if processes == 1 else f"-{processes}"),
        title=f"one message to {sockets:,} sockets, {_WAYS[way]}, Redis{many}",
        way=way,
        sockets=sockets,
        ours=_OURS_REDIS,
        others=(_PUBSUB, _CORE),
        processes=processes,
    )


def _fan_out_case(
    *,
    name: str,
    title: str,
    way: str,
    sockets: int,
    ours: Contender,
    others: tuple[Contender, ...],
    processes: int = 1,
) -> Case:
    """Return a case; only this package has another way than a handler."""
    environment: Mapping[str, str] = ours.environment
    own = Contender(ours.peer, f"{ours.note}, {way}", environment)
    if way == "broadcast":
        load = fan_out("/broadcast", sockets)
        own = Contender(own.peer, own.note, own.environment, load)
    # One bare process knows only its own sockets.
    floor = (Contender(BARE, "a loop over sends"),) if processes == 1 else ()
    return Case(
        name=f"fan-out.{name}",
        title=title,
        load=fan_out(_ROOM, sockets),
        contenders=(own, *others, *floor),
        unit="deliveries",
        needs=("redis",) if "redis" in name else (),
        processes=processes,
    )


def _connect_load(path: str) -> ClientLoad:
    return ClientLoad("sockets", {"job": "connect", "path": path, "sockets": 32})


def _connects() -> Case:
    return Case(
        name="connect",
        title="WebSockets opened and closed, 32 at once",
        load=_connect_load("/echo"),
        contenders=(Contender(OURS_SOCKETS), Contender(CHANNELS), Contender(BARE)),
        unit="connections",
    )


_WITH_USER = (
    Contender(OURS, "", {**OWN_ROUTES, "BENCH_CONN_MAX_AGE": "60"}),
    Contender(CHANNELS, "", {"BENCH_AUTH": "1", "BENCH_CONN_MAX_AGE": "60"}),
)


def _connects_of_users() -> Case:
    return Case(
        name="connect.signed-in",
        title="WebSockets opened and closed, 32 at once, session and user",
        load=_connect_load("/visitor"),
        contenders=_WITH_USER,
        unit="connections",
        database="sqlite",
        signed_in=True,
    )


def _idle_load(path: str) -> ClientLoad:
    return ClientLoad(
        "sockets",
        {"job": "idle", "path": path, "sockets": 1000, "message": ""},
        keep=("each", "open"),
        settle=1.0,
        warm_job={"sockets": 100},
        # Worker threads are no part of a socket. One burst of handshakes starts some,
        # by chance, and each further one fewer.
        warm_ups=5,
    )


def _idle() -> Case:
    return Case(
        name="idle",
        title="memory of an idle WebSocket, of 1,000",
        load=_idle_load("/echo"),
        contenders=(Contender(OURS_SOCKETS), Contender(CHANNELS), Contender(BARE)),
        primary="each",
        unit="sockets",
    )


def _idle_users() -> Case:
    floor = Contender(BARE, "without either", load=_idle_load("/echo"))
    return Case(
        name="idle.signed-in",
        title="memory of an idle WebSocket with session and user, of 1,000",
        load=_idle_load("/visitor"),
        contenders=(*_WITH_USER, floor),
        primary="each",
        unit="sockets",
        database="sqlite",
        signed_in=True,
    )


def _ten_thousand() -> Case:
    sockets = 10_000

    def load(path: str) -> ClientLoad:
        return ClientLoad(
            "sockets",
            {**fan_out(path, sockets).job},
            keep=("rate", "cpu", "each", "open", "beside", "load"),
            settle=1.0,
            beside="/hello/async",
            warm_job={"sockets": 100},
        )

    return Case(
        name="ten-thousand",
        title="10,000 sockets in one process, one message to all",
        load=load(_ROOM),
        contenders=(
            Contender(
                OURS_SOCKETS, "broadcast", OURS_MEMORY.environment, load("/broadcast")
            ),
            Contender(OURS_SOCKETS, "handler", OURS_MEMORY.environment),
            # Without Channels: its in-memory layer takes minutes to let so many in,
            # see the series growth.members.
            Contender(BARE, "a loop over sends"),
        ),
        unit="deliveries",
    )
