"""Two contenders really, with next to nothing to do: the instrument works, whatever the figures are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.results import load
from tests.harness import REPOSITORY, need_program


@pytest.mark.parametrize("measures", ["text", "echo,echo-flood"])
def test_every_contender_gets_its_figures(measures: str, tmp_path: Path) -> None:
    need_program("dtach")
    file = tmp_path / "results.json"
    options = ["--effort", "smoke", "--contender", "toowl,dtach", "--only", measures, "--json", str(file)]
    command = [sys.executable, "-m", "bench", "run", *options]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    found = load(file)
    for contender in ("toowl", "dtach"):
        for measure in measures.split(","):
            mine = [
                series
                for series in found.series
                if series.contender == contender and series.measure.partition(".")[0] == measure
            ]
            assert mine and all(value > 0 for series in mine for value in series.values)
