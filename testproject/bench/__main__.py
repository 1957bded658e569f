"""``python -m testproject.bench``: this package and its peers, side by side in one run.

Each peer is a server process of its own on one core; the load generator is on another.
The peers take turns, so that a noisy moment hits all of them. Printed are medians with
their spread, and ratios to this package.

Needs wrk, and what is in the dependency group ``bench``; PostgreSQL (at
BRIDGE_POSTGRES_URL, or on 127.0.0.1) and redis-server for the cases that use them.
Peers and services that are not here are left out, and the table says so.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from testproject.bench.cases import CASES, SERIES, Case, find
from testproject.bench.kept import Unlike, merged, read, written
from testproject.bench.machine import describe, pin_this_process
from testproject.bench.picture import draw
from testproject.bench.processes import ends_on_signals, raise_file_limit
from testproject.bench.report import case_data, heading, series_data, table
from testproject.bench.resources import Resources
from testproject.bench.turns import run_case, tell_on_terminal

__all__ = ("main",)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the cases that were asked for; return how many contenders failed in it."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.list:
        for case in CASES.values():
            print(f"{case.name:34} {case.title}")
        return 0
    try:
        cases = _chosen(options.cases)
    except LookupError as error:
        parser.error(str(error.args[0]))
    if options.read:
        try:
            runs = read(options.read)
        except Unlike as error:
            parser.error(str(error))
        for each in runs.values():
            _show(each)
        run = merged(list(runs.values()))
    else:
        run = _run(cases, options)
    if options.picture:
        draw(run, options.picture)
    return 0 if options.read else _failures(run)


def _show(run: dict[str, Any]) -> None:
    print(heading(run))
    for name, case in run["cases"].items():
        print(f"\n{table(name, case)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "cases",
        nargs="*",
        help="names, beginnings of names (fan-out), or patterns (*.sync); default: all",
    )
    parser.add_argument("--list", action="store_true", help="show the cases")
    parser.add_argument("--repeat", type=int, default=5, help="turns (5)")
    parser.add_argument("--seconds", type=float, default=4, help="of each turn (4)")
    parser.add_argument(
        "--peer",
        action="append",
        default=[],
        metavar="WORD",
        help="only peers whose names have this word; may be given again",
    )
    parser.add_argument("--json", type=Path, help="keep all figures in this file")
    parser.add_argument("--picture", type=Path, help="draw into this file (.svg, .png)")
    parser.add_argument(
        "--read",
        type=Path,
        nargs="+",
        metavar="JSON",
        help="show runs that --json kept, of one machine",
    )
    return parser


def _chosen(words: Sequence[str]) -> list[Case]:
    if not words:
        return list(CASES.values())
    found = {case.name: case for word in words for case in find(word)}
    return list(found.values())


def _run(cases: Sequence[Case], options: argparse.Namespace) -> dict[str, Any]:
    run: dict[str, Any] = {
        "machine": describe(),
        "options": {
            "repeat": options.repeat,
            "seconds": options.seconds,
            "words": options.cases,
            "peers": options.peer,
        },
        "cases": {},
        "series": {},
    }
    print(heading(run))
    pin_this_process()
    raise_file_limit()
    with ends_on_signals(), Resources() as resources:
        for case in cases:
            result = run_case(
                case,
                resources,
                repeat=options.repeat,
                seconds=options.seconds,
                wanted=lambda each: (
                    not options.peer or any(word in each.label for word in options.peer)
                ),
                tell=tell_on_terminal,
            )
            tell_on_terminal("")
            run["cases"][case.name] = case_data(case, result)
            run["series"] = series_data(SERIES.values(), run["cases"])
            print(f"\n{table(case.name, run['cases'][case.name])}", flush=True)
            for label, error in result.errors.items():
                if "\n" in error:
                    print(f"\n{label}: {error}", file=sys.stderr)
            if options.json:
                # After each case: a long run that is broken off keeps what it has.
                options.json.write_text(written(run), encoding="utf-8")
    return run


def _failures(run: dict[str, Any]) -> int:
    return sum(
        1
        for case in run["cases"].values()
        for peer in case["peers"].values()
        if peer["error"] and not peer["error"].startswith(("not installed", "no "))
    )


if __name__ == "__main__":
    raise SystemExit(min(1, main()))
