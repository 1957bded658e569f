"""What the figures are to reach, and whether they do."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from testproject.bench.cases import CASES
from testproject.bench.loads.figures import METRICS
from testproject.bench.report import aligned, by_turn, shown
from testproject.bench.spread import Spread, ratios, spread

__all__ = ("AIMS", "Aim", "Kind", "Reached", "judge", "overview")


class Kind(Enum):
    """How a figure is held against its aim.

    Attributes:
        TIMES: as many times better than a peer's, or more.
        MORE: greater than a peer's by so much, or less.
        PERCENT: greater than a peer's by so many percent, or less.
        AT_MOST: not greater, nobody beside it.
        ALWAYS: not less in any turn, nobody beside it.
    """

    TIMES = "times"
    MORE = "more"
    PERCENT = "percent"
    AT_MOST = "at most"
    ALWAYS = "always"


@dataclass(frozen=True)
class Aim:
    """One figure of one case.

    Attributes:
        case: its name.
        kind: how it is held against the bound.
        bound: what is to be reached.
        peers: beginnings of labels; the best of those that fit is beside it.
        metric: a key of ``METRICS``; what the case is about where empty.
        own: label of the contender that is to reach it; the first where empty.
    """

    case: str
    kind: Kind
    bound: float
    peers: tuple[str, ...] = ()
    metric: str = ""
    own: str = ""


@dataclass(frozen=True)
class Reached:
    """What came of an aim.

    Attributes:
        figure: in the terms of the aim.
        beside: label of the peer.
        is_met: whether the median meets the aim, and no turn failed.
    """

    figure: Spread
    beside: str
    is_met: bool


_DJANGO = "Django's ASGI handler"
_GTHREAD = "Django on gunicorn gthread"
_BARE = "a bare ASGI function"
_STARLETTE = "Starlette"
_CHANNELS = "Channels"


def _times(case: str, *beside: tuple[float, str]) -> tuple[Aim, ...]:
    return tuple(Aim(case, Kind.TIMES, bound, (peer,)) for bound, peer in beside)


def _ahead(case: str) -> Aim:
    """Return the aim to be ahead of the faster way to serve Django."""
    return Aim(case, Kind.TIMES, 1.0, (_DJANGO, _GTHREAD))


AIMS: tuple[Aim, ...] = (
    *_times("hello.async", (8, _DJANGO), (0.5, _STARLETTE), (1, "django-bolt")),
    *_times("hello.async.default", (12, _DJANGO)),
    *_times("hello.sync", (7, _DJANGO), (2, _GTHREAD), (0.8, _STARLETTE)),
    *_times("hello.sync.default", (9, _DJANGO), (1.7, _GTHREAD)),
    *_times("query.sync.postgres", (1, _GTHREAD), (2, _DJANGO)),
    *_times("query.async.postgres", (4, _DJANGO)),
    *_times("query.async.sqlite", (4, _DJANGO)),
    *_times("page.sync.postgres.default", (1, _GTHREAD)),
    *_times("page.sync.sqlite.default", (1, _GTHREAD)),
    *map(_ahead, ("wait.sync", "csv.sync", "csv.async", "upload", "events")),
    *_times("file", (1, _STARLETTE)),
    Aim("file", Kind.AT_MOST, 8, metric="growth"),
    *_times("echo.async", (0.8, _BARE), (3.2, _CHANNELS)),
    *_times("echo.group", (0.8, _BARE), (3.2, _CHANNELS)),
    *_times("echo.sync", (2.2, _CHANNELS)),
    *_times("fan-out.handler.500.memory", (0.45, _BARE), (8, _CHANNELS)),
    *_times(
        "fan-out.handler.500.redis", (4, "Channels on uvicorn, channels_redis pub/sub")
    ),
    *_times("fan-out.broadcast.500.memory", (0.85, _BARE)),
    *_times("fan-out.broadcast.500.redis", (0.85, _BARE)),
    *(
        Aim(
            "ten-thousand",
            Kind.ALWAYS,
            10_000,
            metric="open",
            own=f"django_asgi_bridge on uvicorn, {way}",
        )
        for way in ("broadcast", "handler")
    ),
    Aim("idle", Kind.MORE, 3, (_BARE,)),
    Aim("idle.signed-in", Kind.MORE, 5, (_BARE,)),
    Aim("start", Kind.PERCENT, 3, (_DJANGO,)),
    Aim("start", Kind.MORE, 1, (_DJANGO,), metric="memory"),
)
"""In the order of the overview."""


def judge(aim: Aim, case: dict[str, Any]) -> Reached | None:
    """Return what came of an aim.

    Args:
        aim: one.
        case: as it is kept in JSON.

    Returns:
        None where no turn has what it takes.
    """
    own = _own(aim, case)
    if own is None:
        return None
    metric = aim.metric or case["primary"]
    ours = by_turn(own, metric)
    found = []
    if not aim.peers and (values := [each for each in ours if each is not None]):
        found.append(Reached(spread(values), "", False))
    for label, peer in case["peers"].items():
        if aim.peers and label.startswith(aim.peers):
            figure = _beside(aim.kind, metric, ours, by_turn(peer, metric))
            if figure is not None:
                found.append(Reached(figure, label, False))
    if not found:
        return None
    # Beside several: the one who is hardest to reach.
    hardest = min if aim.kind is Kind.TIMES else max
    reached = hardest(found, key=lambda each: each.figure.median)
    return replace(reached, is_met=_meets(aim, reached.figure) and not own["error"])


def _own(aim: Aim, case: dict[str, Any]) -> dict[str, Any] | None:
    """Return the contender that is to reach an aim, where it took part."""
    label = aim.own or next(iter(case["peers"]), "")
    peer: dict[str, Any] | None = case["peers"].get(label)
    return peer


def _meets(aim: Aim, figure: Spread) -> bool:
    if aim.kind is Kind.ALWAYS:
        return figure.low >= aim.bound
    if aim.kind is Kind.TIMES:
        return figure.median >= aim.bound
    return figure.median <= aim.bound


_Turns = Sequence[float | None]


def _beside(kind: Kind, metric: str, ours: _Turns, theirs: _Turns) -> Spread | None:
    """Return how ours is beside a peer's, turn by turn."""
    if kind is Kind.TIMES:
        return ratios(ours, theirs, more_is_better=METRICS[metric].more_is_better)
    found = [
        (own / other - 1) * 100 if kind is Kind.PERCENT else own - other
        for own, other in zip(ours, theirs, strict=False)
        if own is not None and other
    ]
    return spread(found) if found else None


