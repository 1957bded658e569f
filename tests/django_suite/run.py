"""Run Django's own tests with this package's handler in the place of Django's.

``python tests/django_suite/run.py [LABEL ...]`` takes the source distribution of the
Django version installed here, runs each label in processes of their own, with Django's
handler untouched and twice with ours (child.py says how), and prints both beside each
other.

The exit status is 1 if a test passes with Django's handler and not with ours, unless
differences.toml names it; if a test named there passes; if the clients' requests of a
label did not reach our handler; or if a run could not finish.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import django

HERE = Path(__file__).resolve().parent
LABELS = (
    "asgi",
    "handlers",
    "staticfiles_tests.test_handlers",
    "middleware_exceptions",
    "test_client",
    "logging_tests",
    "middleware",
    "csrf_tests",
    "sessions_tests",
    "file_uploads",
    "requests_tests",
)
#: Labels whose tests make requests without a client: they exercise our request class
#: and the middleware at most, and do not count as evidence for the handler.
WITHOUT_CLIENT = frozenset(
    {"staticfiles_tests.test_handlers", "sessions_tests", "requests_tests"}
)
OWN, OURS = "django", ("bridge", "workers")
#: Processes at a time: a run is mostly one core's work.
JOBS = 2


@dataclasses.dataclass(frozen=True)
class Run:
    """What one process reported."""

    label: str
    outcomes: dict[str, str]
    details: dict[str, str]
    answered: int
    trips: int
    is_finished: bool
    output: str

    def count(self, outcome: str) -> int:
        """Return how many tests had this outcome."""
        return sum(1 for value in self.outcomes.values() if value == outcome)

    def passed(self) -> set[str]:
        """Return the ids of the tests that passed."""
        return {test for test, value in self.outcomes.items() if value == "passed"}


def main() -> int:
    """Run what the command line asks for and return the exit status."""
    options = _parse_arguments()
    tests = _find_tests(options.source, options.cache)
    labels = options.labels or LABELS
    compared = options.handler or OURS
    jobs = [(handler, label) for label in labels for handler in (OWN, *compared)]
    with ThreadPoolExecutor(JOBS) as executor:
        runs = dict(
            zip(
                jobs,
                executor.map(lambda job: _run(job[0], job[1], tests), jobs),
                strict=True,
            )
        )
    if options.report:
        _write_reports(options.report, runs)
    python = ".".join(str(part) for part in sys.version_info[:3])
    print(f"Django {django.get_version()}, Python {python}")
    print("ran/passed/failed/skipped with each handler; new: not expected to fail")
    problems = 0
    for handler in compared:
        pairs = [(runs[OWN, label], runs[handler, label]) for label in labels]
        expected = _load_differences(handler)
        _print_table(handler, pairs, expected)
        problems += _print_problems(pairs, expected)
    print(f"\n{problems or 'no'} problems")
    return 1 if problems else 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("labels", nargs="*", help="Django's test labels")
    parser.add_argument(
        "--source", type=Path, help="an unpacked source distribution of Django"
    )
    parser.add_argument(
        "--cache",
        type=Path,
        default=Path(os.environ.get("TOX_WORK_DIR") or tempfile.gettempdir())
        / "django_suite",
        help="where source distributions are kept (default: %(default)s)",
    )
    parser.add_argument(
        "--handler",
        action="append",
        choices=(*OURS, "exchange"),
        help="what to compare: ours with sync code in the test's thread (bridge) or "
        "on worker threads (workers), or Django's own behind the ASGI exchange; "
        "may be repeated (default: bridge and workers)",
    )
    parser.add_argument(
        "--report", type=Path, help="a directory for the output of every run"
    )
    return parser.parse_args()


def _find_tests(source: Path | None, cache: Path) -> Path:
    """Return the tests directory of Django's source, downloaded if need be."""
    version = django.get_version()
    if source is None:
        source = cache / f"django-{version}"
        if not source.exists():
            _download(version, cache, source)
    tests = source.resolve() / "tests"
    if not (tests / "runtests.py").exists():
        raise SystemExit(f"{tests} has no runtests.py: give a source distribution")
    return tests


