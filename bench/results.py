"""The figures as JSON in a file, and the machine that they are of."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import subprocess
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench.figures import Results, Series

FORM = 1

#: How long we look whether somebody else keeps the machine busy.
_LOOK_SECONDS = 0.5

FILE = Path(__file__).with_name("results.json")


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


def results_of(
    series: Iterable[Series], versions: Mapping[str, str], described: Mapping[str, str]
) -> Results:
    """Figures that were just taken on the machine that is described."""
    commit = _commit()
    taken = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    stamped = [dataclasses.replace(found, commit=commit) for found in series]
    return Results(dict(described), dict(versions), taken, stamped)


def machine(state: Path) -> dict[str, str]:
    """What figures depend on, before they are taken. ``state``: a folder where the logs will be."""
    return {
        "cpu": f"{os.cpu_count()} x {_cpu_model()}",
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "virtual": _virtual(),
        "busy before the run": f"{psutil.cpu_percent(_LOOK_SECONDS):.0f} %",
        "disk": _filesystem(state),
        "python": platform.python_version(),
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
