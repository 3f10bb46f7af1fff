"""What programs ask their terminal: real programs in real sessions, with nobody there, and with several tmux."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.client.outer import Outer, attached
from tests.harness import PAINTED, Sandbox, need_program, wait_for

#: Asks what it is given, then what every terminal knows, and tells what came until then, and until a "q".
_ASKS = r"""
import os, sys, time, tty
tty.setraw(0)
while not os.path.exists("go"):
    time.sleep(0.01)
def until(end):
    got = b""
    while not got.endswith(end):
        got += os.read(0, 1000)
    return got[:-len(end)]
os.write(1, b"\x1b[2J\x1b[?2004h\x1b]11;#112233\x07\x1b[7;9H" + eval(sys.argv[1]) + b"\x1b[5n")
os.write(1, b"\r\nanswer <%s>" % until(b"\x1b[0n").hex().encode())
os.write(1, b"\r\nmore <%s>" % until(b"q").hex().encode())
until(b"q")
"""


def told(sandbox: Sandbox, session: str, what: str) -> bytes:
    """What the program says that it got."""
    pattern = re.compile(rb"%s <([0-9a-f]*)>" % what.encode())
    found = wait_for(lambda: pattern.search(sandbox.output(session)))
    assert found
    return bytes.fromhex(found[1].decode())


def asking(sandbox: Sandbox, question: bytes, **params: Any) -> str:
    """A session whose program asks as soon as it may: `go`."""
    return str(sandbox.new("python3", "-c", _ASKS, repr(question), **{"name": "work", **params})["id"])


def go(sandbox: Sandbox) -> None:
    (sandbox.home / "go").touch()


QUESTIONS = [
    (b"\x1b[c", b"\x1b[?62;22c"),
    (b"\x1b[6n", b"\x1b[7;9R"),
    (b"\x1b[?2004$p", b"\x1b[?2004;1$y"),
    (b"\x1b[?9999$p", b"\x1b[?9999;0$y"),
    (b"\x1b]11;?\x07", b"\x1b]11;rgb:1111/2222/3333\x07"),
    (b"\x1b]10;?\x07", b"\x1b]10;rgb:ffff/ffff/ffff\x1b\\"),
    (b"\x1b[18t", b"\x1b[8;24;80t"),
    # As fish 4 begins: the answer to the last one says that there is none to those before.
    (b"\x1b[?u\x1bP+q696e646e\x1b\\\x1b[c", b"\x1b[?0u\x1bP0+r\x1b\\\x1b[?62;22c"),
]


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_with_nobody_there_the_screen_answers(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up()
    sessions = [asking(sandbox, question, name=None, persistent=persistent) for question, _ in QUESTIONS]
    go(sandbox)
    for session, (question, answer) in zip(sessions, QUESTIONS, strict=True):
        assert told(sandbox, session, "answer") == answer, question
        sandbox.send(session, b"q")
        assert told(sandbox, session, "more") == b"", question


def test_without_a_daemon_there_is_an_answer_too(sandbox: Sandbox) -> None:
    sandbox.up()
    session = asking(sandbox, b"\x1b[6n")
    sandbox.kill9()
    go(sandbox)
    assert told(sandbox, session, "answer") == b"\x1b[1;1R"


def test_who_attaches_later_is_not_asked_again(sandbox: Sandbox) -> None:
    sandbox.up()
    session = asking(sandbox, b"\x1b[6n")
    go(sandbox)
    told(sandbox, session, "answer")
    terminal = sandbox.attach_pty("work")
    terminal.expect(PAINTED)
    terminal.expect("answer")
    assert b"\x1b[6n" not in terminal.output
    assert b"\x1b[5n" not in terminal.output


def test_a_terminal_that_is_there_answers(sandbox: Sandbox, outers: list[Outer]) -> None:
    sandbox.up()
    session = asking(sandbox, b"\x1b[c")
    outer = attached(sandbox, outers)
    wait_for(lambda: sandbox.info("work")["clients"] == 1)
    go(sandbox)
    assert told(sandbox, session, "answer") == b"\x1b[?1;2c"  # tmux's own
    outer.type("q")
    assert told(sandbox, session, "more") == b""


def test_of_two_terminals_one_answers(sandbox: Sandbox, outers: list[Outer]) -> None:
    sandbox.up()
    session = asking(sandbox, b"\x1b[c\x1b[>q")
    first = attached(sandbox, outers)
    attached(sandbox, outers)
    wait_for(lambda: sandbox.info("work")["clients"] == 2)
    go(sandbox)
    assert re.fullmatch(rb"\x1b\[\?1;2c\x1bP>\|tmux [^\x1b]+\x1b\\", told(sandbox, session, "answer"))
    # What the other one has answered stands before what is typed there now.
    first.type("q")
    assert told(sandbox, session, "more") == b""


def test_no_answer_is_typed_into_the_shell_outside(sandbox: Sandbox, outers: list[Outer]) -> None:
    """Neither to what the program asks on and on, nor to what we ask."""
    sandbox.up()
    sandbox.new("sh", "-c", r"stty -echo; while printf 'x\033[c'; do sleep 0.002; done", name="work")
    outer = attached(sandbox, outers)
    wait_for(lambda: "x" in outer.text())
    outer.run("send-keys", "-t", "0", "C-\\", "d")
    wait_for(lambda: "[detached from work]" in outer.text())
    outer.type("echo he''llo", "Enter")
    wait_for(lambda: "hello\n" in outer.text())
    shell = outer.text().partition("[detached from work]")[2]
    assert "1;2c" not in shell
    assert "0n" not in shell


_NOTE_VERSION = "autocmd TermResponse * call writefile([v:termresponse, getline(1)], 'told')"


@pytest.mark.parametrize(
    ("command", "typed", "wanted"),
    [
        (["vim", "-n", "-u", "NONE", "-N", "--cmd", _NOTE_VERSION], "", "\x1b[>1;0;0c\n\n"),
        (["nvim", "-n", "-u", "NONE"], ":call writefile([&background, getline(1)], 'told')\r", "dark\n\n"),
        (["fish", "--no-config"], "echo he''llo >told\r", "hello\n"),
    ],
    ids=["vim", "nvim", "fish"],
)
def test_real_programs_with_nobody_there(
    sandbox: Sandbox, command: list[str], typed: str, wanted: str
) -> None:
    """They get what they asked for, and nothing of it ends up in the text or in the command line."""
    need_program(command[0])
    sandbox.up()
    session = str(sandbox.new(*command, name="work")["id"])
    wait_for(lambda: b"\x1b[" in sandbox.output(session))  # they draw
    sandbox.send(session, typed.encode())
    told = sandbox.home / "told"
    assert wait_for(lambda: told.exists() and told.read_text()) == wanted
