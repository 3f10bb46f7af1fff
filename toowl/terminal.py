"""The user's terminal in raw mode, and the promise to give it back as it was.

Owns the tty's file descriptors, its termios state, its size, and the signals that concern it. Knows nothing of
sessions. Three things are easily done wrong here, and each costs somebody their shell:

- O_NONBLOCK belongs to the open file, which the user's shell shares with us: set on stdin it would outlive us. So
  the tty is opened anew, and what we set on that is ours.
- A signal must not end the process between raw mode and its restoration. All that would are caught and only
  noted (a byte in the wake-up pipe); whoever polls `signal_fd` decides, and leaves by the context manager.
- Changing termios from the background stops a process (SIGTTOU) or, if that is ignored, takes the terminal away
  from whoever is in the foreground.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import time

from toowld.errors import UsageError
from toowld.wire import DEFAULT_SIZE, SETTINGS_SIZE, Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from types import FrameType, TracebackType
    from typing import Any
else:  # signal would build enums, contextlib load functools: 4 ms before a picture is on the terminal
    import _signal as signal

#: Signals that end us, in an orderly way.
ENDING = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM})
_NOTED = (*ENDING, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)

_WINSIZE = struct.Struct("HHHH")

#: Where the tty can't be opened anew it stays blocking. poll(2) then promises room for a little only: the
#: kernel calls a tty writable below 256 waiting bytes (WAKEUP_CHARS), and a pty's buffer holds 4 KiB and more.
_BLOCKING_PIECE = 512

#: ioctl_tty(2), asm-generic/ioctls.h; Python's termios lacks it.
_TIOCGDEV = 0x80045432

#: Of what is dropped, so much is looked through for the last answer.
_ANSWER_BYTES = 1 << 20

# Indexes into what tcgetattr returns.
_IFLAG, _OFLAG, _CFLAG, _LFLAG, _ISPEED, _OSPEED, _CC = range(7)


def require_terminal() -> None:
    """Check that stdin and stdout are terminals.

    Raises:
        UsageError: they are not.
    """
    for fd, name in ((0, "standard input"), (1, "standard output")):
        if not os.isatty(fd):
            raise UsageError(
                f"{name} is not a terminal: attach needs one; "
                "see `toowl send` and `toowl capture` for use in scripts"
            )


def terminal_size(fd: int = 1) -> Size:
    """The size of the terminal ``fd``; 24x80 where it doesn't know."""
    try:
        rows, cols, _, _ = _WINSIZE.unpack(fcntl.ioctl(fd, termios.TIOCGWINSZ, bytes(_WINSIZE.size)))
        return Size(rows=rows, cols=cols)
    except (OSError, ValueError):  # no terminal, or one that says 0
        return DEFAULT_SIZE


