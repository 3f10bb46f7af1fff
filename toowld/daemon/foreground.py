"""Does what runs in the foreground of a terminal wait for somebody to type? Read from /proc, of Linux.

It does if it blocks in a system call that would return if something were typed: a read of the terminal, or a wait
for several things with the terminal among them, for a second at least: what redraws a spinner waits for less. What
polls a socket too, as ssh does, passes on what another program prints, and that one is not known; event loops (epoll)
have sockets anyway. A thread that does nothing but read keys while others work does not count, unless the session has
been quiet. So this tells of prompts, of questions and of most programs that have drawn all and wait. It may be wrong.

Nothing is touched: proc_pid_syscall(5) has the call and its arguments, /proc/PID/mem what they point to. Where these
can't be read (another user's, or Yama's ptrace_scope), /proc/PID/wchan tells of a read of the terminal.
"""

from __future__ import annotations

import contextlib
import os
import platform
import struct
from collections.abc import Iterable

#: Numbers of system calls, by what `_calls` makes of their arguments.
_NUMBERS: dict[str, dict[int, str]] = {
    "x86_64": {
        0: "read", 7: "poll", 271: "ppoll", 23: "select", 270: "pselect", 232: "epoll", 281: "epoll", 441: "epoll2",
    },
    "aarch64": {63: "read", 73: "ppoll", 72: "pselect", 22: "epoll", 441: "epoll2"},
}  # fmt: skip
_CALLS = _NUMBERS.get(platform.machine(), {})

#: Who waits for so long (seconds) has nothing to draw meanwhile.
_LONG = 1.0
#: More descriptors than that nobody waits for who waits for somebody to type.
_MOST_FDS = 256
#: In the kernel, behind a read of a terminal.
_READING = ("wait_woken", "n_tty_read")


class Processes:
    """All processes at this moment, by their group."""

    def __init__(self) -> None:
        self._groups: dict[int, list[int]] = {}
        self._foreground: dict[int, int] = {}
        for name in os.listdir("/proc"):
            if name.isdigit() and (fields := _stat(int(name))) is not None:
                self._groups.setdefault(int(fields[2]), []).append(int(name))
                self._foreground[int(name)] = int(fields[5])

    def waiting(self, child: int, *, quiet: bool) -> int | None:
        """The process that waits for somebody to type in the session of ``child``, if one does.

        Args:
            quiet: whether nothing was printed for a while.
        """
        group = self._foreground.get(child, -1)
        return next((pid for pid in self._groups.get(group, ()) if _waits(pid, quiet)), None)


def _waits(pid: int, quiet: bool) -> bool:
    try:
        tty = _tty(pid)
        threads = [pid] if not quiet else [int(name) for name in os.listdir(f"/proc/{pid}/task")]
        return tty is not None and any(_blocks_on(pid, thread, tty) for thread in threads[:_MOST_FDS])
    except (OSError, ValueError, struct.error):  # gone meanwhile, or not ours to look at
        return False


def _stat(pid: int) -> list[bytes] | None:
    """Fields of proc_pid_stat(5) from the third one (state) on."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b") ")[2].split()
    except OSError:
        return None


def _tty(pid: int) -> int | None:
    """The device number of its terminal."""
    fields = _stat(pid)
    return None if fields is None or fields[4] == b"0" else int(fields[4])


def _blocks_on(pid: int, thread: int, tty: int) -> bool:
    """Whether a thread waits for ``tty``."""
    try:
        with open(f"/proc/{pid}/task/{thread}/syscall") as file:
            number, *rest = file.read().split()
    except PermissionError:
        return _reads_as_seen_from_outside(pid, thread, tty)
    if number == "running" or int(number) not in _CALLS:
        return False
    arguments = [int(word, 16) for word in rest[:6]]
    call = _CALLS[int(number)]
    kinds = {_kind(pid, fd, tty) for fd in _awaited(pid, call, arguments)}
    return "tty" in kinds and ("socket" not in kinds or call.startswith("epoll"))


def _reads_as_seen_from_outside(pid: int, thread: int, tty: int) -> bool:
    with open(f"/proc/{pid}/task/{thread}/wchan") as file:
        return file.read().startswith(_READING) and _kind(pid, 0, tty) == "tty"


def _awaited(pid: int, call: str, arguments: list[int]) -> Iterable[int]:
    """The descriptors that it waits for, if it does so for long."""
    first, second, third, fourth, fifth = arguments[:5]
    match call:
        case "read":
            return [first]
        case "poll" if _is_long(_signed(third) / 1000):
            return _polled(pid, first, second)
        case "ppoll" if _is_long(_time(pid, third, 1e-9)):
            return _polled(pid, first, second)
        case "select" if _is_long(_time(pid, fifth, 1e-6)):
            return _selected(pid, first, second)
        case "pselect" if _is_long(_time(pid, fifth, 1e-9)):
            return _selected(pid, first, second)
        case "epoll" if _is_long(_signed(fourth) / 1000):
            return _registered(pid, first)
        case "epoll2" if _is_long(_time(pid, fourth, 1e-9)):
            return _registered(pid, first)
    return ()


def _signed(value: int) -> int:
    """An int that was passed in a register."""
    return (value & 0xFFFFFFFF) - ((value & 0x80000000) << 1)


def _is_long(seconds: float) -> bool:
    return seconds < 0 or seconds >= _LONG


def _time(pid: int, address: int, unit: float) -> float:
    """A timespec or timeval, in seconds; -1: for ever."""
    if not address:
        return -1.0
    whole, rest = struct.unpack("qq", _memory(pid, address, 16))
    return float(whole + rest * unit)


def _polled(pid: int, address: int, count: int) -> list[int]:
    """Of an array of pollfd: those that are waited for because they may be readable (POLLIN)."""
    data = _memory(pid, address, 8 * min(count, _MOST_FDS))
    return [fd for fd, events, _ in struct.iter_unpack("ihh", data) if fd >= 0 and events & 1]


def _selected(pid: int, count: int, address: int) -> list[int]:
    """Of an fd_set."""
    if not address:
        return []
    size = min(count, _MOST_FDS)
    bits = int.from_bytes(_memory(pid, address, (size + 63) // 64 * 8), "little")
    return [fd for fd in range(size) if bits >> fd & 1]


def _registered(pid: int, fd: int) -> list[int]:
    """What an epoll descriptor watches (proc_pid_fdinfo(5))."""
    with open(f"/proc/{pid}/fdinfo/{fd}") as file:
        lines = [line.split() for line in file if line.startswith("tfd:")]
    return [int(words[1]) for words in lines[:_MOST_FDS] if int(words[3], 16) & 1]


def _memory(pid: int, address: int, size: int) -> bytes:
    fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, size, address)
    finally:
        os.close(fd)


def _kind(pid: int, fd: int, tty: int) -> str | None:
    """What a descriptor is: "tty" if it is the session's terminal, "socket", or anything else."""
    with contextlib.suppress(OSError):
        path = f"/proc/{pid}/fd/{fd}"
        target = os.readlink(path)
        if target.startswith("socket:"):
            return "socket"
        # /dev/tty names another device, and means this one.
        if target == "/dev/tty" or (target.startswith("/dev/") and os.stat(path).st_rdev == tty):
            return "tty"
    return None
