"""From many figures to a few."""

from __future__ import annotations

import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.stats import Summary, quantile, summary


def test_a_single_value_is_everything() -> None:
    assert summary([7.0]) == Summary(7.0, 7.0, 7.0)


def test_quartiles_lie_between_the_values() -> None:
    assert summary([4.0, 1.0, 3.0, 2.0]) == Summary(2.5, 1.75, 3.25)


def test_the_99th_of_a_hundred_is_next_to_the_last() -> None:
    assert quantile([float(number) for number in range(101)], 0.99) == pytest.approx(99)


@given(st.lists(st.floats(-1e6, 1e6), min_size=2))
def test_the_same_as_the_standard_library(values: list[float]) -> None:
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    found = summary(values)
    rounding = 1e-8  # of numbers that large, where they cancel out
    assert (found.low, found.median, found.high) == pytest.approx((low, middle, high), abs=rounding)
