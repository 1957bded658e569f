"""Turns: who is measured when, and what happens to those who fail."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from testproject.bench import turns
from testproject.bench.cases import Case, Contender
from testproject.bench.peers import Peer
from testproject.bench.processes import Failed
from testproject.bench.resources import Unavailable
from testproject.bench.turns import run_case

ONE, TWO, THREE = (Peer(name, "json", name) for name in ("one", "two", "three"))
ABSENT = Peer("absent", "json", "absent", needs=("no_such_module",))


class FakeLoad:
    """Brings the same figure, or fails for one peer in its second turn."""

    def __init__(self, failing=""):
        self.failing = failing
        self.runs = []

    def warm(self, servers, seconds):
        pass

    def run(self, servers, seconds):
        name = servers.name
        self.runs.append(name)
        if name == self.failing and self.runs.count(name) == 2:
            raise Failed(f"{name} is broken")
        return {"rate": float(len(self.runs))}


class FakeResources:
    def environment_for(self, case):
        return {}

    def cookie_for(self, case):
        return ""


@pytest.fixture(autouse=True)
def serving(monkeypatch):
    """No process is started."""

    @contextmanager
    def serve(peer, environment, *, processes):
        yield SimpleNamespace(name=peer.name)

    monkeypatch.setattr(turns, "serving", serve)


def measure(load, *peers, repeat=3, resources=None):
    case = Case("case", "title", load, tuple(map(Contender, peers)))
    return run_case(case, resources or FakeResources(), repeat=repeat, seconds=1)


def test_contenders_take_turns_and_another_begins_in_each():
    load = FakeLoad()

    measure(load, ONE, TWO, THREE)

    assert " ".join(load.runs) == "one two three two three one three one two"


def test_contender_that_fails_takes_no_part_in_later_turns():
    load = FakeLoad(failing="two")

    result = measure(load, ONE, TWO)

    assert result.errors == {"two": "two is broken"}
    assert result.turns["two"][1:] == [None, None]
    assert load.runs.count("two") == 2
    assert None not in result.turns["one"]


def test_contender_is_left_out_when_it_is_not_installed():
    result = measure(FakeLoad(), ONE, ABSENT)

    assert result.errors == {"absent": "not installed: no_such_module"}
    assert list(result.turns) == ["one"]


def test_case_is_left_out_when_its_service_is_not_there():
    class Without(FakeResources):
        def environment_for(self, case):
            raise Unavailable("no PostgreSQL server")

    load = FakeLoad()

    result = measure(load, ONE, resources=Without())

    assert (result.errors, load.runs) == ({"one": "no PostgreSQL server"}, [])


def test_servers_of_a_rehearsed_case_have_started_once_before_the_first_turn(
    monkeypatch,
):
    """One that does not start is told about in its first turn, as ever."""
    load = FakeLoad()
    starts = []

    @contextmanager
    def serve(peer, environment, *, processes):
        starts.append((peer.name, dict(environment), len(load.runs)))
        if peer is TWO:
            raise Failed("two does not start")
        yield SimpleNamespace(name=peer.name)

    monkeypatch.setattr(turns, "serving", serve)
    contenders = (Contender(ONE, environment={"A": "1"}), Contender(TWO))
    case = Case("case", "title", load, contenders, is_rehearsed=True)

    result = run_case(case, FakeResources(), repeat=2, seconds=1)

    assert starts == [
        ("one", {"A": "1"}, 0),
        ("two", {}, 0),
        ("one", {"A": "1"}, 0),
        ("two", {}, 1),
        ("one", {"A": "1"}, 1),
    ]
    assert len(result.turns["one"]) == 2
    assert result.errors == {"two": "two does not start"}
