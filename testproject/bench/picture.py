"""A picture of a run: bars with their spread, and lines for what grows. SVG or PNG."""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from testproject.bench.loads.figures import METRICS
from testproject.bench.report import values_of
from testproject.bench.spread import Spread, spread

__all__ = ("draw",)

_COLUMNS = 2
_TITLE = 52
"""Letters of a title's line."""

_OURS = "django_asgi_bridge"
_COLOURS = {
    _OURS: "#0c4b33",
    "Django's ASGI": "#7fb99a",
    "Django on gunicorn": "#b9d8c7",
    "Channels": "#c9a227",
    "Starlette": "#4f6d9a",
    "django-bolt": "#b5651d",
    "a bare": "#9a9a9a",
}


def draw(run: dict[str, Any], path: Path) -> None:
    """Draw all cases of a run into a file.

    Args:
        run: as it is kept in JSON.
        path: its suffix says of what kind the picture is.
    """
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    mpl.rcParams["svg.hashsalt"] = "bench"  # the same run gives the same file
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels = [*_bars(run), *_lines(run)]
    if not panels:
        return
    rows = -(-len(panels) // _COLUMNS)
    figure, axes = plt.subplots(
        rows,
        _COLUMNS,
        figsize=(7.5 * _COLUMNS, 3.2 * rows),
        squeeze=False,
        layout="constrained",
    )
    every = list(axes.flat)
    for axis, (kind, panel) in zip(every, panels, strict=False):
        (_draw_bars if kind == "bars" else _draw_lines)(axis, panel)
    for axis in every[len(panels) :]:
        axis.set_visible(False)
    machine = run["machine"]
    figure.suptitle(f"{machine['date']}, {machine['machine']}", fontsize=8)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    plt.close(figure)


def _bars(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a panel for each case that is in no series."""
    grown = {name for each in run["series"].values() for name in each["cases"].values()}
    for name, case in run["cases"].items():
        spreads = _spreads(case)
        if name not in grown and spreads:
            yield "bars", {**case, "spreads": spreads}


def _lines(run: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give a panel for each series."""
    for series in run["series"].values():
        lines: dict[str, dict[int, Spread]] = {}
        for amount, name in series["cases"].items():
            for label, it in _spreads(run["cases"][name]).items():
                lines.setdefault(label, {})[int(amount)] = it
        case = run["cases"][next(iter(series["cases"].values()))]
        if lines:
            yield "lines", {**series, "lines": lines, "label": _label(case)}


def _spreads(case: dict[str, Any]) -> dict[str, Spread]:
    measured = {
        label: values_of(peer, case["primary"]) for label, peer in case["peers"].items()
    }
    return {label: spread(values) for label, values in measured.items() if values}


def _label(case: dict[str, Any]) -> str:
    metric = METRICS[case["primary"]]
    title = f"{case['unit']} {metric.title}" if case["primary"] == "rate" else None
    better = "more" if metric.more_is_better else "less"
    return f"{title or metric.title} ({better} is better)"


def _draw_bars(axis: Any, panel: dict[str, Any]) -> None:
    spreads: dict[str, Spread] = panel["spreads"]
    labels = list(spreads)
    axis.barh(
        labels,
        [it.median for it in spreads.values()],
        xerr=_errors(list(spreads.values())),
        color=[_colour(label) for label in labels],
        error_kw={"elinewidth": 1, "capsize": 3, "ecolor": "#333333"},
    )
    axis.invert_yaxis()
    axis.set_title(fill(panel["title"], _TITLE), fontsize=10, loc="left")
    axis.set_xlabel(_label(panel), fontsize=8)
    _plain(axis, axis.xaxis)


def _draw_lines(axis: Any, panel: dict[str, Any]) -> None:
    for label, points in panel["lines"].items():
        axis.errorbar(
            list(points),
            [it.median for it in points.values()],
            yerr=_errors(list(points.values())),
            label=label,
            color=_colour(label),
            linestyle="--" if "handler" in label.split(", ")[1:] else "-",
            marker="o",
            markersize=3,
            capsize=3,
        )
    axis.set_xscale("symlog", linthresh=1)
    axis.set_ylim(bottom=0)
    axis.set_title(fill(panel["title"], _TITLE), fontsize=10, loc="left")
    axis.set_xlabel(panel["axis"], fontsize=8)
    axis.set_ylabel(panel["label"], fontsize=8)
    axis.set_xticks(
        [int(amount) for amount in panel["cases"]],
        [f"{int(amount):,}" for amount in panel["cases"]],
    )
    axis.minorticks_off()
    axis.legend(fontsize=7)
    _plain(axis, axis.yaxis)


def _plain(axis: Any, scale: Any) -> None:
    """Take lines away that say nothing; write numbers with commas."""
    scale.set_major_formatter(lambda value, position: f"{value:,.0f}")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=8)


def _errors(spreads: list[Spread]) -> tuple[list[float], list[float]]:
    return (
        [it.median - it.low for it in spreads],
        [it.high - it.median for it in spreads],
    )


def _colour(label: str) -> str:
    for beginning, colour in _COLOURS.items():
        if label.startswith(beginning):
            return colour
    return "#666666"
