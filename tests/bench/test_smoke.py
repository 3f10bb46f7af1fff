"""Every family really, with next to nothing to do: the instrument works, whatever the figures are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.measures import MEASURES
from bench.results import load
from tests.harness import REPOSITORY, need_program

#: Seconds each, so only these two always; the others with what takes its time.
_ALWAYS = ("text", "echo")


def _families() -> list[object]:
    found: dict[object, list[str]] = {}
    for name, family in MEASURES.items():
        found.setdefault(family, []).append(name)
    rest = [names for names in found.values() if names[0] not in _ALWAYS]
    return [*([name] for name in _ALWAYS), *(pytest.param(names, marks=pytest.mark.e2e) for names in rest)]


@pytest.mark.parametrize("measures", _families(), ids=",".join)
def test_toowl_and_another_get_their_figures(measures: list[str], tmp_path: Path) -> None:
    need_program("tmux")
    file = tmp_path / "results.json"
    options = [
        "--effort",
        "smoke",
        "--contender",
        "toowl,tmux",
        "--only",
        ",".join(measures),
        "--json",
        str(file),
    ]
    command = [sys.executable, "-m", "bench", "run", *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = {(series.measure.partition(".")[0], series.contender) for series in load(file).series}
    both = {(measure, name) for measure in measures for name in ("toowl", "tmux")}
    assert found - {("ls", "python"), ("attach", "python")} == both - {("start", "tmux")}


@pytest.mark.e2e
def test_a_quick_run_shows_ratios() -> None:
    need_program("tmux")
    command = [sys.executable, "-m", "bench", "quick", "--effort", "smoke", "--only", "ls"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [line.split()[:4] for line in done.stdout.splitlines()]
    assert ["ls", "(1)", "toowl", "tmux"] in rows and ["ls", "(1)", "toowl", "python"] in rows
