"""Runs cases: their contenders in turns, each on a server that was just started."""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace

from testproject.bench.cases.case import Case, Contender
from testproject.bench.loads.client import ClientLoad
from testproject.bench.loads.figures import Figures, Load
from testproject.bench.loads.wrk import Wrk
from testproject.bench.peers import Servers, serving
from testproject.bench.processes import Failed
from testproject.bench.resources import Resources, Unavailable

__all__ = ("Result", "run_case", "tell_on_terminal")

_WARM_UP = 1.0
"""Seconds of load, at most, before anything is measured."""


@dataclass
class Result:
    """What came of one case.

    Attributes:
        turns: for each contender by label, the figures of each turn; None where the
            turn failed.
        errors: why, by label; for contenders that were left out as well.
    """

    turns: dict[str, list[Figures | None]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)


def run_case(
    case: Case,
    resources: Resources,
    *,
    repeat: int,
    seconds: float,
    wanted: Callable[[Contender], bool] = lambda contender: True,
    tell: Callable[[str], None] = lambda line: None,
) -> Result:
    """Measure the contenders of a case in turns.

    A contender that fails is told about and takes no part in later turns.

    Args:
        case: what is measured.
        resources: that it may need.
        repeat: how many turns.
        seconds: of each measurement.
        wanted: whether a contender takes part.
        tell: is told how it goes.
    """
    result = Result()
    contenders = [each for each in case.contenders if wanted(each)]
    try:
        environment = resources.environment_for(case)
    except Unavailable as error:
        result.errors = {each.label: str(error) for each in contenders}
        return result
    present = []
    for each in contenders:
        if missing := each.peer.missing():
            result.errors[each.label] = f"not installed: {', '.join(missing)}"
        else:
            present.append(each)
    for each in present if case.is_rehearsed else ():
        tell(f"{case.name}, before the first turn: {each.label}")
        # If it fails, its first turn tells.
        with suppress(Failed, OSError), _serving(case, each, environment):
            pass
    for turn in range(repeat):
        for each in _rotated(present, turn):
            turns = result.turns.setdefault(each.label, [])
            if each.label in result.errors:
                turns.append(None)
                continue
            tell(f"{case.name}, turn {turn + 1} of {repeat}: {each.label}")
            try:
                load = _with_cookie(each.load or case.load, resources.cookie_for(case))
                with _serving(case, each, environment) as servers:
                    load.warm(servers, min(_WARM_UP, seconds))
                    turns.append(load.run(servers, seconds))
            except (Failed, OSError) as error:
                result.errors[each.label] = str(error)
                turns.append(None)
    return result


def _rotated(contenders: Sequence[Contender], turn: int) -> list[Contender]:
    """Let another begin in each turn: whoever comes first may find a cooler machine."""
    start = turn % len(contenders) if contenders else 0
    return [*contenders[start:], *contenders[:start]]


def _serving(
    case: Case, contender: Contender, environment: Mapping[str, str]
) -> AbstractContextManager[Servers]:
    full = {**environment, **contender.environment}
    return serving(contender.peer, full, processes=case.processes)


def _with_cookie(load: Load, cookie: str) -> Load:
    if not cookie:
        return load
    if isinstance(load, Wrk):
        return replace(load, cookie=cookie)
    if isinstance(load, ClientLoad):
        return replace(load, job={**load.job, "cookie": cookie})
    return load


def tell_on_terminal(line: str) -> None:
    """Show how it goes, where somebody looks."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{line}")
        sys.stderr.flush()