class RawTerminal:
    """A context in which the user's terminal is raw. Only for the main thread (signals)."""

    def __init__(self, fd: int = 0) -> None:
        self._given = fd
        self.fd = -1
        self.signal_fd = -1
        self._wake_fd = -1
        self._saved: list[Any] = []
        self._raw = False
        self._nonblocking = True
        self._handlers: list[tuple[int, Any]] = []
        self._old_wake_fd: int | None = None

    def __enter__(self) -> RawTerminal:
        try:
            self._open()
            self._saved = termios.tcgetattr(self.fd)
            # In the background this stops us until the user brings us to the foreground, as it should be.
            termios.tcsetattr(self.fd, termios.TCSANOW, self._saved)
            self._catch_signals()
            self.make_raw()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.restore()
        finally:
            self._close()

    def _open(self) -> None:
        self.signal_fd, self._wake_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for name in (_name(self._given), "/dev/tty"):
            try:
                fd = os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
            except OSError:
                continue  # no such name in this container, or not ours after `su`
            if _device(fd) == _device(self._given):
                self.fd = fd
                return
            os.close(fd)
        self.fd = fcntl.fcntl(self._given, fcntl.F_DUPFD_CLOEXEC, 3)
        self._nonblocking = False

    def _close(self) -> None:
        for number, handler in self._handlers:
            signal.signal(number, handler)
        self._handlers = []
        if self._old_wake_fd is not None:
            signal.set_wakeup_fd(self._old_wake_fd)
            self._old_wake_fd = None
        for fd in (self.fd, self.signal_fd, self._wake_fd):
            if fd >= 0:
                os.close(fd)
        self.fd = self.signal_fd = self._wake_fd = -1

    @property
    def lendable(self) -> bool:
        """Whether `fd` is ours alone, with flags that concern nobody else, and so may be given to another process."""
        return self._nonblocking

    @property
    def settings(self) -> bytes:
        """How the terminal is set up, for `toowld.wire.Lend`."""
        return fcntl.ioctl(self.fd, termios.TCGETS, bytes(SETTINGS_SIZE))

    @property
    def waiting(self) -> bool:
        """Whether something was typed that nobody has read yet."""
        try:
            return any(fcntl.ioctl(self.fd, termios.FIONREAD, bytes(4)))
        except OSError:  # hung up, which reading it tells
            return True

    # -- modes --------------------------------------------------------------------------------------------

    def make_raw(self) -> None:
        """Every byte comes as it was typed and goes as it was written (cfmakeraw(3))."""
        raw = termios.tcgetattr(self.fd)
        raw[_IFLAG] &= ~(
            termios.IGNBRK | termios.BRKINT | termios.PARMRK | termios.ISTRIP
            | termios.INLCR | termios.IGNCR | termios.ICRNL | termios.IXON
        )  # fmt: skip
        raw[_OFLAG] &= ~termios.OPOST
        raw[_LFLAG] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.ISIG | termios.IEXTEN)
        raw[_CFLAG] = raw[_CFLAG] & ~(termios.CSIZE | termios.PARENB) | termios.CS8
        raw[_CC] = list(raw[_CC])
        raw[_CC][termios.VMIN] = 1
        raw[_CC][termios.VTIME] = 0
        self._raw = True
        termios.tcsetattr(self.fd, termios.TCSANOW, raw)

    def restore(self, *, drop_input: bool = False) -> None:
        """Give the terminal back as it was. May be called at any time, and twice.

        ``drop_input``: forget what was sent but not read: mouse reports that the user's shell must not get.
        """
        if not self._raw:
            return
        self._raw = False
        try:
            if drop_input:
                termios.tcflush(self.fd, termios.TCIFLUSH)
            # Not TCSADRAIN: that waits for a terminal that may never take the rest of the output.
            termios.tcsetattr(self.fd, termios.TCSANOW, self._saved)
        except termios.error:
            pass  # the terminal is gone (EIO): there is nothing left to restore

    def in_foreground(self) -> bool:
        """Whether the terminal is ours to change."""
        try:
            return os.tcgetpgrp(self.fd) == os.getpgrp()
        except OSError:  # not our controlling terminal: no job control on it
            return True

    @property
    def size(self) -> Size:
        return terminal_size(self.fd)

    # -- signals ------------------------------------------------------------------------------------------

    def _catch_signals(self) -> None:
        self._old_wake_fd = signal.set_wakeup_fd(self._wake_fd, warn_on_full_buffer=False)
        for number in _NOTED:
            self._handlers.append((number, signal.signal(number, _note)))
        # The terminal must be restorable even if we were put into the background.
        self._handlers.append((signal.SIGTTOU, signal.signal(signal.SIGTTOU, signal.SIG_IGN)))

    def signals(self) -> list[int]:
        """Those that have come since the last call. Poll `signal_fd` to learn when."""
        try:
            return list(os.read(self.signal_fd, 4096))
        except BlockingIOError:
            return []

    def suspend(self) -> None:
        """Stop this process, as SIGTSTP asks, with the terminal given back meanwhile; return when continued."""
        self.restore()
        os.kill(os.getpid(), signal.SIGSTOP)
        self.resume()

    def resume(self) -> None:
        """After SIGCONT: take the terminal again, once we are in the foreground."""
        while not self.in_foreground():
            os.kill(os.getpid(), signal.SIGSTOP)
        try:  # noqa: SIM105
            self.make_raw()
        except termios.error:
            pass  # the terminal is gone (its SIGHUP comes with a SIGCONT), which reading it tells

    # -- bytes --------------------------------------------------------------------------------------------

    def read(self, limit: int = 65536) -> bytes | None:
        """What was typed; None if nothing is there now; empty if the terminal is gone."""
        try:
            return os.read(self.fd, limit)
        except BlockingIOError:
            return None
        except OSError:  # EIO: hung up
            return b""

    def forget_answers(self, timeout: float, others: int = 0) -> None:
        """Drop what the terminal sends until it has answered all that it was asked.

        It is asked one thing more, which all know and hardly any program asks (DSR 5): that answer comes last.

        Args:
            timeout: seconds; for one that answers nothing, or has stopped taking output.
            others: how often it was asked just this before.
        """
        deadline = time.monotonic() + timeout
        self.write_all(b"\x1b[5n", timeout=timeout)
        poll = select.poll()
        poll.register(self.fd, select.POLLIN)
        got = b""
        while got.count(b"\x1b[0n") <= others and (left := deadline - time.monotonic()) > 0:
            if poll.poll(left * 1000):
                if not (data := self.read()):
                    return
                got = (got + data)[-_ANSWER_BYTES:]

    def forget_input(self) -> None:
        """Drop what was typed and not read yet."""
        try:  # noqa: SIM105
            termios.tcflush(self.fd, termios.TCIFLUSH)
        except termios.error:
            pass  # the terminal is gone, which reading it tells

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Write what the terminal takes at once, perhaps nothing; how much that was.

        Raises:
            OSError: the terminal is gone.
        """
        if not self._nonblocking:
            poll = select.poll()
            poll.register(self.fd, select.POLLOUT)
            if not poll.poll(0):
                return 0
            data = data[:_BLOCKING_PIECE]
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0

    def write_all(self, data: bytes, *, timeout: float) -> int:
        """Write ``data``, for at most ``timeout`` seconds; how much was written. Never raises."""
        deadline = time.monotonic() + timeout
        poll = select.poll()
        poll.register(self.fd, select.POLLOUT)
        left_over = memoryview(data)
        done = 0
        while done < len(data) and (left := deadline - time.monotonic()) > 0:
            try:
                if poll.poll(left * 1000):
                    done += self.write(left_over[done:])
            except OSError:
                break
        return done


def _note(number: int, frame: FrameType | None) -> None:
    """Nothing to do: the wake-up fd has noted the signal."""


def _name(fd: int) -> str:
    try:
        return os.ttyname(fd)
    except OSError:
        return "/dev/tty"


def _device(fd: int) -> bytes:
    """Which tty this is; /dev/tty has a device number of its own, but tells the real one on request."""
    try:
        return bytes(fcntl.ioctl(fd, _TIOCGDEV, bytes(4)))
    except OSError:
        return b"%d" % os.fstat(fd).st_rdev
