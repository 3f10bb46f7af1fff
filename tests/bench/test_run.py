"""Who takes part, in which order, and what is kept of it."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest

from bench import measures
from bench.contenders import Bare, Dtach
from bench.outer import TooSlow
from bench.run import Effort, Run, rounds


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path, [Bare, Dtach])


def test_everybody_in_turn() -> None:
    assert "".join(rounds(3, "ab")) == "ababab"


def test_figures_of_all_rounds_are_kept_together(run: Run) -> None:
    for value in (1.0, 2.0):
        run.record("ls", "tmux", "ms", value, 50)
        run.record("ls", "tmux", "ms", value * 10, 500)
    assert [(series.x, series.values) for series in run.series.values()] == [(50, [1, 2]), (500, [10, 20])]


def test_how_much_is_done() -> None:
    assert [Run(Path(), [], effort).amount(3, 2, 1) for effort in Effort] == [3, 2, 1]


def test_each_contender_has_an_empty_folder_that_goes_with_it(run: Run) -> None:
    for _ in range(2):
        with run.opened("bare") as (dtach,):
            assert [path.name for path in dtach.folder.iterdir()] == ["h"]
    assert list(run.root.iterdir()) == []


def test_a_payload_is_made_once(run: Run) -> None:
    file = run.payload_file("text", 1000)
    made = file.stat()
    assert run.payload_file("text", 1000).stat() == made


def test_a_family_is_measured_once_with_all_that_is_wanted(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[list[str]] = []

    def family(_run: Run, names: Collection[str]) -> None:
        asked.append(list(names))

    monkeypatch.setattr(measures, "MEASURES", {"a": family, "b": family, "c": family})
    assert measures.measure(run, ["c", "a"])
    assert asked == [["a", "c"]]


def test_what_failed_is_left_out_and_the_rest_kept(
    run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(run: Run, _names: Collection[str]) -> None:
        run.record("a.part", "tmux", "ms", 1)
        raise TooSlow("waited for ever")

    def works(run: Run, _names: Collection[str]) -> None:
        run.record("b", "tmux", "ms", 2)

    monkeypatch.setattr(measures, "MEASURES", {"a": fails, "b": works})
    assert not measures.measure(run, ["a", "b"])
    assert [series.measure for series in run.series.values()] == ["b"]
    assert "left out: a: waited for ever" in capsys.readouterr().out
