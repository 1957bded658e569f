"""What a case is: a load, and the contenders that bear it in turns."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from testproject.bench.loads.figures import METRICS, Load
from testproject.bench.peers import Peer

__all__ = ("Case", "Contender", "Series")


@dataclass(frozen=True)
class Contender:
    """A peer as it takes part in one case.

    Attributes:
        peer: who.
        note: what is special about it here; part of its name.
        environment: variables that it has here.
        load: its own, where paths differ.
    """

    peer: Peer
    note: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    load: Load | None = None

    @property
    def label(self) -> str:
        """What a report calls it."""
        return f"{self.peer.name}, {self.note}" if self.note else self.peer.name


@dataclass(frozen=True)
class Case:
    """One thing that is measured.

    Attributes:
        name: words with dots; what the command line takes.
        title: for a report.
        load: what is done.
        contenders: who bears it; ratios are to the first.
        primary: the figure that the case is about, a key of ``METRICS``.
        unit: what is counted.
        environment: variables for all contenders.
        database: ``"sqlite"``, ``"postgres"``, or none.
        signed_in: whether requests come with the cookie of a user.
        needs: ``"redis"`` and ``"file"``.
        processes: servers of each contender.
        is_rehearsed: each contender's server is started once before the first turn:
            that start is another, since it compiles the byte code.
    """

    name: str
    title: str
    load: Load
    contenders: tuple[Contender, ...]
    primary: str = "rate"
    unit: str = "requests"
    environment: Mapping[str, str] = field(default_factory=dict)
    database: str = ""
    signed_in: bool = False
    needs: tuple[str, ...] = ()
    processes: int = 1
    is_rehearsed: bool = False

    def __post_init__(self) -> None:
        if self.primary not in METRICS:
            raise ValueError(f"{self.name} is about {self.primary!r}, which is none")


@dataclass(frozen=True)
class Series:
    """Cases that differ in how much there is to do.

    Attributes:
        name: what the command line takes; the cases' names begin with it.
        title: for a report.
        axis: what grows.
        cases: by how much there is of it.
    """

    name: str
    title: str
    axis: str
    cases: Mapping[int, Case]
