"""Medians, spread and ratios of what was measured in turns."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ("Spread", "ratios", "spread")


@dataclass(frozen=True)
class Spread:
    """The median of some values, with the lowest and the highest."""

    median: float
    low: float
    high: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median and the spread of values.

    Raises:
        ValueError: there are none.
    """
    if not values:
        raise ValueError("there are no values")
    return Spread(statistics.median(values), min(values), max(values))


def ratios(
    ours: Sequence[float | None],
    theirs: Sequence[float | None],
    *,
    more_is_better: bool,
) -> Spread | None:
    """Return how many times better ours is, turn by turn.

    Values of one turn were measured one after another, so what slowed the machine
    then slowed both.

    Args:
        ours: a value for each turn; None where it failed.
        theirs: a peer's.
        more_is_better: else less is.

    Returns:
        None where no turn has both.
    """
    found = []
    for own, other in zip(ours, theirs, strict=False):
        if not own or not other:
            continue
        found.append(own / other if more_is_better else other / own)
    return spread(found) if found else None
