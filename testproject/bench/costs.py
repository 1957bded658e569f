"""What one of something costs as there is more of it: the measured series."""

import math
import statistics
from collections.abc import Mapping
from typing import Any

from testproject.bench.report import aligned, values_of
from testproject.bench.spread import Spread, spread

__all__ = ("UNITS", "cost_table", "costs", "exponent")

_NOISE = 0.05
"""What part of the cost of none may be added by chance."""

UNITS = {"deliveries": "delivery", "messages": "message", "requests": "request"}


def costs(
    series: dict[str, Any], cases: Mapping[str, dict[str, Any]]
) -> dict[str, dict[int, Spread]]:
    """Return the µs of server CPU for one, by peer and amount.

    Args:
        series: as it is kept in JSON.
        cases: of the run, by name.
    """
    found: dict[str, dict[int, Spread]] = {}
    for amount, name in series["cases"].items():
        for label, peer in cases[name]["peers"].items():
            if values := values_of(peer, "cpu"):
                found.setdefault(label, {})[int(amount)] = spread(values)
    return found


def exponent(points: Mapping[int, float]) -> float | None:
    """Return the power of the amount by which a cost grows.

    That is the slope of the straight line through the logarithms: 0 where the cost
    does not depend on the amount, 1 where it grows as the amount does. Where the
    amounts begin with none, it is about what is added to the cost of none.

    Args:
        points: the cost at each amount, in the order of the amounts.

    Returns:
        None where too little was measured, or too little is added.
    """
    base = points.get(0, 0.0)
    added = {amount: cost - base for amount, cost in points.items() if amount}
    if len(added) < 2 or min(added.values()) <= _NOISE * base:
        return None
    return statistics.linear_regression(
        [math.log(amount) for amount in added],
        [math.log(cost) for cost in added.values()],
    ).slope


def _at_the_end(points: Mapping[int, float]) -> dict[int, float]:
    """Return the last point, the last of at most half its amount, and the cost of none.

    Nearer ones would show little but chance.
    """
    last = max(points)
    before = max((amount for amount in points if amount <= last / 2), default=last)
    kept = {0, before, last}
    return {amount: cost for amount, cost in points.items() if amount in kept}


def cost_table(
    name: str, series: dict[str, Any], cases: Mapping[str, dict[str, Any]]
) -> str:
    """Return the table of a series: the µs for one at each amount, and their growth."""
    amounts = [int(amount) for amount in series["cases"]]
    unit = cases[next(iter(series["cases"].values()))]["unit"]
    added = " of what is added" if 0 in amounts else ""
    head = [
        f"{series['title']}: server CPU, µs for one {UNITS[unit]} (`{name}`)",
        *(f"{amount:,}" for amount in amounts),
        "last to first",
        f"exponent{added}",
        "at the end",
    ]
    head[1] += f" {series['axis']}"
    rows = []
    for label, spreads in costs(series, cases).items():
        medians = {amount: it.median for amount, it in spreads.items()}
        ends = list(medians.values())
        rows.append(
            [
                label,
                *(
                    f"{medians[each]:,.1f}" if each in medians else ""
                    for each in amounts
                ),
                f"{ends[-1] / ends[0]:.2f}",
                _said(exponent(medians)),
                _said(exponent(_at_the_end(medians))),
            ]
        )
    return "\n".join(aligned([head, *rows]))


def _said(power: float | None) -> str:
    # Without the sign of a zero.
    return "-" if power is None else f"{round(power, 2) + 0.0:.2f}"
