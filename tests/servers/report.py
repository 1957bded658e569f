"""Run the matrix and write its results as tables: `python -m tests.servers.report`.

The first arguments may name parts of the page, `http` or `websockets`: the others
stay as they are. Further arguments go to pytest. The page is written whatever the
outcome: a scenario that fails says so in its cell.
"""

import importlib.metadata
import platform
import re
import sys
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.servers.scenarios import scenario_of, server_of, title_of
from tests.servers.specs import SOCKET_SPECS, SPECS, ServerSpec

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "servers.md"


@dataclass(frozen=True)
class Part:
    """A part of the page, which is written anew as a whole.

    Args:
        columns: the servers.
        packages: those whose versions count.
        groups: a table for each module of tests, and its heading.
        notes: the heading of the notes.
    """

    columns: tuple[ServerSpec, ...]
    packages: tuple[str, ...]
    groups: dict[str, str]
    notes: str


_SERVERS = ("Hypercorn", "daphne", "granian", "gunicorn", "uvicorn-worker")

PARTS = {
    "http": Part(
        SPECS,
        ("Django", "asgiref", "uvicorn", "httptools", "h11", *_SERVERS),
        {
            "test_requests": "Requests",
            "test_bodies": "Uploads",
            "test_connections": "Connections",
            "test_streaming": "Streams",
            "test_downloads": "Files",
            "test_bad_requests": "Bad requests",
            "test_hostile_responses": "Responses that break the rules",
            "test_tls": "TLS",
            "test_http2": "HTTP/2",
            "test_lifecycle": "Start and end",
        },
        "Notes",
    ),
    "websockets": Part(
        SOCKET_SPECS,
        ("Django", "asgiref", "uvicorn", "websockets", "wsproto", *_SERVERS),
        {"test_websockets": "WebSockets"},
        "Notes on WebSockets",
    ),
}
GROUPS = {
    module: title for part in PARTS.values() for module, title in part.groups.items()
}
INTRODUCTION = """\
# Servers

The same scenarios run over real sockets on every server, against a default Django
project served by `get_asgi_application()`.
This page is written by `python -m tests.servers.report`.

- **ok**: all cases of the scenario pass.
- **n.a.**: the server cannot do it; the note says why.
  Each such limit is verified: when a newer server passes, the tests fail until the
  limit is taken out of `tests/servers/limits.py`.
  Only what would fill the machine's memory is not run, and only what passes by chance
  may pass.
- **3 of 4**: so many cases pass, and the note says what the server cannot do of the rest.
- **fails**: a defect.
"""

Cases = dict[str, tuple[str, str]]  # scenario with parameters -> outcome, reason


class Results:
    """A pytest plugin that keeps the outcome of each scenario on each server."""

    def __init__(self) -> None:
        self.rows: defaultdict[tuple[str, str], defaultdict[str, Cases]] = defaultdict(
            lambda: defaultdict(dict)
        )
        self.items: dict[str, tuple[str, str, str, str]] = {}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Remember to which row and column each test belongs."""
        for item in session.items:
            server = server_of(item)
            if server is None:
                continue
            group = GROUPS[item.path.stem]
            title = title_of(item)
            self.items[item.nodeid] = (group, title, server, scenario_of(item))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note the outcome of a test; a failing set-up or teardown is one, too."""
        if report.nodeid not in self.items:
            return
        group, title, server, scenario = self.items[report.nodeid]
        cases = self.rows[group, title][server]
        if report.failed:
            cases[scenario] = ("fails", "")
        elif report.skipped:
            cases[scenario] = ("n.a.", _reason(report))
        elif report.when == "call":
            passed = ("n.a.", _reason(report)) if _is_limited(report) else ("ok", "")
            cases.setdefault(scenario, passed)

    def part(self, part: Part) -> str:
        """Return what the page says of one part."""
        notes: list[str] = []
        lines = [_versions(part.packages)]
        names = [spec.name for spec in part.columns]
        for group in part.groups.values():
            titles = [title for name, title in self.rows if name == group]
            if not titles:
                continue
            lines += ["", f"## {group}", "", f"| | {' | '.join(names)} |"]
            lines += [f"|---|{'---|' * len(names)}"]
            for title in titles:
                row = self.rows[group, title]
                cells = [_cell(row[name], notes) for name in names]
                lines.append(f"| {title} | {' | '.join(cells)} |")
        lines += ["", f"## {part.notes}", ""]
        lines += [f"{number}. {note}" for number, note in enumerate(notes, 1)]
        return "\n".join(lines) + "\n"


def _is_limited(report: pytest.TestReport) -> bool:
    return hasattr(report, "wasxfail")


def _reason(report: pytest.TestReport) -> str:
    xfail = getattr(report, "wasxfail", None)
    if xfail is not None:
        return str(xfail).removeprefix("reason: ").removeprefix("[NOTRUN] ")
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
    return str(text).removeprefix("Skipped: ")


def _cell(cases: Cases, notes: list[str]) -> str:
    outcomes = [outcome for outcome, _ in cases.values()]
    if not outcomes:
        return "not run"
    if "fails" in outcomes:
        return f"**fails** ({outcomes.count('fails')} of {len(outcomes)})"
    passed = outcomes.count("ok")
    if passed == len(outcomes):
        return "ok"
    marks = []
    for outcome, reason in cases.values():
        if outcome == "n.a." and reason not in notes:
            notes.append(reason)
        if outcome == "n.a.":
            marks.append(str(notes.index(reason) + 1))
    numbers = ", ".join(dict.fromkeys(marks))
    words = f"{passed} of {len(outcomes)}" if passed else "n.a."
    return f"{words} ({numbers})"


def _versions(packages: tuple[str, ...]) -> str:
    found = [f"Python {platform.python_version()}"]
    for package in packages:
        try:
            found.append(f"{package} {importlib.metadata.version(package)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{package} (not installed)")
    return f"Last run with {', '.join(found)}."


def _page(parts: dict[str, str]) -> str:
    """Return the page with these parts, the others taken from the page as it is."""
    before = PAGE.read_text("utf-8") if PAGE.exists() else ""
    pieces = [INTRODUCTION]
    for name in PARTS:
        kept = re.search(rf"<!-- {name} -->\n\n(.*?)(?=\n<!-- |\Z)", before, re.DOTALL)
        text = parts.get(name, kept[1] if kept else "")
        pieces.append(f"<!-- {name} -->\n\n{text}")
    return "\n".join(pieces)


def main(arguments: list[str]) -> int:
    """Run the matrix, write the page, and return pytest's exit status."""
    results = Results()
    names = [name for name in arguments if name in PARTS] or list(PARTS)
    rest = [word for word in arguments if word not in PARTS]
    directory = Path(__file__).parent
    modules = [
        str(directory / f"{module}.py")
        for name in names
        for module in PARTS[name].groups
    ]
    status = pytest.main([*modules, *rest], plugins=[results])
    page = _page({name: results.part(PARTS[name]) for name in names})
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(page, "utf-8")
    return int(status)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
