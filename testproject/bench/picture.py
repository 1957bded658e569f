"""A picture of a run: bars with their spread, and lines for what grows. SVG or PNG.

The lines are of the server's CPU time for one, as the tables of the series.
"""

from collections.abc import Iterator
from pathlib import Path
from textwrap import fill
from typing import Any

from testproject.bench.costs import UNITS, costs
from testproject.bench.loads.figures import METRICS
from testproject.bench.report import values_of
from testproject.bench.spread import Spread, spread

__all__ = ("draw",)

_COLUMNS = 2
_TITLE = 46
"""Letters of a title's line."""

_LABEL = 34
"""Letters of a bar's label that fit on a line."""

# Colours that people who see no red or no green tell apart as well.
_COLOURS = {
    "django_asgi_bridge on granian": "#63c2a4",
    "django_asgi_bridge": "#00664a",
    "Django's ASGI": "#d55e00",
    "Django on gunicorn": "#cc79a7",
    "Channels on uvicorn, channels_redis core": "#b07d00",
    "Channels": "#e69f00",
    "Starlette": "#3f8fc6",
    "django-bolt": "#6a4c93",
    "a bare": "#8c8c8c",
}

_STYLE = {
    "svg.hashsalt": "bench",  # the same run gives the same file
    "svg.fonttype": "none",  # letters, not their outlines: a fifth of the bytes
    # Each text names all of them: the widest first, so that others have room.
    "font.sans-serif": ["DejaVu Sans", "Verdana"],
}


def draw(run: dict[str, Any], path: Path) -> None:
    """Draw all cases of a run into a file.

    Args:
        run: as it is kept in JSON.
        path: its suffix says of what kind the picture is.
    """
    import matplotlib as mpl  # noqa: PLC0415

    mpl.use("svg" if path.suffix == ".svg" else "agg")
    with mpl.rc_context():
        mpl.rcdefaults()  # whatever a user's own file says
        parameters: Any = mpl.rcParams  # typed by the name of each
        parameters.update(_STYLE)
        _draw(run, path)


def _draw(run: dict[str, Any], path: Path) -> None:
    from matplotlib import pyplot as plt  # noqa: PLC0415

    panels = [*_bars(run), *_lines(run)]
    if not panels:
        return
    rows = [panels[at : at + _COLUMNS] for at in range(0, len(panels), _COLUMNS)]
    figure, axes = plt.subplots(
        len(rows),
        _COLUMNS,
        figsize=(6.5 * _COLUMNS, sum(map(_height, rows))),
        height_ratios=[_height(row) for row in rows],
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


def _height(row: list[tuple[str, dict[str, Any]]]) -> float:
    """Return the inches of a row: as much as its longest panel needs."""
    return max(
        0.85 + 0.33 * len(panel["spreads"]) if kind == "bars" else 3.4
        for kind, panel in row
    )


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
        if lines := costs(series, run["cases"]):
            case = run["cases"][next(iter(series["cases"].values()))]
            label = f"server CPU, µs for one {UNITS[case['unit']]}"
            yield "lines", {**series, "lines": lines, "label": label}


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
        [
            label.replace(", ", ",\n", 1) if len(label) > _LABEL else label
            for label in labels
        ],
        [it.median for it in spreads.values()],
        xerr=_errors(list(spreads.values())),
        color=[_colour(label) for label in labels],
        error_kw={"elinewidth": 1, "capsize": 3, "ecolor": "#333333"},
    )
    axis.invert_yaxis()
    axis.set_title(fill(panel["title"], _TITLE), fontsize=10, loc="left")
    axis.set_xlabel(_label(panel), fontsize=8)
    axis.locator_params(axis="x", nbins=5)
    _plain(axis, axis.xaxis)


def _draw_lines(axis: Any, panel: dict[str, Any]) -> None:
    amounts = [int(amount) for amount in panel["cases"]]
    lines: dict[str, dict[int, Spread]] = panel["lines"]
    axis.set_yscale("log")
    if amounts[0]:
        axis.set_xscale("log")
    for label, points in lines.items():
        colour = _colour(label)
        axis.plot(
            list(points),
            [it.median for it in points.values()],
            label=label,
            color=colour,
            linestyle="--" if "handler" in label.split(", ")[1:] else "-",
            marker="o",
            markersize=4,
        )
        lows, highs = zip(*((it.low, it.high) for it in points.values()), strict=True)
        axis.vlines(list(points), lows, highs, color=colour, linewidth=1)
    _leave_room(axis, lines)
    if amounts[0]:
        _draw_proportion(axis, next(iter(lines.values())))
    else:
        for label, points in lines.items():
            _draw_straight(axis, points, _colour(label))
    axis.set_title(fill(panel["title"], _TITLE), fontsize=10, loc="left")
    axis.set_xlabel(panel["axis"], fontsize=8)
    axis.set_ylabel(panel["label"], fontsize=8)
    axis.set_xticks(amounts, [f"{amount:,}" for amount in amounts])
    axis.minorticks_off()
    axis.legend(fontsize=7, loc="upper left", handlelength=3)
    axis.grid(visible=True, axis="y", linewidth=0.4, color="#cccccc")
    _plain(axis, axis.yaxis)


def _leave_room(axis: Any, lines: dict[str, dict[int, Spread]]) -> None:
    """Show two decades at least, so that what differs by little looks so.

    Above is room for the legend.
    """
    every = [it for points in lines.values() for it in points.values()]
    low, high = min(it.low for it in every), max(it.high for it in every)
    axis.set_ylim(low / 1.5, max(high, 10 * low) * 1.5 * 1.8 ** len(lines))


def _draw_proportion(axis: Any, points: dict[int, Spread]) -> None:
    """Draw how this package's cost would grow if it grew as the amount does."""
    first = min(points)
    cost = points[first].median
    top = axis.get_ylim()[1]
    axis.plot(
        [first, first * top / cost],
        [cost, top],
        color="#999999",
        linestyle=":",
        linewidth=1,
        label="in proportion to their number",
        scalex=False,
        scaley=False,
    )


def _draw_straight(axis: Any, points: dict[int, Spread], colour: str) -> None:
    """Draw what a straight line from the first point to the last is on this axis."""
    first, last = min(points), max(points)
    base = points[first].median
    each = (points[last].median - base) / max(1, last - first)
    amounts = range(first, last + 1)
    axis.plot(
        amounts,
        [base + each * (amount - first) for amount in amounts],
        color=colour,
        linestyle=":",
        linewidth=1,
    )


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
