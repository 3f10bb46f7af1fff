"""Exactly the same screen: real programs, a real terminal (tmux), and a daemon that is killed in between.

The program is seen through one terminal; that is closed and the daemon killed; and in another terminal it has to look
the same, to the last cell, attribute and mode that tmux can tell of.
"""

from __future__ import annotations

import os

import pytest

from tests.client.outer import Outer, attached
from tests.harness import Sandbox, need_program, wait_for

_IGNORES = r"""
import signal, sys
signal.signal(signal.SIGWINCH, signal.SIG_IGN)
out = ["\x1b[?1049h\x1b[?1h\x1b=\x1b[?1000h\x1b[?1006h\x1b[2J\x1b[5;20r\x1b[?25l\x1b]2;a title\x07"]
for y in range(24):
    out.append(f"\x1b[{y + 1};{y + 1}H\x1b[38;5;{y * 9}m\x1b[48;2;{y * 10};0;90m{y} 漢字 \x1b[4mé👍\x1b[m")
# More than is replayed, so that nothing of this is on the screen of whoever gets only that.
out.append("\x1b(0\x1b[10;30Hlqqk\x1b(B" + "\x1b[12;40H" * 200_000 + "\x1b[1;7m")
sys.stdout.write("".join(out))
sys.stdout.flush()
sys.stdin.read()
"""
_VIM = ["vim", "-n", "-u", "NONE", "-N", "--cmd", "set mouse=a hlsearch | syntax on", "text.py"]
_PROMPT = r"PS1='\[\e[1;34m\]user\[\e[m\]:\[\e[32m\]/some/where\[\e[m\]\n\$ '; clear; seq 40; ls --color=always /usr"


def closed(sandbox: Sandbox, outers: list[Outer]) -> None:
    """The terminal is closed, and the daemon killed and started again."""
    outers.pop().close()
    sandbox.restart()
    wait_for(lambda: sandbox.info("work")["clients"] == 0)


@pytest.mark.parametrize(
    ("command", "wanted", "typed"),
    [
        (_VIM, "def", "/line\r10Gv3j"),
        (["less", "-R", "-S", "text.py"], "def", "20g/line\r"),
        (["htop", "-d", "9999"], "PID", ""),
        (["python3", "-c", _IGNORES], "lqqk", ""),
        (["bash", "--norc", "--noprofile"], "bash", f"{_PROMPT}\rsome command that was not ent"),
    ],
    ids=["vim", "less", "htop", "ignores SIGWINCH", "two-line prompt"],
)
def test_a_program_looks_the_same_in_another_terminal(
    sandbox: Sandbox, outers: list[Outer], command: list[str], wanted: str, typed: str
) -> None:
    need_program(command[0])
    sandbox.up()
    (sandbox.home / "text.py").write_text(
        "".join(f"def line{n}():\n    return '漢字 é'  # {n}\n" for n in range(99))
    )
    env = {
        "TERM": "xterm-256color",
        "LC_ALL": "C.UTF-8",
        "PATH": os.environ["PATH"],
        "HOME": str(sandbox.home),
    }
    session = str(sandbox.new(*command, name="work", cwd=str(sandbox.home), env=env, rows=24, cols=80)["id"])
    wait_for(lambda: wanted.encode() in sandbox.output(session))
    first = attached(sandbox, outers)
    if typed:
        first.settled()
        sandbox.send(session, typed.encode())
    before = first.settled()
    closed(sandbox, outers)
    after = attached(sandbox, outers).settled()
    assert after == before


def test_scrollback_comes_back_into_the_terminal(sandbox: Sandbox, outers: list[Outer]) -> None:
    sandbox.up()
    script = r'for n in $(seq 300); do printf "\033[3%dmline %d\033[m\n" $((n % 8)) $n; done; exec cat'
    session = str(sandbox.new("sh", "-c", script, name="work", rows=24, cols=80)["id"])
    wait_for(lambda: b"line 300" in sandbox.output(session))
    shown = attached(sandbox, outers)
    shown.settled()
    lines = [line for line in shown.text("-S", "-").split("\n") if "line " in line]
    assert [line.split("\x1b[39m")[0] for line in lines] == [f"\x1b[3{n % 8}mline {n}" for n in range(1, 301)]


def test_the_terminal_is_given_back(sandbox: Sandbox, outers: list[Outer]) -> None:
    sandbox.up()
    session = str(sandbox.new("python3", "-c", _IGNORES, name="work", rows=24, cols=80)["id"])
    wait_for(lambda: b"lqqk" in sandbox.output(session))
    outer = Outer(sandbox, "tmux0")
    outers.append(outer)
    fresh = outer.state().split()[:11]
    outer.type("toowl attach work", "Enter")
    wait_for(lambda: outer.state().startswith("1 1 1 0 1 1"))
    outer.type("C-\\", "d")
    wait_for(lambda: "[detached from work]" in outer.text())
    assert outer.state().split()[:11] == fresh
    outer.type("echo he''llo", "Enter")
    wait_for(lambda: "hello\n" in outer.text())
