"""Replacing a custodian's own code while its session goes on: the same process, PTY, log and connections.

First the new code is tried. A process of it that is thrown away (``toowld --custodian … --check``, in `successor`)
rebuilds everything from what would be left to it, with other descriptors in place of ours. If it can, we let go of
lent terminals, stop for a moment, and have that process look at what there is now. If it still can, we execute the
new code: execve(2) leaves the pid, the child, and what is not marked close-on-exec: that is exactly the descriptors
in the state, and the state itself, in a memory file.

Whatever fails, up to the exec itself, leaves the present code in charge, and the reason is told. A session is still
for as long as the second look and the start of an interpreter take; what is printed and typed meanwhile waits in the
kernel.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import socket

from toowld import cbor
from toowld.classes import frozen
from toowld.custodian.loop import EpollLoop
from toowld.errors import UpgradeFailed
from toowld.host import SessionHost, Timer
from toowld.session import SessionState

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

#: Of the state that we leave. A newer one reads this form too.
FORM = 1

#: The new code may take so long to be tried: an interpreter and some modules, from a slow disk (seconds).
CHECK_TIMEOUT = 20.0

#: Whoever asked gives up at some time, and should have heard by then why: we give up at this part of that.
SHARE = 0.8

#: The second look takes milliseconds: all is loaded. The session waits for it (seconds).
SECOND_LOOK = 5.0

#: While the log is on its way to the disk, that is waited for so long at a time (seconds).
SETTLE = 0.02

#: Of what the new code says when it breaks, so much is looked at.
_TAIL = 4096


@frozen
class Program:
    """How the new code is run; ``--custodian`` and more come behind ``argv``."""

    argv: Sequence[str]
    env: Mapping[str, str]


class Upgrade:
    """One attempt.

    Args:
        loop: calls us.
        session_id: whose custodian we are.
        program: the new code.
        host: of the session.
        freeze: gives all that there is as plain values, and calls its argument with each descriptor in there.
        on_failed: gets the reason; all is as before.
        on_checked: if given, gets the version of the new code once that was tried, and nothing else is done.
    """

    def __init__(
        self,
        loop: EpollLoop,
        session_id: str,
        program: Program,
        host: SessionHost,
        freeze: Callable[[Callable[[int], int]], dict[str, Any]],
        *,
        on_failed: Callable[[str], None],
        on_checked: Callable[[str], None] | None,
    ) -> None:
        self._loop = loop
        self._program = program
        self._host = host
        self._freeze = freeze
        self._on_failed = on_failed
        self._on_checked = on_checked
        self._arguments = ["--custodian", "--id", session_id]
        self._state = -1  # a memory file
        self._words = -1  # another, for what the new code says on stderr
        self._leash = -1
        self._control: socket.socket | None = None
        self._pid = -1
        self._answer = b""
        self._until = 0.0
        self._timer: Timer | None = None

    def begin(self, expires: float | None) -> None:
        """Begin at the next turn of the loop. ``expires``: when whoever asked gives up, on the loop's clock."""
        now = self._loop.time()
        self._until = now + CHECK_TIMEOUT
        if expires is not None:
            self._until = min(self._until, now + (expires - now) * SHARE)
        self._set_timer(now, self._when_settled, self._start_check)

    def close(self) -> None:
        """Give up, or be done. May be called twice."""
        if self._timer is not None:
            self._timer.cancel()
        if self._control is not None:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()
            self._control = None
        self._end_check()
        for fd in (self._state, self._words, self._leash):
            if fd >= 0:
                os.close(fd)
        self._state = self._words = self._leash = -1

    def _fail(self, reason: str) -> None:
        self.close()
        self._on_failed(reason)

    def _set_timer(self, when: float, callback: Callable[..., object], *args: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, callback, *args)

    def _when_settled(self, step: Callable[[], None]) -> None:
        """Go on with ``step`` once nothing is half done."""
        if self._host.session.state is not SessionState.RUNNING:
            self._fail("its program has just ended")
        elif self._host.settled and not self._loop.signalled:
            step()
        elif self._loop.time() > self._until:
            self._fail("its log is still on its way to the disk")
        else:
            self._set_timer(self._loop.time() + SETTLE, self._when_settled, step)

    # --- the check --------------------------------------------------------------------------------------

    def _start_check(self) -> None:
        try:
            self._state = os.memfd_create("toowl-state")
            self._words = os.memfd_create("toowl-check")
            self._write_state(lambda fd: fd)
            control, its = socket.socketpair()
            control.setblocking(False)
            self._control = control
            self._loop.add_reader(control.fileno(), self._on_answer)
            with its:
                self._pid = self._spawn(its.fileno())
        except Exception as error:  # noqa: BLE001 - no bug of ours, neither, is a reason to end somebody's shell
            self._fail(_reason(error))
            return
        self._set_timer(self._until, self._fail, "it did not say in time whether it could")

    def _write_state(self, keep: Callable[[int], int]) -> None:
        data = memoryview(cbor.dumps({"form": FORM, **self._freeze(keep)}))
        os.ftruncate(self._state, 0)
        at = 0
        while at < len(data):
            at += os.pwrite(self._state, data[at:], at)

    def _spawn(self, control_fd: int) -> int:
        """A process of the new code that has the state, its end of our socket, and nothing else of ours.

        Code that hangs would hang for ever, should we be killed. So it has one end of a pipe on which the kernel
        sends SIGKILL once there is news (F_SETSIG, fcntl(2)), and the only news that can be is the end of ours.
        """
        options = ["--state", str(self._state), "--check", str(control_fd)]
        leash, self._leash = os.pipe()
        try:
            for fd in (self._state, control_fd, leash):
                os.set_inheritable(fd, True)
            pid = os.posix_spawn(
                self._program.argv[0],
                [*self._program.argv, *self._arguments, *options],
                self._program.env,
                file_actions=[(os.POSIX_SPAWN_DUP2, self._words, 2)],
                setsid=True,
                setsigmask=[],
            )
            fcntl.fcntl(leash, fcntl.F_SETOWN, pid)
            fcntl.fcntl(leash, fcntl.F_SETSIG, signal.SIGKILL)
            fcntl.fcntl(leash, fcntl.F_SETFL, os.O_ASYNC)
            return pid
        finally:
            os.close(leash)
            os.set_inheritable(self._state, False)

    def _on_answer(self) -> None:
        try:
            version = self._read_answer()
        except UpgradeFailed as error:
            self._fail(str(error))
            return
        if version is None:
            return
        if self._on_checked is not None:
            self.close()
            self._on_checked(version)
            return
        assert self._control is not None
        self._loop.remove_reader(self._control.fileno())
        self._when_settled(self._let_go)

    def _read_answer(self) -> str | None:
        """The version of the new code, if it can take over; None while it has not said all.

        Raises:
            UpgradeFailed: it can't, or is gone.
        """
        assert self._control is not None
        try:
            data = self._control.recv(_TAIL)
        except BlockingIOError:
            return None
        except ConnectionError:
            data = b""
        self._answer += data
        line, end, rest = self._answer.partition(b"\n")
        if not end:
            if not data or len(line) > _TAIL:
                raise UpgradeFailed(self._last_words())
            return None
        self._answer = rest
        verdict, _, text = _printable(line).partition(" ")
        if verdict != "ok":
            raise UpgradeFailed(text)
        return text

    def _last_words(self) -> str:
        """Why a process ended that should have answered: what a traceback says in its last line."""
        size = os.fstat(self._words).st_size
        lines = os.pread(self._words, _TAIL, max(size - _TAIL, 0)).split(b"\n")
        return next((_printable(line) for line in reversed(lines) if line.strip()), "it ended without a word")

    def _end_check(self) -> None:
        """The process that tried is not needed any more; it may hang. Reaped without waiting for it."""
        pid, self._pid = self._pid, -1
        if pid < 0:
            return
        os.kill(pid, signal.SIGKILL)  # a child that nobody reaped: it is there, if only as a zombie
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:  # no descriptor is free
            os.waitpid(pid, 0)
            return

        def on_ended() -> None:
            self._loop.remove_reader(pidfd)
            os.close(pidfd)
            os.waitpid(pid, 0)

        self._loop.add_reader(pidfd, on_ended)

    # --- the exec ---------------------------------------------------------------------------------------

    def _let_go(self) -> None:
        """Have no terminal of a client's: whoever has it back goes on over the connection, which we keep."""
        self._host.recall()
        self._when_settled(self._replace)  # some client may be gone, the last one perhaps

    def _replace(self) -> None:
        """Let the new code look at what there is now, and execute it. Returns only if that fails."""
        kept = [self._state]

        def keep(fd: int) -> int:
            kept.append(fd)
            return fd

        # What comes from here on waits, also over the exec, until somebody can be told.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, self._loop.signals)
        try:
            if self._loop.signalled:
                raise UpgradeFailed("it is being ended")
            self._write_state(keep)
            self._look_again()
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)  # it has just answered, so this is soon; the new code would not know it
            self._pid = -1
            for fd in kept:
                os.set_inheritable(fd, True)
            argv = [*self._program.argv, *self._arguments, "--state", str(self._state)]
            os.execve(argv[0], argv, self._program.env)
        except Exception as error:  # noqa: BLE001 - as above
            reason = _reason(error)
        for fd in kept:
            os.set_inheritable(fd, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        self._fail(reason)

    def _look_again(self) -> None:
        """Have the new code try once more, with the session as it is. Nothing else happens meanwhile.

        Raises:
            UpgradeFailed: it can't. OSError: it is gone.
        """
        assert self._control is not None
        self._control.send(b"?", socket.MSG_NOSIGNAL)
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        until = self._loop.time() + SECOND_LOOK
        while self._read_answer() is None:
            left = until - self._loop.time()
            if left <= 0 or not poll.poll(left * 1000):
                raise UpgradeFailed("it could, but did not say so again")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    return str(error) if isinstance(error, UpgradeFailed) else f"{type(error).__name__}: {error}"


def _printable(line: bytes) -> str:
    """What somebody else's code said, fit for a terminal."""
    return "".join(char if char.isprintable() else "?" for char in line.decode(errors="replace").strip())
