"""Aims: what is to be reached, and whether it is."""

import pytest

from testproject.bench.aims import AIMS, Aim, Kind, judge, overview
from testproject.bench.cases import CASES


def a_case(primary="rate", error=None, **peers):
    """Return a case as it is kept: values of its figure in each turn, by peer."""
    return {
        "title": "Hello",
        "unit": "requests",
        "primary": primary,
        "peers": {
            label: {
                "turns": [None if it is None else {primary: it} for it in values],
                "error": error if label == "ours" else None,
            }
            for label, values in peers.items()
        },
    }


@pytest.mark.parametrize(
    ("kind", "bound", "ours", "theirs", "median", "is_met"),
    [
        (Kind.TIMES, 2, [90.0, 100.0, 120.0], [50.0, 50.0, 50.0], 2.0, True),
        (Kind.TIMES, 2, [90.0, 99.0, 120.0], [50.0, 50.0, 50.0], 1.98, False),
        (Kind.MORE, 3, [20.0, 21.0], [18.0, 17.0], 3.0, True),
        (Kind.MORE, 3, [20.0, 21.5], [18.0, 17.0], 3.25, False),
        (Kind.PERCENT, 3, [102.0], [100.0], 2.0, True),
        (Kind.PERCENT, 3, [104.0], [100.0], 4.0, False),
        (Kind.PERCENT, 3, [50.0], [100.0], -50.0, True),
    ],
)
def test_judge_holds_a_figure_against_a_peers(
    kind, bound, ours, theirs, median, is_met
):
    aim = Aim("hello.async", kind, bound, ("their",))

    reached = judge(aim, a_case(ours=ours, theirs=theirs))

    assert reached.figure.median == pytest.approx(median)
    assert (reached.beside, reached.is_met) == ("theirs", is_met)


def test_judge_takes_times_of_a_figure_of_which_less_is_better():
    aim = Aim("events", Kind.TIMES, 2, ("theirs",))

    reached = judge(aim, a_case("cpu", ours=[10.0], theirs=[25.0]))

    assert (reached.figure.median, reached.is_met) == (2.5, True)


def test_judge_takes_the_best_of_several_peers():
    aim = Aim("hello.async", Kind.TIMES, 1, ("slow", "fast"))

    reached = judge(aim, a_case(ours=[10.0], slow=[5.0], fast=[20.0], others=[90.0]))

    assert (reached.beside, reached.figure.median) == ("fast", 0.5)


@pytest.mark.parametrize(
    ("kind", "values", "is_met"),
    [
        (Kind.ALWAYS, [8.0, 8.0], True),
        (Kind.ALWAYS, [8.0, 7.0, 8.0], False),
        (Kind.AT_MOST, [7.0, 8.0, 90.0], True),
        (Kind.AT_MOST, [9.0, 9.0, 7.0], False),
    ],
)
def test_judge_needs_no_peer_for_a_bound_of_ones_own(kind, values, is_met):
    assert judge(Aim("hello.async", kind, 8), a_case(ours=values)).is_met is is_met


def test_judge_lets_no_aim_be_met_when_a_turn_failed():
    aim = Aim("hello.async", Kind.ALWAYS, 8)

    assert not judge(aim, a_case(ours=[8.0, None], error="gone")).is_met


def test_judge_looks_at_the_contender_that_is_named():
    aim = Aim("hello.async", Kind.ALWAYS, 8, own="second")

    assert judge(aim, a_case(ours=[1.0], second=[9.0])).is_met


@pytest.mark.parametrize(
    "case",
    [a_case(), a_case(ours=[None], theirs=[1.0]), a_case(ours=[1.0], others=[1.0])],
    ids=["nobody", "we failed", "the peer is not here"],
)
def test_judge_gives_nothing_when_there_is_nothing_to_compare(case):
    assert judge(Aim("hello.async", Kind.TIMES, 1, ("theirs",)), case) is None


def test_aims_are_about_contenders_that_there_are():
    """Each names a case, and peers of it: a typing error would show as "not measured"."""
    for aim in AIMS:
        labels = [each.label for each in CASES[aim.case].contenders]
        assert not aim.own or aim.own in labels, aim
        assert not aim.peers or any(each.startswith(aim.peers) for each in labels), aim
        is_alone = aim.kind in {Kind.ALWAYS, Kind.AT_MOST}
        assert is_alone is not bool(aim.peers), aim


def test_overview_has_a_row_for_each_aim():
    case = a_case(ours=[80.0], **{"Django's ASGI handler on uvicorn": [8.0]})

    head, _, first, *others = overview({"hello.async": case}).split("\n")

    assert head.split("|")[-2].strip() == "met"
    assert [each.strip() for each in first.split("|")[1:-1]] == [
        "Hello, world, async view (`hello.async`)",
        "Django's ASGI handler on uvicorn",
        "at least 8 times",
        "10.00 (10.00 to 10.00)",
        "yes",
    ]
    assert len(others) == len(AIMS) - 1
    assert all("not measured" in each for each in others)


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("hello.async.default", "at least 12 times"),
        ("file", "as fast"),
        ("events", "server CPU: no more"),
        ("idle", "memory each: at most 3 KB more"),
        ("start", "start: at most 3 % more"),
        ("file", "memory growth: at most 8 MB"),
        ("ten-thousand", "open: 10,000 in each turn"),
    ],
)
def test_overview_says_what_is_aimed_at(case, said):
    rows = [each for each in overview({}).split("\n") if f"(`{case}`)" in each]

    assert any(f" {said} |" in row for row in rows), rows


def test_overview_calls_no_aim_met_when_this_package_failed():
    case = a_case(ours=[None], error="gone", **{"django-bolt": [8.0]})

    rows = overview({"hello.async": case}).split("\n")

    failed = [each for each in rows if " failed |" in each]
    assert len(failed) == len([aim for aim in AIMS if aim.case == "hello.async"])
    assert all(each.endswith("|  no |") for each in failed)
