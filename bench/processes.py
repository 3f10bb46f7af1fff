"""What the kernel says of processes: CPU time, memory, descriptors, wake-ups.

Sums over sets of pids. A process that is gone counts nothing.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

#: A process's CPU clock as clock_getcpuclockid(3) makes it. Nanoseconds, where /proc/PID/stat has ticks of 10 ms.
_CPUCLOCK_SCHED = 2


def cpu_seconds(pids: Iterable[int]) -> float:
    """User and system time so far."""
    total = 0.0
    for pid in pids:
        with contextlib.suppress(OSError):  # gone
            total += time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    return total


def family(pid: int) -> list[int]:
    """The process and all that descends from it."""
    try:
        process = psutil.Process(pid)
        return [pid, *(child.pid for child in process.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def runs(pid: int) -> bool:
    """Whether it does; one that only waits to be reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def parent(pid: int) -> int:
    """Who started it, or took it in."""
    return psutil.Process(pid).ppid()


def memory(pid: int) -> tuple[int, int]:
    """PSS and USS in bytes."""
    fields = dict(_fields(f"/proc/{pid}/smaps_rollup"))
    return (
        _kilobytes(fields["Pss"]),
        _kilobytes(fields["Private_Clean"]) + _kilobytes(fields["Private_Dirty"]),
    )


def descriptors(pid: int) -> int:
    """How many are open."""
    return len(os.listdir(f"/proc/{pid}/fd"))  # noqa: PTH208 - a count, not paths


def threads(pid: int) -> int:
    """How many there are."""
    return len(os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208


def wakeups(pid: int) -> int:
    """How often its threads were put onto a CPU so far."""
    total = 0
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # gone
        for task in Path(f"/proc/{pid}/task").iterdir():
            fields = dict(_fields(task / "status"))
            total += int(fields["voluntary_ctxt_switches"]) + int(fields["nonvoluntary_ctxt_switches"])
    return total


def _fields(path: str | Path) -> Iterator[tuple[str, str]]:
    for line in Path(path).read_text().splitlines():
        name, colon, value = line.partition(":")
        if colon:
            yield name, value.strip()


def _kilobytes(value: str) -> int:
    return int(value.removesuffix(" kB")) * 1024
