"""Whether a session's shell is at its prompt, and what it is: from the kernel, on the same machine."""

from __future__ import annotations

import os
import termios
from pathlib import Path

from toowld.classes import frozen


@frozen
class Foreground:
    """Who has a session's terminal.

    Attributes:
        pid: of the leader of the foreground process group.
        name: of that process; None: it is not known.
        edits: whether the terminal is set up for a program that reads keys; None: it is not known.
    """

    pid: int
    name: str | None
    edits: bool | None


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
    return Foreground(leader, name.removeprefix("-"), _edits(tty))


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