def _download(version: str, cache: Path, target: Path) -> None:
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps"]
        command += ["--quiet", "--disable-pip-version-check", "--no-binary", "django"]
        command += ["--dest", folder, f"django=={version}"]
        subprocess.run(command, check=True)
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as members:
            members.extractall(folder, filter="data")
        # The name is django-5.2 or Django-5.2. The move makes it visible at once.
        (unpacked,) = (path for path in Path(folder).iterdir() if path.is_dir())
        unpacked.rename(target)


def _run(handler: str, label: str, tests: Path) -> Run:
    """Run one label with one handler in a process, and read its report."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.jsonl"
        report.touch()
        command = [sys.executable, str(HERE / "child.py"), handler, str(tests), label]
        process = subprocess.run(
            command,
            env={**os.environ, "DJANGO_SUITE_REPORT": str(report)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )
        entries = [json.loads(line) for line in report.read_text().splitlines()]
    return _read_run(label, entries, process.stdout)


def _read_run(label: str, entries: Iterable[dict[str, str]], output: str) -> Run:
    outcomes: dict[str, str] = {}
    details: dict[str, str] = {}
    answered: int | None = None
    trips = 0
    for entry in entries:
        if entry["event"] == "answered":
            answered, trips = int(entry["count"]), int(entry["trips"])
        elif entry["event"] == "start":
            # Without an end it is the test that hung or ended the process.
            outcomes[entry["test"]] = "unfinished"
        elif outcomes.get(entry["test"]) != "failed":
            outcomes[entry["test"]] = entry["outcome"]
        if detail := entry.get("detail"):
            details[entry["test"]] = details.get(entry["test"], "") + detail
    is_finished = answered is not None and bool(outcomes)
    return Run(label, outcomes, details, answered or 0, trips, is_finished, output)


def _write_reports(folder: Path, runs: dict[tuple[str, str], Run]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for (handler, label), run in runs.items():
        (folder / f"{label}-{handler}.txt").write_text(run.output)


def _load_differences(handler: str) -> dict[str, str]:
    """Return the reason for each test that may fail on this Django version."""
    with (HERE / "differences.toml").open("rb") as file:
        entries = tomllib.load(file).get("difference", [])
    series = ".".join(django.get_version().split(".")[:2])
    return {
        entry["test"]: entry["reason"]
        for entry in entries
        if series in entry.get("django", [series])
        and (handler != "exchange" or entry["cause"] == "exchange")
    }


def _print_table(
    handler: str, pairs: list[tuple[Run, Run]], expected: dict[str, str]
) -> None:
    print()
    heads = ("label", "Django's", handler, "answered", "trips", "differ", "new")
    row = "{:<33}{:>15}{:>15}{:>10}{:>7}{:>8}{:>5}"
    print(row.format(*heads))
    for own, ours in pairs:
        lost = own.passed() - ours.passed()
        new = len(lost - expected.keys())
        counts = [_counts(own), _counts(ours), ours.answered, ours.trips]
        print(row.format(own.label, *counts, len(lost) - new, new))
    print("\nA label with 0 answered requests does not count.")
    print("trips: calls on leased worker threads; others run in the test's thread.\n")


def _counts(run: Run) -> str:
    failed = run.count("failed") + run.count("unfinished")
    numbers = (len(run.outcomes), run.count("passed"), failed, run.count("skipped"))
    return "/".join(str(number) for number in numbers)


def _print_problems(pairs: list[tuple[Run, Run]], expected: dict[str, str]) -> int:
    problems = 0
    for own, ours in pairs:
        for run, who in ((own, "Django's handler"), (ours, "ours")):
            if not run.is_finished:
                problems += 1
                print(f"UNFINISHED {run.label} with {who}; its last lines:")
                print("\n".join(run.output.splitlines()[-60:]))
        if not ours.answered and own.label not in WITHOUT_CLIENT:
            problems += 1
            print(f"UNREACHED {ours.label}: our handler answered no request")
        for test in sorted(own.passed() - ours.passed()):
            if test in expected:
                print(f"different {test}\n    {expected[test]}")
                continue
            if test in ours.outcomes or ours.is_finished:
                problems += 1
                print(f"FAILED {test}: {ours.outcomes.get(test, 'did not run')}")
                print(ours.details.get(test, ""))
        for test in sorted(expected.keys() & ours.passed()):
            problems += 1
            print(f"STALE {test} passes: take it out of differences.toml")
    return problems


if __name__ == "__main__":
    sys.exit(main())
