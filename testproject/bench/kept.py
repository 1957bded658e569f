"""Runs that are kept in files: written so that they are read easily, read together."""

import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from testproject.bench.processes import ROOT

__all__ = ("FOLDER", "Unlike", "command", "merged", "published", "read", "written")

FOLDER = ROOT / "docs" / "explanation" / "measured"
"""Where the runs are that the page of results is made of."""


class Unlike(Exception):
    """Runs that do not belong on one page.

    If you see this: measure all of them on one machine with the same versions, and
    every case in one of them only.
    """


def written(run: dict[str, Any]) -> str:
    """Return a run as JSON, each turn of a peer on a line of its own."""
    return "".join(_lines(run, "")) + "\n"


def _lines(value: Any, margin: str) -> Iterator[str]:
    inner = list(value.values() if isinstance(value, dict) else value)
    if not any(isinstance(each, dict | list) for each in inner):
        yield json.dumps(value, ensure_ascii=False)
        return
    is_object = isinstance(value, dict)
    yield "{" if is_object else "["
    for number, each in enumerate(value):
        yield f"{',' if number else ''}\n{margin} "
        held = each
        if is_object:
            yield f"{json.dumps(each, ensure_ascii=False)}: "
            held = value[each]
        if isinstance(held, dict | list):
            yield from _lines(held, f"{margin} ")
        else:
            yield json.dumps(held, ensure_ascii=False)
    yield f"\n{margin}{'}' if is_object else ']'}"


def published() -> dict[str, dict[str, Any]]:
    """Return the runs that the page of results is made of.

    Raises:
        Unlike: see ``read()``.
    """
    return read(sorted(FOLDER.glob("*.json")))


def command(name: str, options: Mapping[str, Any], cases: Sequence[str] = ()) -> str:
    """Return the command that measures a run for the page of results.

    Args:
        name: of its file.
        options: as they are kept.
        cases: that are in it; said where the options do not have the words.
    """
    return " ".join(
        [
            "python -m testproject.bench",
            *map(shlex.quote, options.get("words") or cases),
            *(f"--peer {shlex.quote(word)}" for word in options.get("peers", ())),
            f"--repeat {options['repeat']} --seconds {options['seconds']:g}",
            f"--json {(FOLDER / name).relative_to(ROOT)}",
        ]
    )


def read(paths: Sequence[Path]) -> dict[str, dict[str, Any]]:
    """Return runs by the names of their files.

    Raises:
        Unlike: they are of several machines or versions, or measured a case twice.
    """
    runs: dict[str, dict[str, Any]] = {}
    homes: dict[str, str] = {}
    for path in paths:
        run = json.loads(path.read_text(encoding="utf-8"))
        for name, other in runs.items():
            if difference := _difference(run["machine"], other["machine"]):
                raise Unlike(f"{path.name} and {name} differ: {difference}")
        for case in run["cases"]:
            if case in homes:
                raise Unlike(
                    f"{case} is in {homes[case]} and in {path.name}: keep one of them"
                )
            homes[case] = path.name
        runs[path.name] = run
    return runs


def _difference(one: dict[str, Any], other: dict[str, Any]) -> str:
    """Say in what two machines differ, as far as it matters; nothing if in nothing."""
    for what in ("machine", "cores"):
        if one[what] != other[what]:
            return f"{what} {one[what]!r}, and {other[what]!r}"
    for name in {**one["versions"], **other["versions"]}:
        versions = [each["versions"].get(name) for each in (one, other)]
        if versions[0] != versions[1]:
            return f"{name} {versions[0]}, and {versions[1]}"
    return ""


def merged(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return runs as one; each case has the options that it was measured with."""
    dates = sorted(run["machine"]["date"] for run in runs)
    between = dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
    series: dict[str, dict[str, Any]] = {}
    for run in runs:
        for name, each in run["series"].items():
            cases = {**series.get(name, each)["cases"], **each["cases"]}
            ordered = dict(sorted(cases.items(), key=lambda item: int(item[0])))
            series[name] = {**each, "cases": ordered}
    return {
        "machine": {**runs[0]["machine"], "date": between},
        "cases": {
            name: {**case, "options": run["options"]}
            for run in runs
            for name, case in run["cases"].items()
        },
        "series": series,
    }
