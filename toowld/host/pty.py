"""One pseudo-terminal and the child on it: open, start, resize, signal, reap. Linux only.

The child is started with posix_spawn(3): it reports a missing program to us before anything has changed, it
does not copy our memory, and it is safe whatever else this process does. The child calls setsid(2) first and
opens the terminal by name second, which makes it its controlling terminal (tty(4)).
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import signal
import struct
import termios

from toowld.errors import SpawnFailed
from toowld.host.inheritance import NOTHING_GIVEN, Inheritance
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_WINSIZE = struct.Struct("HHHH")

#: For posix_spawn(3): a file to open as a descriptor, or a descriptor to copy.
_Action = tuple[int, int, str, int, int] | tuple[int, int, int]

#: The child gets the defaults of them all: whatever we ignore, or were started to ignore (nohup), a shell does not.
_DEFAULT_SIGNALS = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}


class Pty:
    """A PTY with its child.

    Attributes:
        fd: our side, non-blocking, close-on-exec.
        pid: of the child.
        pidfd: becomes readable when the child has ended.
    """

    def __init__(self, fd: int, keep_fd: int, pid: int, pidfd: int) -> None:
        self.fd = fd
        # The other side stays open here too: a child that closes all of its terminal and lives on would else
        # leave us with a descriptor that is always "ready" and always fails.
        self._keep_fd = keep_fd
        self.pid = pid
        self.pidfd = pidfd

    @classmethod
    def spawn(
        cls,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        size: Size,
        argv0: str | None = None,
        inheritance: Inheritance = NOTHING_GIVEN,
    ) -> Pty:
        """Open a PTY and start a child on it.

        Args:
            argv: program and arguments; the program is looked up in ``env``'s PATH.
            cwd: the child's folder. Our own is changed and changed back, so no thread of ours may rely on it.
            env: all of the child's environment.
            argv0: what the child sees as its name, if not the program ("-bash" for a login shell).
            inheritance: umask and limits of the child; while it is started they are ours, so no thread of ours may
                make a file meanwhile.

        Raises:
            SpawnFailed: no PTY is free, the folder or the program is missing. Nothing is left behind.
        """
        try:
            fd, keep_fd = os.openpty()
        except OSError as error:
            raise SpawnFailed(
                f"no pseudo-terminal is free ({error.strerror}): end some sessions, or raise /proc/sys/kernel/pty/max"
            ) from error
        try:
            _set_size(fd, size)
            _enable_utf8(fd)
            pid = _spawn_on(os.ttyname(keep_fd), argv, cwd, env, argv0, inheritance)
            try:
                pidfd = os.pidfd_open(pid)
            except OSError:  # EMFILE: without it we could not tell when the child ends
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                raise
        except BaseException as error:
            os.close(fd)
            os.close(keep_fd)
            if isinstance(error, OSError):
                raise SpawnFailed(f"can't start {argv[0]}: {error.strerror}: {_advice(error)}") from error
            if isinstance(error, ValueError):  # a NUL byte, which no program can be given
                raise SpawnFailed(f"can't start {argv[0]!r} in {cwd!r}: {error}") from error
            raise
        os.set_blocking(fd, False)
        return cls(fd, keep_fd, pid, pidfd)

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """As plain values, for `thaw`. ``keep`` gets each descriptor, and gives it back."""
        return {
            "fd": keep(self.fd),
            "keep_fd": keep(self._keep_fd),
            "pid": self.pid,
            "pidfd": keep(self.pidfd),
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any], take: Callable[[int], int]) -> Pty:
        """The opposite of `freeze`: the child is still a child of this process. ``take`` makes descriptors ours."""
        return cls(take(state["fd"]), take(state["keep_fd"]), state["pid"], take(state["pidfd"]))

    def folder(self) -> str | None:
        """Where the child is now; None where the kernel does not say (it is gone, or setuid)."""
        try:
            return os.readlink(f"/proc/{self.pid}/cwd")
        except OSError:
            return None

    def resize(self, size: Size) -> None:
        """Set the size; the kernel sends SIGWINCH to the foreground group if it differs."""
        _set_size(self.fd, size)

    def nudge(self) -> None:
        """Send SIGWINCH to the foreground group: the kernel sends none when the size did not change."""
        with contextlib.suppress(OSError, ProcessLookupError):  # no foreground group at this moment
            os.killpg(os.tcgetpgrp(self.fd), signal.SIGWINCH)

    def signal_session(self, signum: int) -> None:
        """Send a signal to every process of the child's session, its background jobs too."""
        for pid in session_members(self.pid):
            with contextlib.suppress(ProcessLookupError, PermissionError):  # gone, or setuid since
                os.kill(pid, signum)

    def reap(self) -> tuple[int | None, int | None] | None:
        """How the child ended, as (exit code, signal); None while it runs."""
        try:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:  # somebody else reaped it: it has ended, nobody knows how
            return None, None
        if pid == 0:
            return None
        code = os.waitstatus_to_exitcode(status)
        return (code, None) if code >= 0 else (None, -code)

    def close(self) -> None:
        """Close everything; the kernel sends SIGHUP to what still runs on the PTY."""
        for fd in (self.fd, self._keep_fd, self.pidfd):
            with contextlib.suppress(OSError):  # closed already
                os.close(fd)
        self.fd = self._keep_fd = self.pidfd = -1


