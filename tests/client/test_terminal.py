"""Raw mode and its restoration, on a real PTY."""

from __future__ import annotations

import fcntl
import os
import signal
import struct
import termios
from collections.abc import Iterator

import pytest

from toowl.terminal import RawTerminal, require_terminal, terminal_size
from toowld.errors import UsageError
from toowld.wire import DEFAULT_SIZE, Size


@pytest.fixture
def pty() -> Iterator[tuple[int, int]]:
    user, tty = os.openpty()
    yield user, tty
    os.close(user)
    os.close(tty)


def test_raw_and_back(pty: tuple[int, int]) -> None:
    user, tty = pty
    before = termios.tcgetattr(tty)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGWINCH, signal.SIGTTOU)]
    with RawTerminal(tty) as terminal:
        assert termios.tcgetattr(tty)[3] & (termios.ECHO | termios.ICANON | termios.ISIG) == 0
        assert terminal.read() is None
        os.write(user, b"\x03\r")
        assert terminal.read() == b"\x03\r"
        assert terminal.write(b"\n") == 1
        assert os.read(user, 10) == b"\n"
        assert terminal.in_foreground()
    assert termios.tcgetattr(tty) == before
    assert handlers == [signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGWINCH, signal.SIGTTOU)]
    assert signal.set_wakeup_fd(-1) == -1


def test_back_after_an_exception_and_twice(pty: tuple[int, int]) -> None:
    before = termios.tcgetattr(pty[1])
    with pytest.raises(KeyError), RawTerminal(pty[1]) as terminal:
        terminal.restore()
        assert termios.tcgetattr(pty[1]) == before
        terminal.make_raw()
        raise KeyError
    assert termios.tcgetattr(pty[1]) == before


def test_signals_are_noted(pty: tuple[int, int]) -> None:
    with RawTerminal(pty[1]) as terminal:
        for number in (signal.SIGTERM, signal.SIGWINCH, signal.SIGINT):
            os.kill(os.getpid(), number)
        assert set(terminal.signals()) == {signal.SIGTERM, signal.SIGWINCH, signal.SIGINT}
        assert terminal.signals() == []


def test_the_shared_file_never_blocks_differently(pty: tuple[int, int]) -> None:
    flags = fcntl.fcntl(pty[1], fcntl.F_GETFL)
    with RawTerminal(pty[1]):
        assert fcntl.fcntl(pty[1], fcntl.F_GETFL) == flags
    assert fcntl.fcntl(pty[1], fcntl.F_GETFL) == flags


@pytest.mark.parametrize("reopened", [True, False])
def test_writes_never_block(pty: tuple[int, int], reopened: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not reopened:  # a terminal from outside of the container: it has no name here
        monkeypatch.setattr("toowl.terminal._name", lambda fd: "/nowhere")
    with RawTerminal(pty[1]) as terminal:
        done = terminal.write_all(b"y" * 1_000_000, timeout=0.2)
        assert done > 0
        while done < 1_000_000 and (count := terminal.write(b"y")):  # room may still turn up in the kernel
            done += count
        assert done < 1_000_000
        read = 0
        while read < done:
            read += len(os.read(pty[0], 65536))
        assert terminal.write_all(b"more", timeout=5) == 4


def test_hang_up(pty: tuple[int, int]) -> None:
    user, tty = os.openpty()
    with RawTerminal(tty) as terminal:
        os.close(user)
        assert terminal.read() == b""
        with pytest.raises(OSError, match="Input/output error"):
            terminal.write(b"x")
        assert terminal.write_all(b"x", timeout=1) == 0
    os.close(tty)


def test_drop_input(pty: tuple[int, int]) -> None:
    user, tty = pty
    with RawTerminal(tty) as terminal:
        os.write(user, b"\x1b[<35;1;1M")
        terminal.restore(drop_input=True)
        terminal.make_raw()
        assert terminal.read() is None


def test_size(pty: tuple[int, int]) -> None:
    assert terminal_size(pty[1]) == DEFAULT_SIZE  # a fresh PTY says 0x0
    fcntl.ioctl(pty[0], termios.TIOCSWINSZ, struct.pack("HHHH", 50, 132, 0, 0))
    assert terminal_size(pty[1]) == Size(rows=50, cols=132)
    read, write = os.pipe()
    assert terminal_size(read) == DEFAULT_SIZE
    os.close(read)
    os.close(write)


def test_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "isatty", lambda fd: fd != 1)
    with pytest.raises(UsageError, match="standard output is not a terminal"):
        require_terminal()
