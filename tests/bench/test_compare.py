"""A quick run beside the committed figures."""

from __future__ import annotations

import pytest

from bench.compare import compared
from bench.figures import Results
from tests.bench.figures import results


def run(measure: str, ours: float, theirs: float, by: str = "tmux", x: int | None = None) -> Results:
    return results((measure, "toowl", x, [ours]), (measure, by, x, [theirs]))


@pytest.mark.parametrize(
    ("measure", "now", "before", "told"),
    [
        ("text", 20, 40, "worse by 2.00"),
        ("text", 40, 20, "better by 2.00"),
        ("echo.p50", 40, 20, "worse by 2.00"),
        ("echo.p50", 20, 40, "better by 2.00"),
        ("echo.p50", 22, 20, ""),
    ],
)
def test_a_change_is_told_in_its_direction(measure: str, now: float, before: float, told: str) -> None:
    (line,) = compared(run(measure, now, 10), run(measure, before, 10)).splitlines()[1:]
    assert line.split()[:3] == [measure, "toowl", "tmux"]
    assert " ".join(line.split()[5:]) == told


def test_a_slower_machine_is_no_change() -> None:
    (line,) = compared(run("text", 20, 5), run("text", 40, 10)).splitlines()[1:]
    assert line.split()[3:] == ["4", "4"]


def test_memory_is_compared_as_it_is() -> None:
    now = results(("memory.pss", "toowl", 50, [4.0]), ("memory.pss", "tmux", 50, [0.1]), unit="MB")
    before = results(("memory.pss", "toowl", 50, [2.0]), ("memory.pss", "tmux", 50, [0.01]), unit="MB")
    (line,) = compared(now, before).splitlines()[1:]
    assert line.split() == ["memory.pss", "(50)", "toowl", "-", "4", "2", "worse", "by", "2.00"]


def test_memory_of_one_session_alone_is_not_compared() -> None:
    assert compared(results(("memory.pss", "toowl", 1, [4.0])), None).splitlines()[1:] == []


def test_without_committed_figures_there_is_the_ratio_of_now() -> None:
    (line,) = compared(run("ls", 40, 20, "python", 50), None).splitlines()[1:]
    assert line.split() == ["ls", "(50)", "toowl", "python", "2", "-"]


def test_a_bare_start_of_the_interpreter_counts_for_every_length_of_log() -> None:
    now = results(("attach", "toowl", 64, [90]), ("attach", "python", None, [30]))
    (line,) = compared(now, None).splitlines()[1:]
    assert line.split()[:5] == ["attach", "(64)", "toowl", "python", "3"]