def overview(cases: Mapping[str, dict[str, Any]]) -> str:
    """Return the table of all aims.

    Args:
        cases: of the kept runs, by name.
    """
    head = ["case", "beside", "aim", "reached (lowest to highest)", "met"]
    return "\n".join(aligned([head, *(_row(aim, cases.get(aim.case)) for aim in AIMS)]))


def _row(aim: Aim, case: dict[str, Any] | None) -> list[str]:
    reached = None if case is None else judge(aim, case)
    way = aim.own.partition(", ")[2]
    title = CASES[aim.case].title + (f", {way}" if way else "")
    row = [f"{title} (`{aim.case}`)"]
    if reached is None:
        own = None if case is None else _own(aim, case)
        said = ["failed", "no"] if own and own["error"] else ["not measured", ""]
        return [*row, " or ".join(aim.peers), _bound(aim), *said]
    decimals = {Kind.TIMES: 2, Kind.ALWAYS: 0}.get(aim.kind, 1)
    found = shown(reached.figure, decimals)
    return [*row, reached.beside, _bound(aim), found, "yes" if reached.is_met else "no"]


def _bound(aim: Aim) -> str:
    """Say what is aimed at."""
    metric = aim.metric or CASES[aim.case].primary
    what, _, unit = METRICS[metric].title.partition(", ")
    if aim.kind is Kind.TIMES and metric == "rate":
        return "as fast" if aim.bound == 1 else f"at least {aim.bound:g} times"
    bound = {
        Kind.TIMES: "no more" if aim.bound == 1 else f"{aim.bound:g} times less",
        Kind.MORE: f"at most {aim.bound:g} {unit} more",
        Kind.PERCENT: f"at most {aim.bound:g} % more",
        Kind.AT_MOST: f"at most {aim.bound:g} {unit}",
        Kind.ALWAYS: f"{aim.bound:,.0f} in each turn",
    }[aim.kind]
    return f"{what}: {bound}"
