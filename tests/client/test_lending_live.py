"""The user's terminal in the hands of real sessions: `toowl attach` at a real PTY, and all killed or stopped."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import signal
import termios
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from tests.client.cutter import Cutter
from tests.harness import PAINTED, Sandbox, Terminal, alive, holds, wait_for

RAW = "stty raw -echo; printf rea''dy; "
CHORD = b"\x1cd"
#: So much is written to a terminal at once.
PIECE = 64 << 10


def shown(terminal: Terminal) -> Terminal:
    """Wait until it shows what the session has printed, and forget that."""
    terminal.expect("ready")
    terminal.expect(PAINTED)
    terminal.forget()
    return terminal


class Lent:
    """A session, and the process that keeps it."""

    def __init__(self, sandbox: Sandbox, persistent: bool) -> None:
        self.sandbox = sandbox
        self.persistent = persistent
        self.id = ""
        self.keeper = 0

    def start(self, script: str) -> None:
        info = self.sandbox.new("/bin/sh", "-c", script, name="x", persistent=self.persistent)
        self.id = info["id"]
        self.keeper = info["custodian_pid"] if self.persistent else self.sandbox.daemon_pid

    def attach(self, *options: str) -> Terminal:
        terminal = self.sandbox.attach_pty(self.id, 24, 80, *options)
        return shown(terminal)

    def has(self, terminal: Terminal) -> bool:
        return holds(self.keeper, terminal.name)

    def takes(self, terminal: Terminal) -> None:
        wait_for(lambda: self.has(terminal), what="the session to have the terminal")

    def drops(self, terminal: Terminal) -> None:
        wait_for(lambda: not self.has(terminal), what="the session to have the terminal no more")

    def lent(self, script: str, *options: str) -> Terminal:
        """A new session, whose user's terminal it has."""
        self.start(script)
        terminal = self.attach(*options)
        self.takes(terminal)
        return terminal


@pytest.fixture(params=[True, False], ids=["persistent", "standard"])
def lent(request: pytest.FixtureRequest, sandbox: Sandbox) -> Lent:
    sandbox.up()
    return Lent(sandbox, request.param)


@pytest.fixture
def kept(sandbox: Sandbox) -> Lent:
    """A persistent one."""
    sandbox.up()
    return Lent(sandbox, True)


@contextlib.contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):  # killed meanwhile
            os.kill(pid, signal.SIGCONT)


def leave(terminal: Terminal, keys: bytes = CHORD) -> None:
    terminal.send(keys)
    assert terminal.wait() == 0
    assert terminal.text.count("[detached from x]") == 1


def unread(terminal: Terminal) -> int:
    with open(terminal.name, "rb", buffering=0, opener=_open_tty) as tty:
        return int.from_bytes(fcntl.ioctl(tty, 0x541B, bytes(4)), "little")  # FIONREAD


def _open_tty(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOCTTY | os.O_NONBLOCK)


# --- what users do --------------------------------------------------------------------------------------


