"""The figures as JSON, and the machine that they are of."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

FORM = 1
FILE = Path(__file__).with_name("results.json")


@dataclass
class Series:
    """All figures of one quantity.

    Attributes:
        measure: what, with a dot before a part of it: ``echo.p50``.
        x: what it grows with (sessions, clients, MiB of log); None where nothing does.
        values: one of each round.
    """

    measure: str
    contender: str
    unit: str
    x: int | None
    values: list[float]


@dataclass
class Results:
    """What one file holds."""

    machine: dict[str, str]
    versions: dict[str, str]
    taken: str
    series: list[Series]

    def values(self, measure: str, contender: str, x: int | None = None) -> list[float] | None:
        """None where it was not measured."""
        for found in self.series:
            if (found.measure, found.contender, found.x) == (measure, contender, x):
                return found.values
        return None


def load(path: Path) -> Results:
    """What was saved.

    Raises:
        ValueError: the file is of another form.
    """
    data = json.loads(path.read_text())
    if data.get("form") != FORM:
        raise ValueError(f"{path} is of form {data.get('form')}, not {FORM}: run `make bench` again")
    return Results(
        data["machine"], data["versions"], data["taken"], [Series(**entry) for entry in data["series"]]
    )


def save(results: Results, path: Path) -> None:
    """One line for each series, so that a change can be read."""
    head = {"form": FORM, "taken": results.taken, "machine": results.machine, "versions": results.versions}
    lines = ",\n".join(f"  {json.dumps(_rounded(series))}" for series in results.series)
    text = json.dumps(head, indent=1)[:-2] + f',\n "series": [\n{lines}\n ]\n}}\n'
    path.write_text(text)


def _rounded(series: Series) -> dict[str, Any]:
    return {**dataclasses.asdict(series), "values": [float(f"{value:.5g}") for value in series.values]}


def merge(old: Results, new: Results) -> Results:
    """The new ones, and of the old ones what was not measured again."""
    again = {series.measure.partition(".")[0] for series in new.series}
    kept = [series for series in old.series if series.measure.partition(".")[0] not in again]
    return dataclasses.replace(new, series=[*kept, *new.series])


def results_of(series: Iterable[Series], versions: Mapping[str, str], state: Path) -> Results:
    """With the machine that we are on. ``state``: a folder where the logs were."""
    return Results(
        machine(state), dict(versions), time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), list(series)
    )


def machine(state: Path) -> dict[str, str]:
    """What figures depend on."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": _virtual(),
        "disk": _filesystem(state),
        "python": platform.python_version(),
        "commit": _commit(),
    }


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _virtual() -> str:
    return "yes" if "hypervisor" in Path("/proc/cpuinfo").read_text() else "no"


def _filesystem(folder: Path) -> str:
    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else "?"


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "?"
