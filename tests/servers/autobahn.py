"""Autobahn's fuzzing client against a consumer, and against an echo without us.

`python -m tests.servers.autobahn WSTEST [SERVER ...] [--cases CASE ...]` prints the
verdicts of each group of cases on each server. WSTEST is the program of `autobahntestsuite`, which
runs on Python 2.7 alone and so has no place among this project's dependencies:
`pip install autobahntestsuite` in an environment of that Python makes it.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

from tests.servers.app.probe import BARE
from tests.servers.processes import Server
from tests.servers.site import make_site
from tests.servers.specs import SOCKET_SPECS, Launch

PATHS = {"consumer": "/ws/echo/", "bare": BARE}
PASSES = {"OK", "NON-STRICT"}
RACES = {"3.4", "4.1.5", "4.2.5"}
"""Cases that send a message and an error behind it octet by octet: whether the echo
leaves before the server fails the connection depends on who runs first. Both verdicts
are passes, and both come with either application."""

Verdicts = dict[str, tuple[str, str]]  # case -> of its behaviour, of its close


def run(server: Server, wstest: str, cases: Iterable[str]) -> dict[str, Verdicts]:
    """Run the cases against both applications of a running server."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        host, port = server.address
        agents = [
            {"agent": agent, "url": f"ws://{host}:{port}{path}"}
            for agent, path in PATHS.items()
        ]
        spec = {
            "outdir": str(directory),
            "servers": agents,
            "cases": list(cases),
            "exclude-cases": [],
            "exclude-agent-cases": {},
        }
        (directory / "spec.json").write_text(json.dumps(spec))
        subprocess.run(
            [wstest, "--mode", "fuzzingclient", "--spec", directory / "spec.json"],
            check=True,
            cwd=directory,
            stdout=subprocess.DEVNULL,
        )
        found = json.loads((directory / "index.json").read_text())
    return {
        agent: {
            case: (verdict["behavior"], verdict["behaviorClose"])
            for case, verdict in found[agent].items()
        }
        for agent in PATHS
    }


def differences(found: dict[str, Verdicts]) -> dict[str, list[tuple[str, str]]]:
    """Return the cases whose verdicts differ, those of a race only when one fails."""
    consumer, bare = found["consumer"], found["bare"]
    return {
        case: [consumer.get(case, ("", "")), bare.get(case, ("", ""))]
        for case in consumer.keys() | bare.keys()
        if consumer.get(case) != bare.get(case)
        and not (case in RACES and {consumer[case][0], bare[case][0]} <= PASSES)
    }


def counts(verdicts: Verdicts) -> dict[int, Counter[str]]:
    """Return how often each verdict was given, by the first number of the case."""
    groups: defaultdict[int, Counter[str]] = defaultdict(Counter)
    for case, (behaviour, _) in verdicts.items():
        groups[int(case.partition(".")[0])][behaviour] += 1
    return dict(sorted(groups.items()))


def main() -> int:
    """Run the cases and print what came of them; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("wstest")
    parser.add_argument("servers", nargs="*")
    parser.add_argument("--cases", nargs="*", default=["*"])
    options = parser.parse_args()
    status = 0
    for spec in SOCKET_SPECS:
        if options.servers and spec.name not in options.servers:
            continue
        with (
            tempfile.TemporaryDirectory() as directory,
            Server(spec, make_site(Path(directory)), Launch()) as server,
        ):
            found = run(server, options.wstest, options.cases)
            server.kill()
        print(spec.name)
        for agent, verdicts in found.items():
            for group, counter in counts(verdicts).items():
                print(f"  {agent} {group}: {dict(counter)}")
        for case, both in differences(found).items():
            print(f"  differs: {case} {both}")
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main())