def test_it_is_lent_and_comes_back(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    terminal.send("typed")
    terminal.expect("typed")
    assert lent.has(terminal)
    leave(terminal)
    lent.drops(terminal)
    assert lent.sandbox.output(lent.id) == b"readytyped"


def test_chords_work_and_it_is_lent_again(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat -v")
    terminal.send(b"\x1c?")
    terminal.expect("this list]")
    lent.takes(terminal)
    terminal.send(b"\x1c\x1c")
    terminal.expect("^\\")
    lent.takes(terminal)
    terminal.send(b"\x1cx")
    terminal.expect("^\\^\\x")
    lent.takes(terminal)
    for byte in b"\x1b[92;5u":  # one read each, as over a slow line
        terminal.send(bytes([byte]))
        wait_for(lambda: unread(terminal) == 0)
    leave(terminal, b"d")


def test_what_was_switched_on_is_switched_off(lent: Lent) -> None:
    switched_on = "\\033[?1049h\\033[?2004h\\033[?1000h\\033[1;31m"
    terminal = lent.lent(f"{RAW} read line; printf '{switched_on}full screen'; exec cat")
    terminal.send("\n")
    terminal.expect("full screen")
    leave(terminal)
    undone = terminal.output.partition(b"full screen")[2]
    assert undone == b"\x1b[?1000l\x1b[?2004l\x1b[?1049l\x1b[m\r\n[detached from x]\r\n"


def test_the_end_of_the_child(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} read line; seq 20000; exit 7")
    terminal.send("\n")
    assert terminal.wait() == 7
    lines = "".join(f"{number}\n" for number in range(1, 20001))
    assert terminal.text == f"{lines}[x exited with status 7]\r\n"


def test_detached_by_somebody_else(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    lent.sandbox.toowl("detach", lent.id)
    assert terminal.wait() == 0
    assert terminal.text == "\r\n[detached from x]\r\n"
    lent.drops(terminal)


def test_a_resize_reaches_the_program(lent: Lent) -> None:
    terminal = lent.lent(f"trap 'stty size' WINCH; {RAW} while :; do sleep 0.05; done")
    terminal.resize(33, 101)
    terminal.expect("33 101")
    assert lent.has(terminal)


@pytest.mark.parametrize("bracketed", [True, False])
def test_a_paste_of_a_megabyte(lent: Lent, bracketed: bool) -> None:
    pasted = b"".join(b"%06d," % number for number in range(150_000))
    if bracketed:
        pasted = b"\x1b[200~" + pasted + CHORD + b"\x1b[201~"
    into = lent.sandbox.root / "pasted"
    terminal = lent.lent(f"{RAW} head -c {len(pasted)} > {into}; printf do''ne; exec cat")
    terminal.send(pasted)
    terminal.expect("done", timeout=60)
    assert into.read_bytes() == pasted
    terminal.send("more")
    terminal.expect("donemore")


def test_a_flood_is_shown_whole(lent: Lent) -> None:
    """More than may be shown before the client has looked at it."""
    terminal = lent.lent(f"{RAW} read line; seq 3000000; printf END; exec cat")
    terminal.send("\n")
    terminal.expect("END", timeout=60)
    assert terminal.output == b"".join(b"%d\n" % number for number in range(1, 3_000_001)) + b"END"


# --- who is not to have it ------------------------------------------------------------------------------


def test_two_of_which_one_is_lent(kept: Lent) -> None:
    """What is between the other and its session passes no terminal on."""
    one = kept.lent(f"{RAW} exec cat")
    with Cutter(kept.sandbox, kept.id) as cutter:
        other = shown(cutter.attach(kept.id))
        other.send("from there ")
        one.expect("from there ")
        one.send("from here ")
        other.expect("from there from here ")
        assert kept.has(one) and not kept.has(other)
        one.expect("from there from here ")
        leave(other)
        assert kept.has(one)
        leave(one)


def test_two_that_are_both_lent(lent: Lent) -> None:
    one = lent.lent(f"{RAW} exec cat")
    other = lent.attach()
    lent.takes(other)
    other.send("from there ")
    one.expect("from there ")
    one.send("from here")
    for terminal in (one, other):
        terminal.expect("from there from here")
    leave(one)
    other.send(" on")
    other.expect("from there from here on")
    assert lent.has(other)


def test_a_viewer_keeps_its_terminal(kept: Lent) -> None:
    one = kept.lent(f"{RAW} exec cat")
    viewer = kept.attach("--read-only")
    viewer.send("nothing")
    one.send("seen")
    viewer.expect("seen")
    assert kept.has(one) and not kept.has(viewer)
    leave(viewer)


# --- everything killed, or stopped ----------------------------------------------------------------------


def test_its_keeper_is_killed(kept: Lent) -> None:
    terminal = kept.lent(f"{RAW} printf '\\033[?1000h'; exec cat")
    terminal.send("typed")
    terminal.expect("typed")
    os.kill(kept.keeper, signal.SIGKILL)
    assert terminal.wait() == 1
    assert terminal.modes() == fresh_modes()
    assert b"\x1b[?1000l" in terminal.output.partition(b"typed")[2]
    assert terminal.text.count("[x lost:") == 1
    assert terminal.text.count("typed") == 1


def fresh_modes() -> list[Any]:
    """How a PTY is set up that nobody has touched."""

    pty_fd, tty_fd = os.openpty()
    try:
        return termios.tcgetattr(pty_fd)
    finally:
        os.close(pty_fd)
        os.close(tty_fd)


def test_its_keeper_hangs(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    with stopped(lent.keeper):
        terminal.send(CHORD)
        assert terminal.process.wait(20) == 0
        assert terminal.modes() == fresh_modes()
    lent.drops(terminal)
    terminal.wait()  # nobody has it open any more
    assert terminal.text.endswith("[detached from x]\r\n")


def test_its_keeper_hangs_and_goes_on(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    with stopped(lent.keeper):
        terminal.send("typed ")
        wait_for(lambda: unread(terminal) == 0, what="the client to take its terminal back")
        terminal.send("meanwhile ")
        wait_for(lambda: unread(terminal) == 0)
    terminal.expect("typed meanwhile ")
    lent.takes(terminal)
    terminal.send("on")
    terminal.expect("typed meanwhile on")
    assert lent.sandbox.output(lent.id) == b"readytyped meanwhile on"


def test_the_client_is_killed(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    terminal.process.kill()
    terminal.process.wait()
    lent.drops(terminal)
    terminal._reader.join(20)
    assert not terminal._reader.is_alive(), "nobody has the terminal open any more"


def test_the_terminal_hangs_up(lent: Lent) -> None:
    terminal = lent.lent(f"{RAW} exec cat")
    name, pid = terminal.name, terminal.pid
    # What a terminal emulator does when its window is closed; the reader has it open until it reads.
    os.dup2(os.open("/dev/null", os.O_RDWR), terminal.pty_fd)
    lent.sandbox.send(lent.id, b"x")  # what the reader waits for
    wait_for(lambda: not alive(pid), what="the client to leave")
    wait_for(lambda: not holds(lent.keeper, name))
    terminal.process.wait()


def test_the_daemon_of_a_standard_session_is_killed(sandbox: Sandbox) -> None:
    """All that it printed is shown, in order, and then the offer of another shell.

    Once, but for what was written and not noted yet when the kill came: nobody knows, and it is shown again.
    """
    sandbox.up()
    lent = Lent(sandbox, False)
    terminal = lent.lent(f"{RAW} read line; i=0; while :; do i=$((i + 1)); echo line $i; done")
    terminal.send("\n")
    terminal.expect("line 500\n")
    sandbox.kill9()
    sandbox.up()
    terminal.expect("press Enter for a new shell")
    output = re.sub(rb"(\x1bD\x1bM)?\x1b7.*?\x1b8", b"", terminal.output)  # the banner
    output = b"ready" + re.split(rb"(?:\r?\n)?\[(?:x ended|some output was lost)", output)[0]
    shown, printed = output.rstrip(b"\n"), sandbox.output(lent.id).rstrip(b"\n")
    again = len(shown) - len(printed)
    assert 0 <= again <= PIECE
    pairs = enumerate(zip(shown, printed, strict=False))
    same = next((at for at, (left, right) in pairs if left != right), len(printed))
    assert shown[same:] == printed[same - again :]
    terminal.send("q")
    assert terminal.wait() == 1


def test_the_daemon_of_a_persistent_session_is_killed(kept: Lent) -> None:
    terminal = kept.lent(f"{RAW} exec cat")
    kept.sandbox.kill9()
    terminal.send("typed")
    terminal.expect("typed")
    assert kept.has(terminal)
    leave(terminal)


# --- job control ----------------------------------------------------------------------------------------


class Shell:
    """A user's shell, in which `toowl attach` runs."""

    def __init__(self, lent: Lent) -> None:
        sandbox = lent.sandbox
        env = {**sandbox.env, "PS1": "prompt> ", "INPUTRC": "/dev/null", "HISTFILE": ""}
        self.lent = lent
        self.terminal = Terminal(["bash", "--norc", "--noprofile", "-i"], env, sandbox.root)
        sandbox.terminals.append(self.terminal)
        self.terminal.expect("prompt> ")
        self.terminal.send(f"toowl attach {lent.id}\r")
        self.terminal.expect("ready")
        lent.takes(self.terminal)
        (self.client,) = psutil.Process(self.terminal.pid).children()

    def stop(self, number: signal.Signals) -> None:
        self.terminal.forget()
        self.client.send_signal(number)
        self.terminal.expect("Stopped")
        self.terminal.expect("prompt> ")

    def run(self, command: str, shown: str) -> None:
        self.terminal.send(command + "\r")
        self.terminal.expect(shown)
        self.terminal.expect("prompt> ", count=2)


@pytest.mark.parametrize("number", [signal.SIGSTOP, signal.SIGTSTP])
def test_a_client_that_is_stopped_leaves_the_terminal_to_its_shell(
    lent: Lent, number: signal.Signals
) -> None:
    lent.start(f"{RAW} exec cat")
    shell = Shell(lent)
    shell.terminal.send("one ")
    shell.terminal.expect("one ")
    for turn in range(3):
        shell.stop(number)
        lent.sandbox.send(lent.id, b"printed ")
        wait_for(lambda t=turn: lent.sandbox.output(lent.id).count(b"printed ") == t + 1)  # type: ignore[misc]
        shell.run("echo be''low", "below")
        assert b"printed " not in shell.terminal.output, "the shell has the terminal"
        shell.terminal.forget()
        shell.terminal.send("fg\r")
        shell.terminal.expect("printed ")
        lent.takes(shell.terminal)
        shell.terminal.send(f"typed {turn} ")
        shell.terminal.expect(f"typed {turn} ")
    wanted = "readyone " + "".join(f"printed typed {turn} " for turn in range(3))
    assert lent.sandbox.output(lent.id) == wanted.encode()
    shell.terminal.send(CHORD)
    shell.terminal.expect("[detached from x]")
    shell.terminal.expect("prompt> ")
    shell.terminal.forget()
    shell.terminal.send("echo a''live\r")
    shell.terminal.expect("alive")
    lent.drops(shell.terminal)
