"""A real client whose connection breaks: nothing is lost, nothing is typed twice, and the user is told."""

from __future__ import annotations

import hashlib
import os
import random
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.client.cutter import Cutter
from tests.harness import PAINTED, Sandbox, Terminal, wait_for
from toowl.connection import _DIAL_TIMEOUT
from toowld.wire import InputAck

_OURS = re.compile(rb"(?:\x1bD\x1bM)?\x1b7\x1b\[\?6l.*?\x1b8", re.DOTALL)


def budgets(chance: random.Random, count: int, low: int, high: int) -> Iterator[int]:
    """After how many bytes to cut, ``count`` times."""
    return iter([chance.randint(low, high) for _ in range(count)])


def without_banner(output: bytes) -> bytes:
    return _OURS.sub(b"", output)


def running(sandbox: Sandbox, script: str, name: str = "work", **params: Any) -> str:
    """A session that runs a script of the shell; its id."""
    return str(sandbox.new("sh", "-c", script, name=name, **params)["id"])


def detach(terminal: Terminal) -> None:
    terminal.send(b"\x1cd")
    assert terminal.wait() == 0


def test_a_paste_that_is_cut_fifty_times_arrives_whole(sandbox: Sandbox) -> None:
    chance = random.Random(3)
    paste = bytes(byte for byte in chance.randbytes(1_100_000) if byte != 0x1C)[
        : 1 << 20
    ]  # without the chord
    assert len(paste) == 1 << 20
    sandbox.up()
    got = sandbox.home / "got"
    session = running(sandbox, f"stty raw -echo; echo ready; exec head -c {len(paste)} > {got}")
    # The first connection only asks for the session's name.
    with Cutter(sandbox, session, budgets=budgets(chance, 50, 2000, 36_000)) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        terminal.send(paste)
        assert terminal.wait(50) == 0, terminal.output
        assert cutter.cuts == 50
    assert hashlib.sha256(got.read_bytes()).digest() == hashlib.sha256(paste).digest()


@pytest.mark.parametrize("daemon", [True, False], ids=["by the daemon", "by its custodian"])
def test_output_that_is_cut_again_and_again_is_exact(sandbox: Sandbox, daemon: bool) -> None:
    chance = random.Random(4)
    sandbox.up()
    session = running(sandbox, "stty -echo -onlcr; echo ready; read x; seq 1 200000; echo done; read x")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        terminal.expect(PAINTED)
        if not daemon:
            cutter.down()
            sandbox.kill9()
            cutter.up(daemon=False)
        cutter.budgets = budgets(chance, 40, 1500, 150_000)
        cutter.cut()
        terminal.send(b"\r")
        terminal.expect("done", timeout=50)
        detach(terminal)
        assert cutter.cuts >= 10
    wanted = b"".join(b"%d\n" % number for number in range(1, 200_001))
    shown = (
        without_banner(terminal.output).partition(PAINTED)[2].removeprefix(b"ready\n").partition(b"done\n")[0]
    )
    assert hashlib.sha256(shown).digest() == hashlib.sha256(wanted).digest()


def test_a_slow_reader_is_cut_and_misses_nothing(sandbox: Sandbox) -> None:
    """Output that the terminal has not taken yet when the connection breaks is still shown."""
    sandbox.up()
    session = running(sandbox, "stty -echo -onlcr; echo ready; read x; seq 1 30000; echo done; read x")
    with Cutter(sandbox, session, budgets=iter([None, 20_000, 20_000, 20_000])) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        terminal.expect(PAINTED)
        terminal.send(b"\r")
        terminal.expect("done")
        detach(terminal)
    shown = (
        without_banner(terminal.output).partition(PAINTED)[2].removeprefix(b"ready\n").partition(b"done\n")[0]
    )
    assert shown == b"".join(b"%d\n" % number for number in range(1, 30_001))


