"""Series: how the cost of one grows."""

import pytest

from testproject.bench.costs import cost_table, costs, exponent

CASES = {
    f"growth.{amount}": {
        "title": f"{amount} routes",
        "unit": "requests",
        "primary": "rate",
        "peers": {
            "ours": {"turns": [{"cpu": 9.0}, {"cpu": 11.0}, {"cpu": 10.0}]},
            "theirs": {"turns": [{"cpu": float(amount)} if amount < 1000 else None]},
        },
    }
    for amount in (10, 100, 1000)
}
SERIES = {
    "title": "Hello",
    "axis": "routes",
    "cases": {str(amount): f"growth.{amount}" for amount in (10, 100, 1000)},
}


def cells(line):
    return [each.strip() for each in line.strip("|").split("|")]


@pytest.mark.parametrize(
    ("cost", "expected"),
    [
        (lambda amount: 50.0, 0),
        (lambda amount: 3.0 * amount, 1),
        (lambda amount: 0.5 * amount**2, 2),
    ],
    ids=["flat", "linear", "quadratic"],
)
def test_exponent_is_the_power_of_the_amount(cost, expected):
    points = {amount: cost(amount) for amount in (10, 100, 500, 5000)}

    assert exponent(points) == pytest.approx(expected)


@pytest.mark.parametrize("power", [1, 2])
def test_exponent_is_of_what_is_added_when_the_amounts_begin_with_none(power):
    points = {amount: 70.0 + 4 * amount**power for amount in (0, 5, 10, 20)}

    assert exponent(points) == pytest.approx(power)


@pytest.mark.parametrize("points", [{10: 5.0}, {0: 5.0, 5: 5.1, 10: 6.0}])
def test_exponent_is_none_when_too_little_is_known(points):
    assert exponent(points) is None


def test_costs_are_spreads_by_peer_and_amount():
    found = costs(SERIES, CASES)

    assert (found["ours"][10].low, found["ours"][10].high) == (9.0, 11.0)
    assert list(found["theirs"]) == [10, 100]


def test_cost_table_shows_each_amount_and_the_growth():
    head, _, ours, theirs = cost_table("growth", SERIES, CASES).split("\n")

    assert cells(head) == [
        "Hello: server CPU, µs for one request (`growth`)",
        "10 routes",
        "100",
        "1,000",
        "last to first",
        "exponent",
        "at the end",
    ]
    assert cells(ours) == ["ours", "10.0", "10.0", "10.0", "1.00", "0.00", "0.00"]
    assert cells(theirs) == ["theirs", "10.0", "100.0", "", "10.00", "1.00", "1.00"]


def test_cost_table_shows_the_exponent_at_the_end_by_itself():
    """What is flat at first, and grows with much, is not flat."""
    cases = {
        str(amount): {
            "unit": "messages",
            "peers": {"theirs": {"turns": [{"cpu": cost}]}},
        }
        for amount, cost in {0: 4.0, 1: 5.0, 10: 5.0, 100: 14.0}.items()
    }
    series = {"title": "It", "axis": "groups", "cases": {each: each for each in cases}}

    head, _, theirs = cost_table("growth", series, cases).split("\n")

    assert cells(head)[-2:] == ["exponent of what is added", "at the end"]
    assert cells(theirs)[-3:] == ["3.50", "0.50", "1.00"]
