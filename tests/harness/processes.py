"""Which processes run, and which of them belong to somebody."""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from tests.harness.waiting import wait_for

#: proc_pid_stat(5) tells in these when a process began.
_TICKS = os.sysconf("SC_CLK_TCK")


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def peer_pid(path: Path) -> int | None:
    """The pid of whoever listens on a Unix socket, None if nobody does. Works on a stopped process too."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK) as link:
        try:
            link.connect(os.fspath(path))
        except OSError:
            return None
        pid, _uid, _gid = struct.unpack("3i", link.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        return int(pid)


def describe(process: psutil.Process) -> str:
    """A process in a few words, for a message."""
    try:
        return f"{process.pid} {' '.join(process.cmdline()) or process.name()}"
    except psutil.Error:
        return f"{process.pid} (gone)"


def now() -> int:
    """The present time as `belonging` takes it."""
    return int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS)


def belonging(root: Path, since: int, known: Iterable[int] = ()) -> list[psutil.Process]:
    """Every process that began after ``since`` and has to do with a folder, however it was started.

    Found by environment, folder or open files (a process title overwrites /proc/PID/environ, so one of these
    alone is not enough), by being ``known``, and by descent. Who began earlier is not even looked at: that would
    take longer than the rest of most tests.
    """
    parents = dict(_begun(since))
    found = parents.keys() & set(known)
    found |= {pid for pid in parents.keys() - found if _touches(pid, root)}
    while descendants := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= descendants
    processes = []
    for pid in sorted(found):
        with contextlib.suppress(psutil.NoSuchProcess):  # gone meanwhile
            processes.append(psutil.Process(pid))
    return processes


# By plain system calls, as this is done twice for each test that has a sandbox: with pathlib it took 20 ms for each.


def _begun(since: int) -> Iterator[tuple[int, int]]:
    """The processes that began after ``since`` and are no zombies, and the parent of each."""
    for pid in psutil.pids():
        try:
            stat = _contents(f"/proc/{pid}/stat")
        except OSError:  # gone
            continue
        state, parent, *rest = stat.rpartition(b") ")[2].split()
        if int(rest[17]) >= since and state not in (b"Z", b"X"):
            yield pid, int(parent)


def _touches(pid: int, root: Path) -> bool:
    """Whether a process has ``root`` in its environment, as its folder, or in an open file."""
    text = os.fspath(root)
    folder = f"/proc/{pid}"
    try:
        if os.fsencode(text) in _contents(f"{folder}/environ"):
            return True
        links = [f"{folder}/cwd", *(f"{folder}/fd/{fd}" for fd in os.listdir(f"{folder}/fd"))]  # noqa: PTH208
    except OSError:  # gone, or another user's
        return False
    for link in links:
        try:
            if os.readlink(link).startswith(text):  # noqa: PTH115
                return True
        except OSError:
            continue
    return False


def _contents(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def await_end(processes: Iterable[psutil.Process]) -> None:
    """Wait a second for the end of killed processes.

    Not psutil's wait: it would take the exit status away from whoever started them.
    """
    with contextlib.suppress(AssertionError):  # the next round kills again
        wait_for(lambda: not any(alive(process.pid) for process in processes), timeout=1)
