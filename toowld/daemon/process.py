"""Is that process still the one that we mean? Pids are used again, so each goes with its start time."""

from __future__ import annotations

import contextlib
import os
import signal

import psutil

#: Start times come in ticks of 10 ms; two processes with the same pid are never this close (seconds).
_TOLERANCE = 0.5


def started_at(pid: int) -> float | None:
    """When a process was started, in seconds since boot; None if it is gone.

    Since boot, because the wall clock may be set: psutil adds the boot time, which moves with it, so it is taken off.
    """
    try:
        return float(psutil.Process(pid).create_time() - psutil.boot_time())
    except psutil.NoSuchProcess:
        return None


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the process that was ``pid`` and began at ``started`` still runs; a zombie does not."""
    if pid is None or started is None:
        return False
    now = started_at(pid)
    if now is None or abs(now - started) > _TOLERANCE:
        return False
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def kill(pid: int | None, started: float | None) -> None:
    """SIGKILL, if it is still that process."""
    if pid is not None and is_alive(pid, started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def boot_id() -> str:
    """Names this boot of the machine: what was started under another one is gone for sure."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
