"""A command that comes back after a loss is an offer, which runs after Enter and not before."""

from __future__ import annotations

import os
import subprocess

import psutil
import pytest

from tests.daemon.losses import lose, stored
from tests.daemon.steps import ask, ls, running, shell, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.daemon.restoring import program, refreshed
from toowld.session import Record, State


def test_on_restore(sandbox: Sandbox) -> None:
    """The command is shown, runs after Enter and not before, and leaves a shell behind."""
    sandbox.up()
    note = sandbox.root / "note"
    command = f"echo ran-%s >>{note}; printf 'he%s\\n' llo; kill -0 $$"
    argv = ("new", "-d", "-n", "work", "--on-restore", command, "--", "bash", "--norc", "--noprofile")
    session = sandbox.toowl(*argv).stdout.strip()
    assert ls(sandbox)["work"]["on_restore"] == command
    assert command in sandbox.toowl("info", "work").stdout
    assert stored(sandbox, session).on_restore == command
    lose(sandbox, "work")
    terminal = sandbox.attach_pty("work")
    terminal.expect("--- restored; new shell ---\r\n")
    terminal.expect(f"press Enter to run: {command}")
    terminal.expect("a shell instead) ")
    assert not note.exists()
    terminal.send("\r")
    terminal.expect("hello\r\n")
    assert ask(sandbox, session, "$0 $-").startswith("bash"), "afterwards there is the session's own shell"
    assert note.read_text() == "ran-%s\n"
    # It ended by itself: its own program is started, nothing offered.
    sandbox.send(session, b"exit\r")
    assert terminal.wait() == 0
    wait_displayed(sandbox, "work", "ended (exited 0)")
    again = sandbox.attach_pty("work")
    again.expect("--- shell restarted ---")
    ask(sandbox, session, "$$")
    assert again.text.count("press Enter") <= 1, "that of the replay"
    assert note.read_text() == "ran-%s\n"


@pytest.mark.parametrize("answer", [b"\x03", b"n\r", b"\x04", b"\x1c"], ids=["ctrl-c", "n", "ctrl-d", "quit"])
def test_an_offer_declined(sandbox: Sandbox, answer: bytes) -> None:
    sandbox.up()
    note = sandbox.root / "note"
    info = shell(sandbox, "work", on_restore=f"touch {note}")
    lose(sandbox, "work")
    sandbox.toowl("restore", "work")
    wait_for(lambda: b"shell instead) " in sandbox.output(info["id"]))
    sandbox.send("work", answer)
    # The offer's own shell, woken by the signal, would read what is typed before it is gone.
    child = psutil.Process(ls(sandbox)["work"]["pid"])
    wait_for(lambda: not any("press Enter" in word for word in child.cmdline()))
    assert ask(sandbox, info["id"], "$PWD") == str(sandbox.home)
    assert not note.exists()
    # Ctrl-C does in that shell what it does in every other.
    sandbox.send("work", b"sleep 4711\r")
    wait_for(lambda: running(sandbox, 4711))
    sandbox.send("work", b"\x03")
    assert ask(sandbox, info["id"], "$?") == "130"


def test_restore_runs_no_command_unasked(sandbox: Sandbox) -> None:
    """What ran in a lost session is not run again by a `restore --all`; Enter does it, and its status counts."""
    sandbox.up()
    note = sandbox.root / "it's a note"
    info = sandbox.new("sh", "-c", 'echo once >>"$1"; read -r x; exit 5', "sh", str(note), name="job")
    wait_for(note.exists)
    lose(sandbox, "job")
    sandbox.toowl("restore", "--all")
    wait_for(lambda: b"press Enter to run: sh -c " in sandbox.output(info["id"]))
    assert note.read_text() == "once\n"
    terminal = sandbox.attach_pty("job")
    terminal.expect("shell instead) ")
    terminal.send("\r")
    wait_for(lambda: note.read_text() == "once\n" * 2)
    terminal.send("x\r")
    assert terminal.wait() == 5
    # By name: at once.
    sandbox.toowl("restart", "job", "--yes")
    wait_for(lambda: note.read_text() == "once\n" * 3)


def test_attach_runs_no_command_unasked(sandbox: Sandbox) -> None:
    """Who attaches what was lost need not know what ran there. What exited is another matter."""
    sandbox.up()
    note = sandbox.root / "note"
    sandbox.new("sh", "-c", f"echo once >>{note}; read -r x; exit 5", name="job")
    wait_for(note.exists)
    lose(sandbox, "job")
    terminal = sandbox.attach_pty("job")
    terminal.expect("--- restored; new shell ---")
    terminal.expect("press Enter to run: sh -c ")
    terminal.expect("shell instead) ")
    assert note.read_text() == "once\n"
    terminal.send("n\r")
    terminal.send("printf 'he%s-%s\\n' llo $PWD\r")
    terminal.expect(f"hello-{sandbox.home}")
    terminal.send("exit\r")
    assert terminal.wait() == 0
    assert note.read_text() == "once\n"
    wait_displayed(sandbox, "job", "ended (exited 0)")
    again = sandbox.attach_pty("job")
    again.expect("--- shell restarted ---")
    wait_for(lambda: note.read_text() == "once\n" * 2)


def test_what_a_child_is_to_be() -> None:
    lost = Record("0123abcd", state=State.ENDED, end_reason="lost")
    shell_path = "/bin/zsh"
    for asked_for in (True, False):
        assert program(lost, shell_path, asked_for=asked_for) == (("/bin/zsh",), "-zsh")
        for argv in (("bash",), ("/usr/bin/fish", "-l"), ("bash", "--norc", "--noprofile")):
            assert program(lost.changed(argv=argv), shell_path, asked_for=asked_for) == (argv, None)
    for argv in (("bash", "-c", "rm -rf x"), ("sh", "script"), ("make",), ("python3",)):
        made = lost.changed(argv=argv)
        assert program(made, shell_path, asked_for=True) == (argv, None)
        assert program(made, shell_path, asked_for=False)[0][:2] == ("/bin/sh", "-c")
        assert program(made.changed(end_reason="exited"), shell_path, asked_for=False) == (argv, None)
        offered = made.changed(on_restore="make -j8")
        assert "make -j8" in program(offered, shell_path, asked_for=False)[0][2]
        assert program(offered, shell_path, asked_for=True) == (argv, None)


@pytest.mark.parametrize(
    "command", ["a'b\"c$(id)`id`", "two\nlines \x1b[2J", "%s %d \\n", "caf\udce9", "{x} {}"]
)
def test_an_offer_is_shown_as_it_is(command: str) -> None:
    made = Record("0123abcd", state=State.ENDED, end_reason="lost", on_restore=command)
    argv, _ = program(made, "/bin/echo", asked_for=False)
    done = subprocess.run(argv, input=b"\n", capture_output=True, check=True)
    shown = "".join(char if char.isprintable() else "?" for char in command)
    first, second = done.stdout.split(b"\n", 1)
    assert first.decode() == f"press Enter to run: {shown}"
    # /bin/echo stands for the shell: its arguments are what a shell would have got.
    assert os.fsencode(f"-c {command}\n") in second
    assert second.endswith(b"-l\n")


def test_what_is_taken_from_the_client() -> None:
    saved = {"TERM": "xterm-kitty", "DISPLAY": ":0", "LANG": "C"}
    assert refreshed(saved, {}) == saved
    assert refreshed(saved, {"TERM": "dumb", "DISPLAY": ":1"}) == {**saved, "DISPLAY": ":1"}
    assert refreshed(saved, {"TERM": "tmux"}) == {**saved, "TERM": "tmux"}
