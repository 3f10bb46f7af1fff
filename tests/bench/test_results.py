"""The figures as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import results as stored
from bench.figures import Series, merge
from tests.bench.figures import results


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    found = results(("ls", "tmux", 50, [1.5, 2.0]), ("echo.p50", "toowl", None, [250.0]))
    stored.save(found, tmp_path / "file")
    assert stored.load(tmp_path / "file") == found


def test_each_series_has_a_line_of_its_own(tmp_path: Path) -> None:
    stored.save(results(("a", "tmux", None, [1]), ("b", "tmux", None, [2])), tmp_path / "file")
    assert [json.loads(line.rstrip(","))["measure"] for line in _lines(tmp_path / "file")] == ["a", "b"]


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines() if '"measure"' in line]


def test_another_form_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text('{"form": 0}')
    with pytest.raises(ValueError, match="make bench"):
        stored.load(tmp_path / "file")


def test_a_part_measured_again_replaces_its_whole_family() -> None:
    old = results(("echo.p50", "tmux", None, [1]), ("echo.p99", "screen", None, [2]), ("ls", "tmux", 1, [3]))
    new = results(("echo.p50", "tmux", None, [4]))
    merged = merge(old, new)
    assert [(series.measure, series.values) for series in merged.series] == [("ls", [3]), ("echo.p50", [4])]


def test_each_series_says_what_it_was_measured_of(tmp_path: Path) -> None:
    described = stored.machine(tmp_path)
    assert set(described) >= {"cpu", "kernel", "python", "disk", "busy before the run"}
    found = stored.results_of([Series("ls", "tmux", "ms", 1, [1.0])], {"tmux": "tmux 3.3a"}, described)
    assert found.series[0].commit
    assert found.machine == described
