"""Medians, spread and ratios of measurements in turns."""

import pytest

from testproject.bench.spread import Spread, ratios, spread


def test_spread_is_the_median_with_the_extremes():
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)


def test_spread_of_an_even_number_is_between_the_two_in_the_middle():
    assert spread([4.0, 1.0, 2.0, 9.0]).median == 3.0


def test_spread_refuses_when_there_is_nothing():
    with pytest.raises(ValueError, match="no values"):
        spread([])


def test_ratios_compare_turn_by_turn_when_more_is_better():
    """A turn in which the machine was slow is slow for both: the ratio stays."""
    found = ratios([100.0, 10.0, 200.0], [50.0, 5.0, 50.0], more_is_better=True)

    assert found == Spread(2.0, 2.0, 4.0)


def test_ratios_are_above_one_for_what_is_less_when_less_is_better():
    assert ratios([10.0], [25.0], more_is_better=False) == Spread(2.5, 2.5, 2.5)


def test_ratios_leave_failed_turns_out():
    found = ratios([100.0, None, 30.0], [50.0, 5.0, None], more_is_better=True)

    assert found == Spread(2.0, 2.0, 2.0)


def test_ratios_are_none_when_no_turn_has_both():
    assert ratios([None, 1.0], [1.0, None], more_is_better=True) is None