def _advice(error: OSError) -> str:
    """What whoever wanted a program may do."""
    match error.errno:
        case errno.E2BIG:
            return "give it fewer arguments, or a smaller environment"
        case errno.ENOEXEC:
            return "it is no program for this machine"
        case errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE:
            return "see `ulimit -a` and `toowld doctor`"
    return "check the program and its #! line"


def check_start(argv: Sequence[str], cwd: str, env: Mapping[str, str]) -> None:
    """Find out what can be known beforehand, so that a start which can't succeed leaves no trace.

    Raises:
        SpawnFailed: the program or the folder is missing.
    """
    find_program(argv[0], cwd, env)
    if not os.path.isdir(cwd):
        reason = os.strerror(errno.ENOTDIR if os.path.lexists(cwd) else errno.ENOENT)
        raise SpawnFailed(f"can't enter folder {cwd}: {reason}: give another with --cwd")


def _spawn_on(
    tty: str,
    argv: Sequence[str],
    cwd: str,
    env: Mapping[str, str],
    argv0: str | None,
    inheritance: Inheritance,
) -> int:
    program = find_program(argv[0], cwd, env)
    _keep_descriptors()
    actions: list[_Action] = [
        (os.POSIX_SPAWN_OPEN, 0, tty, os.O_RDWR, 0),
        (os.POSIX_SPAWN_DUP2, 0, 1),
        (os.POSIX_SPAWN_DUP2, 0, 2),
    ]
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            os.chdir(cwd)
        except OSError as error:
            raise SpawnFailed(
                f"can't enter folder {cwd}: {error.strerror}: give another with --cwd"
            ) from error
        with inheritance.lent():
            pid = _execute(program, [argv0 or argv[0], *argv[1:]], env, actions)
    finally:
        os.fchdir(before)
        os.close(before)
    inheritance.give(pid)
    return pid


def _execute(program: str, argv: list[str], env: Mapping[str, str], actions: list[_Action]) -> int:
    def spawn(path: str, arguments: list[str]) -> int:
        return os.posix_spawn(
            path,
            arguments,
            env,
            file_actions=actions,
            setsid=True,
            setsigmask=[],
            setsigdef=_DEFAULT_SIGNALS,
        )

    try:
        return spawn(program, argv)
    except OSError as error:
        # A script that does not name its shell: execvp(3) gives it to this one, and so does every shell.
        if error.errno != errno.ENOEXEC or not _is_text(program):
            raise
        return spawn("/bin/sh", ["sh", program, *argv[1:]])


def _is_text(program: str) -> bool:
    """Whether it may be a script: no program for another machine, nor one that was cut short."""
    with open(program, "rb") as file:
        first = file.read(128).partition(b"\n")[0]
    return bool(first) and b"\0" not in first


def _keep_descriptors() -> None:
    """Let a child inherit nothing but its terminal: all that we open is close-on-exec, but whoever started this
    process may have left it something."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # that of the listing itself
            if (fd := int(name)) > 2 and os.get_inheritable(fd):
                os.set_inheritable(fd, False)


def find_program(name: str, cwd: str, env: Mapping[str, str]) -> str:
    """The path of a program, looked up as execvp(3) does in the *child's* PATH and folder.

    Raises:
        SpawnFailed: there is none that we may execute.
    """
    if "/" in name:
        candidates = [os.path.join(cwd, name)]
    else:
        path = env.get("PATH") or os.defpath
        candidates = [os.path.join(cwd, folder or ".", name) for folder in path.split(":")]
    denied = False
    for candidate in candidates:
        if os.path.isfile(candidate):
            if os.access(candidate, os.X_OK):
                return candidate
            denied = True
    reason = os.strerror(errno.EACCES if denied else errno.ENOENT)
    advice = "check the program's name and PATH"
    if " " in name.strip():  # a command line, as some other tools take it
        advice = "give program and arguments as words, or sh -c '...'"
    raise SpawnFailed(f"can't start {name}: {reason}: {advice}")


def session_members(leader: int) -> list[int]:
    """The pids of all processes whose session leader is ``leader`` (proc_pid_stat(5), field 6)."""
    members = []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/stat", "rb") as file:
                stat = file.read()
        except OSError:  # gone meanwhile
            continue
        # The program's name, in parentheses, may hold anything: fields are counted from its end.
        fields = stat[stat.rindex(b")") + 2 :].split()
        if int(fields[3]) == leader and fields[0] != b"Z":
            members.append(int(entry))
    return members


def _set_size(fd: int, size: Size) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, _WINSIZE.pack(size.rows, size.cols, 0, 0))


def _enable_utf8(fd: int) -> None:
    """Let the kernel's line editor erase whole UTF-8 characters (IUTF8, termios(3)); harmless elsewhere."""
    attributes = termios.tcgetattr(fd)
    attributes[0] |= 0o40000  # IUTF8: Python's termios does not name it before 3.13
    termios.tcsetattr(fd, termios.TCSANOW, attributes)
