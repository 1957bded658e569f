"""What a run found: as data that can be kept, and as tables in Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from testproject.bench.cases.case import Case, Series
from testproject.bench.loads.figures import METRICS
from testproject.bench.spread import Spread, ratios, spread
from testproject.bench.turns import Result

__all__ = (
    "aligned",
    "by_turn",
    "case_data",
    "heading",
    "method",
    "place",
    "series_data",
    "shown",
    "table",
    "turns",
    "values_of",
    "versions",
)


def case_data(case: Case, result: Result) -> dict[str, Any]:
    """Return all figures of a case, for JSON.

    ``table()`` and the picture read nothing else, so a run that was kept can be
    shown again.
    """
    return {
        "title": case.title,
        "unit": case.unit,
        "primary": case.primary,
        "peers": {
            label: {
                "turns": [
                    turn and {name: _rounded(value) for name, value in turn.items()}
                    for turn in result.turns.get(label, [])
                ],
                "error": result.errors.get(label),
            }
            for label in (each.label for each in case.contenders)
            if label in result.turns or label in result.errors
        },
    }


def _rounded(value: float) -> float:
    """Return six digits of a figure: the next ones are never the same again."""
    return float(f"{value:.6g}")


def series_data(series: Iterable[Series], cases: Iterable[str]) -> dict[str, Any]:
    """Return which cases make up which series, for JSON."""
    done = set(cases)
    found = {}
    for each in series:
        points = {
            str(amount): case.name
            for amount, case in each.cases.items()
            if case.name in done
        }
        if points:
            found[each.name] = {
                "title": each.title,
                "axis": each.axis,
                "cases": points,
            }
    return found


def values_of(peer: dict[str, Any], metric: str) -> list[float]:
    """Return the values of one figure in the turns that have it."""
    return [turn[metric] for turn in peer["turns"] if turn and metric in turn]


def heading(run: dict[str, Any]) -> str:
    """Say when, where, with what and how it was measured."""
    machine = run["machine"]
    return (
        f"{machine['date']}, {place(machine)}; load average before "
        f"{machine['load average']}.\n{versions(machine)}.\n{method(run['options'])}"
    )


def place(machine: dict[str, Any]) -> str:
    """Say on what machine it was measured."""
    cores = machine["cores"]
    if cores["server"] is None:
        return f"{machine['machine']}; nothing pinned"
    return (
        f"{machine['machine']}; servers on core {cores['server']}, "
        f"load on core {cores['load']}"
    )


def versions(machine: dict[str, Any]) -> str:
    """Say with what versions it was measured."""
    return ", ".join(f"{name} {it}" for name, it in machine["versions"].items())


def method(options: dict[str, Any]) -> str:
    """Say what the figures of a table are."""
    return (
        f"Medians (lowest to highest) of {turns(options)}. "
        "Ratios are taken turn by turn; above 1, the first of the table is better."
    )


def turns(options: dict[str, Any]) -> str:
    """Say how often and how long it was measured."""
    many = "1 turn" if options["repeat"] == 1 else f"{options['repeat']} turns"
    return f"{many} of {options['seconds']:g} s"


def table(name: str, case: dict[str, Any]) -> str:
    """Return the table of a case: who is how fast, and at what cost."""
    primary = case["primary"]
    others = [
        metric
        for metric in METRICS
        if metric != primary
        and any(values_of(peer, metric) for peer in case["peers"].values())
    ]
    head = [f"{case['title']} (`{name}`)", _title(case, primary), "ratio"]
    for each in others:
        head += [METRICS[each].title, *(["CPU ratio"] if each == "cpu" else [])]
    rows = [_row(label, peer, case, others) for label, peer in case["peers"].items()]
    return "\n".join(aligned([head, *rows]))


def _title(case: dict[str, Any], metric: str) -> str:
    title = METRICS[metric].title
    return f"{case['unit']} {title}" if metric == "rate" else title


def _row(
    label: str, peer: dict[str, Any], case: dict[str, Any], others: Sequence[str]
) -> list[str]:
    primary = case["primary"]
    first = next(iter(case["peers"].values()))
    values = values_of(peer, primary)
    if values:
        found = shown(spread(values), METRICS[primary].decimals)
        if peer["error"]:
            found += ", then failed"
    else:
        found = (peer["error"] or "nothing measured").split("\n")[0][:80]
    row = [label, found, _ratio(first, peer, primary)]
    for each in others:
        row.append(_median(peer, each))
        if each == "cpu":
            row.append(_ratio(first, peer, each))
    return row


def _ratio(first: dict[str, Any], peer: dict[str, Any], metric: str) -> str:
    found = ratios(
        by_turn(first, metric),
        by_turn(peer, metric),
        more_is_better=METRICS[metric].more_is_better,
    )
    return "" if peer is first or found is None else shown(found, 2)


def by_turn(peer: dict[str, Any], metric: str) -> list[float | None]:
    """Return a figure in each turn; None in those that failed."""
    return [turn and turn.get(metric) for turn in peer["turns"]]


def _median(peer: dict[str, Any], metric: str) -> str:
    values = values_of(peer, metric)
    if not values:
        return ""
    return f"{spread(values).median:,.{METRICS[metric].decimals}f}"


def shown(it: Spread, decimals: int) -> str:
    """Write a median with its spread."""
    low, high = f"{it.low:,.{decimals}f}", f"{it.high:,.{decimals}f}"
    return f"{it.median:,.{decimals}f} ({low} to {high})"


def aligned(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table in Markdown; the first row is its head."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for number, row in enumerate(rows):
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            marks = ["-" * width for width in widths[1:]]
            yield f"| {'-' * widths[0]} | {' | '.join(f'{each[1:]}:' for each in marks)} |"
