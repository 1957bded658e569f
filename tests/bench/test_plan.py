"""The plan: what is measured for the page of results."""

import pytest

from testproject.bench.aims import AIMS
from testproject.bench.cases import CASES, find
from testproject.bench.page import PICTURES
from testproject.bench.plan import PLAN, Part, main, minutes

BUDGET = 70


def labels(part, case):
    return [
        each.label
        for each in case.contenders
        if not part.peers or any(word in each.label for word in part.peers)
    ]


def measured():
    """Return who is measured, by case."""
    return {
        case.name: labels(part, case)
        for part in PLAN
        for word in part.words
        for case in find(word)
    }


def test_plan_measures_each_case_once():
    """A case in two files would be refused."""
    names = [
        name
        for part in PLAN
        for name in {case.name for word in part.words for case in find(word)}
    ]

    assert len(set(names)) == len(names)
    assert len({part.name for part in PLAN}) == len(PLAN)


def test_plan_measures_all_that_has_an_aim():
    found = measured()
    for aim in AIMS:
        assert any(
            label.startswith(aim.peers or aim.own) for label in found[aim.case]
        ), aim


def test_plan_measures_all_that_is_in_a_picture():
    found = measured()
    for name in (name for names in PICTURES.values() for name in names):
        assert name in found or any(each.startswith(f"{name}.") for each in found), name


def test_plan_measures_this_package_first():
    """Ratios are to the first."""
    for name, present in measured().items():
        assert present[0] == CASES[name].contenders[0].label


def test_plan_fits_into_its_time():
    assert sum(map(minutes, PLAN)) <= BUDGET


@pytest.mark.parametrize(
    ("changes", "times"),
    [({"repeat": 4}, 2), ({"words": ("hello.async", "hello.sync")}, 2)],
)
def test_minutes_grow_with_what_there_is_to_do(changes, times):
    plain = {"words": ("hello.async",), "repeat": 2, "seconds": 1}

    longer = minutes(Part("it", **(plain | changes)))

    assert longer == pytest.approx(times * minutes(Part("it", **plain)))


def test_main_prints_a_command_for_each_part(capsys):
    main()

    lines = capsys.readouterr().out.splitlines()
    commands = [
        each for each in lines if each.startswith("python -m testproject.bench")
    ]
    assert len(commands) == len(PLAN)
    assert lines[-1].endswith("minutes in all")