def test_the_chord_works_while_nothing_can_be_reached(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        cutter.down()
        terminal.expect("reconnecting… toowld is not there; Ctrl-\\ d: leave]")
        terminal.send(b"x\x1cd")
        assert terminal.wait() == 0
        assert terminal.text.endswith("\x1b8[detached from work; 1 byte of input may not have arrived]\r\n")


def test_the_chord_works_while_the_daemon_hangs(sandbox: Sandbox) -> None:
    """It takes connections, as its kernel does that for it, and says nothing."""
    sandbox.up(False)
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        assert sandbox.daemon is not None
        sandbox.daemon.send_signal(signal.SIGSTOP)
        cutter.cut()
        terminal.expect("reconnecting… the connection broke")
        begin = time.monotonic()
        terminal.send(b"\x1cd")
        assert terminal.wait() == 0
        assert time.monotonic() - begin < _DIAL_TIMEOUT, "it does not wait for an answer"
        sandbox.daemon.send_signal(signal.SIGCONT)


def test_what_is_typed_while_down_is_shown_as_pending_and_delivered_once(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        terminal.send(b"first\r")
        terminal.expect("first", count=2)
        cutter.down()
        terminal.expect("reconnecting…")
        terminal.send(b"once\r")
        terminal.expect("5 bytes typed, not delivered yet")
        cutter.up()
        terminal.expect("once\r\nonce\r\n")
        terminal.send(b"last\r")
        terminal.expect("last\r\nlast\r\n")
        detach(terminal)
    assert sandbox.output(session) == b"ready\r\nfirst\r\nfirst\r\nonce\r\nonce\r\nlast\r\nlast\r\n"
    shown = without_banner(terminal.output).partition(PAINTED)[2].removeprefix(b"ready\r\n")
    assert b"ready\r\n" + shown == sandbox.output(session) + b"[detached from work]\r\n"


@pytest.mark.parametrize("full_screen", [False, True])
def test_a_session_that_hangs_is_said_to_hang_and_gets_what_was_typed_once(
    sandbox: Sandbox, full_screen: bool
) -> None:
    """L7, L8: it looks attached, and nobody is told by the kernel that nothing comes any more."""
    sandbox.up()
    screen = "\\033[?1049h" if full_screen else ""
    loop = "while :; do read x && echo got $x; done"
    session = running(sandbox, f"trap 'echo resized' WINCH; printf '{screen}ready\\n'; {loop}")
    custodian = sandbox.custodians()[session]
    terminal = sandbox.attach_pty("work")
    terminal.expect("ready")
    terminal.send(b"one\r")  # by now an attach's own SIGWINCH has arrived
    terminal.expect("got one\r\n")
    terminal.forget()
    os.kill(custodian, signal.SIGSTOP)
    terminal.send(b"two\r")
    terminal.expect("[the session hangs; 4 bytes typed, not delivered yet; Ctrl-\\ d: leave]")
    os.kill(custodian, signal.SIGCONT)
    terminal.expect("got two\r\n")
    if full_screen:  # the banner was drawn over a line of it
        terminal.expect("resized")
    terminal.send(b"three\r")
    terminal.expect("got three\r\n")
    detach(terminal)
    assert sandbox.output(session).count(b"got two") == 1
    if not full_screen:
        shown = without_banner(terminal.output).removesuffix(b"[detached from work]\r\n")
        assert shown == sandbox.output(session).partition(b"got one\r\n")[2]


def test_a_program_that_takes_nothing_is_no_session_that_hangs(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(
        sandbox,
        "stty raw -echo; echo ready; while [ ! -e go ]; do sleep 0.1; done; cat",
        cwd=str(sandbox.home),
    )
    terminal = sandbox.attach_pty("work")
    terminal.expect("ready")
    terminal.send(b"x" * 100_000 + b"END")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 4)  # longer than a session may owe us a word
    (sandbox.home / "go").touch()
    wait_for(lambda: b"END" in sandbox.output(session))  # raw: else the kernel may leave out echoes
    detach(terminal)
    assert b"hangs" not in terminal.output


def test_what_was_typed_for_another_shell_is_discarded(sandbox: Sandbox) -> None:
    """Also if neither printed anything, so that both began at the same byte."""
    sandbox.up()
    session = running(sandbox, "stty -echo; exec cat > got")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.send(b"for the first\r")
        got = sandbox.home / "got"
        wait_for(lambda: got.exists() and got.read_bytes() == b"for the first\n")
        wait_for(lambda: InputAck(len(b"for the first\r")) in cutter.told, what="the client to know of it")
        cutter.down()
        terminal.expect("reconnecting…")
        terminal.send(b"rm -rf everything\r")
        terminal.expect("18 bytes typed")
        sandbox.toowl("restart", "--yes", "work")
        cutter.up()
        terminal.expect("[discarded 18 bytes of input: typed for the program that ran here before]")
        terminal.send(b"for the second\r")
        wait_for(lambda: got.read_bytes() == b"for the second\n")
        detach(terminal)


def test_too_much_typed_ahead_is_refused_and_said_so(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "stty raw -echo; echo ready; exec cat > got")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work", cols=200)
        terminal.expect("ready")
        cutter.down()
        terminal.expect("reconnecting…")
        line = b"a line that is to be kept\r"
        kept = line * (200_000 // len(line))
        terminal.send(kept + b"x" * 200_000)
        terminal.expect("REFUSED: too much")
        assert b"\x07" in terminal.output
        wait_for(lambda: f"{200_000} bytes REFUSED" in terminal.text)
        cutter.up()
        terminal.expect("[refused 200000 bytes that were typed while the session was away: too much]")
        terminal.send(b"and on\r")
        got = sandbox.home / "got"
        wait_for(lambda: got.read_bytes() == kept + b"and on\r")
        detach(terminal)


def test_a_session_that_ended_meanwhile_says_how(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; read x; echo late words; exit 7")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        cutter.down()
        terminal.expect("reconnecting…")
        sandbox.send(session, b"\r")
        wait_for(lambda: sandbox.info(session)["state"] == "ended")
        cutter.up()
        assert terminal.wait() == 7
    assert "late words\r\n[work exited with status 7]\r\n" in terminal.text


def test_a_session_that_was_removed_meanwhile(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        cutter.down()
        terminal.expect("reconnecting…")
        sandbox.toowl("kill", "work")
        sandbox.toowl("rm", "work")
        cutter.up()
        assert terminal.wait() == 3
    assert (
        "toowl: session work was removed while the connection to it was down: see `toowl ls`" in terminal.text
    )


def test_a_custodian_that_was_killed(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("sh", "-c", "echo ready; exec cat", name="work")
    terminal = sandbox.attach_pty("work")
    terminal.expect("ready")
    os.kill(info["custodian_pid"], signal.SIGKILL)
    assert terminal.wait() == 1
    assert "[work lost: " in terminal.text
    assert "`toowl attach work` restores it]" in terminal.text


@pytest.mark.parametrize("gracefully", [True, False])
def test_a_standard_session_ends_with_its_daemon_and_a_new_shell_is_offered(
    sandbox: Sandbox, gracefully: bool
) -> None:
    sandbox.up(False)
    session = running(sandbox, "echo began; exec cat")
    terminal = sandbox.attach_pty("work")
    terminal.expect("began")
    before = terminal.modes()
    if gracefully:
        sandbox.stop()
    else:
        sandbox.kill9()
        terminal.expect("reconnecting… toowld is not there")
        terminal.send(b"typed too late\r")
        terminal.expect("15 bytes typed")
        sandbox.up(False)
    terminal.expect("[work ended together with its daemon: it is a standard session]")
    terminal.expect("press Enter for a new shell, any other key to leave")
    terminal.send(b"\r")
    if gracefully:
        terminal.expect("reconnecting… toowld is not there")
        sandbox.up(False)
    terminal.expect("--- restored; new shell ---\r\npress Enter to run: sh -c 'echo began; exec cat'")
    terminal.expect("a shell instead) ")
    terminal.send(b"\r")  # it is a command, and so only offered
    # The terminal shows the word from before as well, once or twice: only the log tells that the program runs again.
    wait_for(lambda: sandbox.output(session).count(b"began\r\n") == 2)
    terminal.send(b"again\r")
    terminal.expect("again\r\nagain\r\n")
    assert b"typed too late" not in sandbox.output(session)
    sandbox.stop()
    terminal.expect("press Enter for a new shell", count=2)
    terminal.send(b"q")
    assert terminal.wait() == 1
    assert terminal.modes() != before  # raw while it was attached


def test_the_socket_folder_goes_away_and_comes_back(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        away = Path(f"{cutter.runtime}-away")
        cutter.runtime.rename(away)
        cutter.cut()
        terminal.expect("reconnecting…")
        away.rename(cutter.runtime)
        terminal.send(b"back\r")
        terminal.expect("back\r\nback\r\n")
        detach(terminal)


def test_a_stopped_client_tries_at_once_when_continued(sandbox: Sandbox) -> None:
    sandbox.up()
    session = running(sandbox, "echo ready; exec cat")
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        cutter.down()
        terminal.expect("reconnecting…")
        os.kill(terminal.pid, signal.SIGSTOP)
        _, status = os.waitpid(terminal.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        cutter.up()
        terminal.send(b"on\r")
        os.kill(terminal.pid, signal.SIGCONT)
        terminal.expect("on\r\non\r\n")
        detach(terminal)


@pytest.mark.parametrize("full_screen", [True, False])
def test_only_a_full_screen_program_is_asked_to_redraw(sandbox: Sandbox, full_screen: bool) -> None:
    sandbox.up()
    screen = "\\033[?1049h" if full_screen else ""
    session = running(
        sandbox, f"trap 'echo resized' WINCH; printf '{screen}ready'; while :; do read x; echo got $x; done"
    )
    with Cutter(sandbox, session) as cutter:
        terminal = cutter.attach("work")
        terminal.expect("ready")
        wait_for(lambda: sandbox.info(session)["clients"] == 1)
        terminal.send(b"one\r")  # by now an attach's own SIGWINCH has arrived
        terminal.expect("got one")
        terminal.forget()
        cutter.down()
        terminal.expect("reconnecting…")
        cutter.up()
        if full_screen:
            terminal.expect("resized")
        terminal.send(b"two\r")
        terminal.expect("got two")
        assert terminal.output.count(b"resized") == full_screen
        detach(terminal)
