"""The figures that a load may bring, and what they mean."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from testproject.bench.peers import Servers

__all__ = ("METRICS", "Figures", "Load", "Metric")

Figures = Mapping[str, float]
"""Measured values by a key of ``METRICS``."""


@dataclass(frozen=True)
class Metric:
    """One kind of figure.

    Attributes:
        title: of its column.
        decimals: that are printed.
        more_is_better: else less is.
    """

    title: str
    decimals: int = 0
    more_is_better: bool = False


METRICS = {
    "rate": Metric("per second", more_is_better=True),
    "cpu": Metric("server CPU, µs each", 1),
    "busy": Metric("server CPU, %"),
    "load": Metric("load generator CPU, %"),
    "late": Metric("late, ms (p99)", 1),
    "p99": Metric("latency, ms (p99)", 1),
    "open": Metric("open", more_is_better=True),
    "growth": Metric("memory growth, MB", 1),
    "each": Metric("memory each, KB", 1),
    "memory": Metric("memory, MB", 1),
    "start": Metric("start, ms"),
    "beside": Metric("HTTP beside, ms", 1),
}


class Load(Protocol):
    """Something that is done to a server."""

    def warm(self, servers: Servers, seconds: float) -> None:
        """Do a little of it, so that the server has loaded what it needs."""
        ...

    def run(self, servers: Servers, seconds: float) -> Figures:
        """Do it, and return what was measured.

        Raises:
            Failed: the server did not do its part.
        """
        ...
