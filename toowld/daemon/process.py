"""Is that process still the one that we mean? Pids are used again, so each goes with its start time.

Where /proc can't be read for want of a descriptor, that is an OSError, and never taken for an end.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import signal
import time

import psutil

from toowld.host.pty import session_members

#: Start times come in ticks of 10 ms; two processes with the same pid are never this close (seconds).
_TOLERANCE = 0.5

#: Where proc_pid_stat(5) has it, behind the program's name, and how many of those ticks a second has.
_START_TIME = 22 - 3
_TICKS = os.sysconf("SC_CLK_TCK")

#: Which of a process's clocks it is, in the number that names one (clock_getcpuclockid(3)).
_CPUCLOCK_SCHED = 2

#: A killed process is gone within this time, unless it waits in the kernel (seconds).
END_TIMEOUT = 5.0


def started_at(pid: int) -> float | None:
    """When a process was started, in seconds since boot; None if it is gone.

    Since boot, because the wall clock may be set, and what psutil tells moves with it. That also takes six times as
    long, and it is asked for twice while somebody waits for a session.
    """
    try:
        fields = read(pid, "stat").rpartition(b") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(fields[_START_TIME]) / _TICKS


def is_same(pid: int | None, started: float | None) -> bool:
    """Whether ``pid`` still names the process that began at ``started``, be it a zombie."""
    if pid is None or started is None:
        return False
    now = started_at(pid)
    return now is not None and abs(now - started) <= _TOLERANCE


def is_alive(pid: int | None, started: float | None) -> bool:
    """Whether the process that was ``pid`` and began at ``started`` still runs; a zombie does not."""
    if pid is None or not is_same(pid, started):
        return False
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def sleeps(pid: int | None) -> bool:
    """Whether a process waits for something to happen: it is neither busy nor stopped nor gone."""
    return _state(pid) == b"S"


def is_stopped(pid: int | None) -> bool:
    """Whether a process was stopped by a signal, or by a debugger."""
    return _state(pid) in (b"T", b"t")


def _state(pid: int | None) -> bytes:
    """The letter of proc_pid_stat(5); nothing if it is gone, or can't be told. A list asks for hundreds of these."""
    try:
        # It stands behind the program's name, which is in parentheses, and may hold anything.
        return read(pid, "stat").rpartition(b") ")[2][:1]
    except OSError:
        return b""


def read(pid: int | None, name: str) -> bytes:
    """What a file in a process's folder of /proc says.

    Raises:
        OSError: the process is gone, or that may not be read.
    """
    fd = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)  # `open` takes twice the time
    try:
        return b"".join(iter(lambda: os.read(fd, 16 << 10), b""))
    finally:
        os.close(fd)


def cpu_time(pid: int | None) -> int | None:
    """How long a process has run on a processor so far (ns); None if it is gone."""
    try:
        return None if pid is None else time.clock_gettime_ns(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError:
        return None


class Sleep:
    """Whether a process `sleeps`, with a look at /proc only if it has run since the last one.

    To be stopped, too, it has to run: whoever gets SIGSTOP, or a debugger, wakes up, and stops itself. Its clock
    takes 0.4 µs to read, /proc 10.
    """

    def __init__(self) -> None:
        self._seen: tuple[int | None, int | None] | None = None

    def lasts(self, pid: int | None) -> bool:
        """Whether ``pid`` sleeps now."""
        now = pid, cpu_time(pid)  # before the look: what it does after that changes the clock
        if now != self._seen:
            self._seen = now if sleeps(pid) else None
        return self._seen is not None


def kill(pid: int | None, started: float | None, signum: int = signal.SIGKILL) -> None:
    """Signal it, if it is still that process."""
    if pid is not None and is_alive(pid, started):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signum)


async def wait_until_gone(pid: int | None, started: float | None, timeout: float) -> bool:
    """Wait for the end of a process that need not be a child of ours. Returns whether it has ended."""
    if pid is None:
        return True
    try:
        fd = os.pidfd_open(pid)
    except OSError:  # gone; or no descriptor is free, and all we can do is look
        return not is_alive(pid, started)
    loop = asyncio.get_running_loop()
    gone = asyncio.Event()
    loop.add_reader(fd, gone.set)
    try:
        # Only now: the descriptor is of whoever has the pid, and stays that.
        if not is_alive(pid, started):
            return True
        async with asyncio.timeout(timeout):
            await gone.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(fd)
        os.close(fd)
    return True


def kill_all(pids: list[int]) -> None:
    """Kill processes that were found just now."""
    for pid in pids:
        kill(pid, started_at(pid))


def of_session(leader: int | None, started: float | None, session_id: str) -> list[int]:
    """What runs in a session whose child is, or was, ``leader``.

    A pid is not given away as long as it names a session (pid_namespaces know it as PIDTYPE_SID). If the leader is
    gone, though, the members may be those of a later one that is gone too: those say in their environment whose
    they are.
    """
    if leader is None:
        return []
    if is_same(leader, started):
        return session_members(leader)
    if started_at(leader) is not None:
        return []
    mark = f"TOOWL_SESSION={session_id}".encode()
    return [pid for pid in session_members(leader) if mark in _environment(pid)]


def _environment(pid: int) -> list[bytes]:
    try:
        return read(pid, "environ").split(b"\0")
    except OSError:  # gone, or setuid
        return []


def children(pid: int | None, started: float | None) -> list[int]:
    """The children of a process, if it is still that one."""
    if pid is None or not is_same(pid, started):
        return []
    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.NoSuchProcess:
        return []


@functools.cache  # nobody of us outlives one
def boot_id() -> str:
    """Names this boot of the machine: what was started under another one is gone for sure."""
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
