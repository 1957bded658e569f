"""Writes the page of results from the runs that are kept.

``python -m testproject.bench.page`` writes the tables between the marks of
``docs/explanation/performance.md``, and the pictures beside the runs in
``docs/explanation/measured``. What stands outside of the marks is written by hand.
"""

import re
from typing import Any

from testproject.bench.aims import overview
from testproject.bench.cases import CASES, SERIES
from testproject.bench.costs import cost_table
from testproject.bench.kept import FOLDER, command, merged, published
from testproject.bench.picture import draw
from testproject.bench.processes import ROOT
from testproject.bench.report import aligned, method, place, table, turns, versions

__all__ = ("PAGE", "PICTURES", "SECTIONS", "main", "page", "part")

PAGE = ROOT / "docs" / "explanation" / "performance.md"

SECTIONS = {
    "requests": ("hello", "json", "wait"),
    "queries": ("query", "queries", "page", "user"),
    "bodies": ("big", "csv", "file", "upload", "events"),
    "websockets": ("echo", "fan-out", "connect", "ten-thousand"),
    "start": ("start", "idle"),
}
"""Blocks of tables, and how the names of their cases begin."""

PICTURES = {
    "requests.svg": (
        "hello.async",
        "hello.async.default",
        "hello.sync",
        "hello.sync.default",
    ),
    "queries.svg": (
        "query.async.postgres",
        "query.sync.postgres",
        "query.async.sqlite",
        "queries.sync.postgres",
        "page.sync.postgres.default",
        "page.sync.sqlite.default",
    ),
    "websockets.svg": (
        "echo.async",
        "echo.sync",
        "fan-out.handler.500.memory",
        "fan-out.handler.500.redis",
        "fan-out.broadcast.500.memory",
        "fan-out.broadcast.500.redis",
    ),
    "growth-requests.svg": (
        "growth.connections",
        "growth.routes",
        "growth.middlewares",
    ),
    "growth-messages.svg": ("growth.members", "growth.groups"),
}
"""What is in a picture: cases, or what the names of series begin with."""

_BLOCK = re.compile(
    r"(?P<begin><!-- Written by testproject\.bench\.page: (?P<name>\w+) -->\n).*?"
    r"(?P<end><!-- Until here: (?P=name) -->\n)",
    re.DOTALL,
)


def page(text: str, runs: dict[str, dict[str, Any]]) -> str:
    """Return the page with its blocks written anew.

    Args:
        text: of the page as it is.
        runs: by the names of their files.

    Raises:
        LookupError: the page has other blocks than there are.
    """
    written = _blocks(runs)
    found = [match["name"] for match in _BLOCK.finditer(text)]
    if sorted(found) != sorted(written):
        raise LookupError(f"the page has the blocks {found}, not {list(written)}")
    return _BLOCK.sub(
        lambda match: f"{match['begin']}\n{written[match['name']]}\n\n{match['end']}",
        text,
    )


def _blocks(runs: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Return what stands between the marks, by their names."""
    run = merged(list(runs.values()))
    return {
        "overview": overview(run["cases"]),
        "runs": _runs(runs),
        **{name: _tables(run, words) for name, words in SECTIONS.items()},
        "growth": _growth(run),
    }


def _runs(runs: dict[str, dict[str, Any]]) -> str:
    """Tell of the machine, and by which commands each file was made."""
    machine = next(iter(runs.values()))["machine"]
    rows = [["run", "begun", "load average before", "cases"]]
    for name, run in runs.items():
        average = ", ".join(f"{each:g}" for each in run["machine"]["load average"])
        count = str(len(run["cases"]))
        rows.append(
            [f"[{name}](measured/{name})", run["machine"]["date"], average, count]
        )
    commands = "\n".join(
        f"$ {command(name, run['options'], list(run['cases']))}"
        for name, run in runs.items()
    )
    return "\n\n".join(
        [
            f"{place(machine)}.\n{versions(machine)}.",
            "\n".join(aligned(rows)),
            f"<!-- not run: starts servers -->\n\n```console\n{commands}\n```",
        ]
    )


def _tables(run: dict[str, Any], words: tuple[str, ...]) -> str:
    """Return the tables of some cases, in the order in which the cases are listed."""
    parts = []
    last = ""
    for name in CASES:
        if name in run["cases"] and name.partition(".")[0] in words:
            case = run["cases"][name]
            if (said := method(case["options"])) != last:
                parts.append(said)
                last = said
            parts.append(table(name, case))
    return "\n\n".join(parts) or "None of these cases is in the kept runs."


def _growth(run: dict[str, Any]) -> str:
    series = {name: run["series"][name] for name in SERIES if name in run["series"]}
    if not series:
        return "None of the series is in the kept runs."
    cases = [name for each in series.values() for name in each["cases"].values()]
    said = dict.fromkeys(turns(run["cases"][name]["options"]) for name in cases)
    tables = [cost_table(name, each, run["cases"]) for name, each in series.items()]
    return "\n\n".join([f"Medians of {' or '.join(said)}.", *tables])


def part(run: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """Return what one picture shows of a run."""
    cases = {name: run["cases"][name] for name in names if name in run["cases"]}
    series = {}
    for name, each in run["series"].items():
        if name.startswith(names):
            series[name] = each
            cases |= {case: run["cases"][case] for case in each["cases"].values()}
    return {**run, "cases": cases, "series": series}


def main() -> None:
    """Write the page and the pictures."""
    runs = published()
    PAGE.write_text(page(PAGE.read_text("utf-8"), runs), encoding="utf-8")
    run = merged(list(runs.values()))
    for name, names in PICTURES.items():
        draw(part(run, names), FOLDER / name)


if __name__ == "__main__":
    main()
