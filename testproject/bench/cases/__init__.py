"""The cases: tables of what is measured, with whom."""

from fnmatch import fnmatchcase

from testproject.bench.cases.case import Case, Contender, Series
from testproject.bench.cases.growth import growth
from testproject.bench.cases.http import http_cases
from testproject.bench.cases.sockets import socket_cases

__all__ = ("CASES", "SERIES", "Case", "Contender", "Series", "find")

SERIES: dict[str, Series] = {each.name: each for each in growth()}
"""The series by name."""

CASES: dict[str, Case] = {
    each.name: each
    for each in (
        *http_cases(),
        *socket_cases(),
        *(case for series in SERIES.values() for case in series.cases.values()),
    )
}
"""The cases by name, those of the series included."""


def find(pattern: str) -> list[Case]:
    """Return the cases that a word of the command line means.

    Args:
        pattern: a name, the beginning of names (``fan-out``), or with ``*`` and ``?``.

    Raises:
        LookupError: there is none.
    """
    if pattern in CASES:
        return [CASES[pattern]]
    found = [
        case
        for name, case in CASES.items()
        if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")
    ]
    if not found:
        raise LookupError(f"no case is called {pattern!r}; --list shows all")
    return found
