"""Whether a session's shell is at its prompt, and what it is: from the kernel, on the same machine."""

from __future__ import annotations

import os
import platform
import termios
from pathlib import Path

from toowld.classes import frozen

#: The number of read(2).
_READ = {"x86_64": "0", "aarch64": "63"}.get(platform.machine())


@frozen
class Foreground:
    """Who has a session's terminal.

    Attributes:
        pid: of the leader of the foreground process group.
        name: of that process; None: it is not known.
        edits: whether the terminal is set up for a program that reads keys; None: it is not known.
        reads_lines: it surely waits for a line, and takes all of it, as a plain shell does at its prompt; the command
            `read` takes byte by byte, to leave the rest to others. False where it is not known.
    """

    pid: int
    name: str | None
    edits: bool | None
    reads_lines: bool = False


def foreground(pid: int) -> Foreground:
    """Who has the terminal of the session whose child is ``pid``."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
        # proc_pid_stat(5); the program's name, in parentheses, may hold anything.
        fields = stat[stat.rindex(b")") + 2 :].split()
        tty, leader = int(fields[4]), int(fields[5])
        name = Path(f"/proc/{leader}/comm").read_bytes().rstrip(b"\n").decode(errors="replace")
    except (OSError, ValueError, IndexError):
        return Foreground(0, None, None)
    edits = _edits(tty)
    return Foreground(leader, name.removeprefix("-"), edits, edits is False and _reads_lines(leader, tty))


def _edits(tty: int) -> bool | None:
    """Whether the terminal with that device number gives keys one by one. Nothing is read from it."""
    # Unix98 PTYs have the majors 136 to 143, 256 of them each (Documentation/admin-guide/devices.txt).
    number = (os.major(tty) - 136) * 256 + os.minor(tty)
    try:
        fd = os.open(f"/dev/pts/{number}", os.O_RDONLY | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # another mount of devpts, or somebody else's by now
        return None
    try:
        if os.fstat(fd).st_rdev != tty:
            return None
        local_flags: int = termios.tcgetattr(fd)[3]
        return not local_flags & termios.ICANON
    except termios.error:
        return None
    finally:
        os.close(fd)


def _reads_lines(pid: int, tty: int) -> bool:
    """Whether a process blocks in a read of more than one byte from the terminal (proc_pid_syscall(5))."""
    try:
        with open(f"/proc/{pid}/syscall") as file:
            number, *arguments = file.read().split()  # just "running" if it does not block
        if number != _READ or int(arguments[2], 16) <= 1:
            return False
        return Path(f"/proc/{pid}/fd/{int(arguments[0], 16)}").stat().st_rdev == tty
    except OSError:  # gone, or not ours to look at (Yama's ptrace_scope)
        return False
