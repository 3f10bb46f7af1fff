"""What has to be reached, and how far it is."""

from __future__ import annotations

import math

import pytest

from bench.targets import Outcome, Target, outcomes
from tests.bench.figures import results

_PLACE = ("text", "toowl", None)


def outcome(limit: float, measured: float, by: float | None = None, *, least: bool = False) -> Outcome:
    return Outcome(Target("it", _PLACE, None if by is None else _PLACE, limit, least), measured, by, "ms")


@pytest.mark.parametrize(
    ("found", "reached", "lacking"),
    [
        (outcome(2.5, 50, 20, least=True), True, 1.0),
        (outcome(2.5, 25, 20, least=True), False, 2.0),
        (outcome(1, 300, 100), False, 3.0),
        (outcome(10, 5), True, 0.5),
        (outcome(0, 0), True, 0.0),
        (outcome(0, 0.1), False, math.inf),
        (outcome(1, 0, least=True), False, math.inf),
    ],
)
def test_how_far(found: Outcome, reached: bool, lacking: float) -> None:
    assert found.reached is reached
    assert found.lacking == pytest.approx(lacking)


def test_the_medians_of_both_are_compared() -> None:
    (found,) = outcomes(
        results(("echo.p50", "toowl", None, [900, 300, 310]), ("echo.p50", "tmux", None, [150, 155, 700]))
    )
    assert found.value == 2


def test_what_was_not_measured_is_left_out() -> None:
    assert outcomes(results(("text", "toowl", None, [1]), ("text", "screen", None, [1]))) == []
