"""`toowl ls --watch`: at real terminals, and in pipes."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.harness import Sandbox, Terminal, wait_for
from toowld.screen.model import Model
from toowld.wire import Size

SIZE = Size(rows=24, cols=80)


def shown(terminal: Terminal, size: Size = SIZE) -> list[str]:
    """The lines on the terminal's screen, as they are now."""
    with Model(size) as model:
        model.feed(terminal.output)
        grid = model.state().grid
        return ["".join(run.text for run in row.runs).rstrip() for row in grid.rows]


def shows(terminal: Terminal, *words: str, size: Size = SIZE) -> bool:
    return any(all(word in line for word in words) for line in shown(terminal, size))


@pytest.fixture
def watching(sandbox: Sandbox) -> Terminal:
    sandbox.up()
    sandbox.new("/bin/cat", name="first")
    terminal = sandbox.terminal("toowl", "ls", "--watch")
    wait_for(lambda: shows(terminal, "first", "detached"), what="the list")
    return terminal


def test_it_follows_what_happens(sandbox: Sandbox, watching: Terminal) -> None:
    sandbox.new("/bin/cat", name="second")
    wait_for(lambda: shows(watching, "second", "detached"))
    sandbox.toowl("rename", "first", "work")
    wait_for(lambda: shows(watching, "work") and not shows(watching, "first"))
    user = sandbox.attach_pty("work")
    wait_for(lambda: shows(watching, "work", "● attached"))
    user.wait_raw()
    user.send(b"\x1cd")
    wait_for(lambda: shows(watching, "work", "○ detached"))
    sandbox.toowl("kill", "second")
    wait_for(lambda: shows(watching, "second", "ended (killed)"))
    sandbox.toowl("rm", "second")
    wait_for(lambda: not shows(watching, "second"))
    assert shown(watching)[0].startswith("ID "), "nothing scrolled"


def test_it_outlives_the_daemon(sandbox: Sandbox, watching: Terminal) -> None:
    sandbox.kill9()
    wait_for(lambda: shows(watching, "trying again") and shows(watching, "first"))
    sandbox.up()
    sandbox.new("/bin/cat", name="second")
    wait_for(lambda: shows(watching, "second") and not shows(watching, "trying again"))


@pytest.mark.parametrize("leave", ["q", "\x03", signal.SIGTERM, signal.SIGINT, signal.SIGHUP], ids=repr)
def test_the_terminal_is_given_back(sandbox: Sandbox, leave: str | signal.Signals) -> None:
    sandbox.up()
    sandbox.new("/bin/cat", name="work")
    script = "read x; toowl ls -w & echo $! > pid; fg >/dev/null; echo status=$?; read x"
    terminal = Terminal(["bash", "-mc", script], sandbox.env, sandbox.root)
    sandbox.terminals.append(terminal)
    before = terminal.modes()
    terminal.send("\r")
    wait_for(lambda: shows(terminal, "work", "detached"))
    assert terminal.modes() != before
    if isinstance(leave, str):
        terminal.send(leave)
    else:
        os.kill(int((sandbox.root / "pid").read_text()), leave)
    terminal.expect(f"status={0 if isinstance(leave, str) else 128 + leave}")
    assert terminal.modes() == before
    assert b"\x1b[?1049l" in terminal.output and not shows(terminal, "work")
    terminal.send("\r")
    terminal.wait()


def test_another_size(sandbox: Sandbox, watching: Terminal) -> None:
    for number in range(9):
        sandbox.new("/bin/cat", name=f"more{number}")
    small = Size(rows=6, cols=40)
    watching.resize(small.rows, small.cols)
    os.kill(watching.pid, signal.SIGWINCH)
    wait_for(lambda: "… 6 more" in shown(watching, small)[-1], what="what fits")
    assert all(len(line) <= 40 for line in shown(watching, small))
    watching.resize(SIZE.rows, SIZE.cols)
    wait_for(lambda: shows(watching, "first") and shows(watching, "more0"))


def test_it_wakes_for_nothing(sandbox: Sandbox) -> None:
    """The daemon is not asked because time has passed: not once in the time of many redraws."""
    sandbox.up()
    sandbox.new("/bin/cat", name="work")
    terminal = sandbox.terminal("toowl", "ls", "-w", "-f", "name=work")

    def age() -> int:
        (line,) = [line for line in shown(terminal) if "work" in line] or [""]
        found = re.search(r" (\d+)s ", line)
        return int(found[1]) if found else -1

    begun = wait_for(lambda: age() + 1, what="an age")
    asked = subprocess.Popen(
        ["strace", "-f", "-e", "trace=sendto,sendmsg,write", "-p", str(terminal.pid)],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        wait_for(lambda: age() > begun, what="a later one")
    finally:
        asked.send_signal(signal.SIGINT)
        calls = asked.communicate()[1]
    assert "write(" in calls, "it draws"
    assert "sendto(" not in calls and "sendmsg(" not in calls


def test_in_a_pipe(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("/bin/cat", name="work")
    sandbox.toowl("tag", "work", "ci=main")
    argv = [sys.executable, "-m", "toowl", "ls", "--watch", "--json", "-f", "ci=main"]
    with subprocess.Popen(argv, env=sandbox.env, stdout=subprocess.PIPE, text=True) as watch:
        assert watch.stdout is not None
        (item,) = json.loads(watch.stdout.readline())
        assert (item["name"], item["display"]) == ("work", "detached")
        sandbox.toowl("kill", "work")
        while not item["display"].startswith("ended"):
            (item,) = json.loads(watch.stdout.readline())
        sandbox.toowl("tag", "work", "ci=")  # nothing fits any more, which is no mistake now
        while json.loads(watch.stdout.readline()):
            pass
        watch.stdout.close()
        assert watch.wait(20) == 0, "it ends with who reads it"


def test_mistakes(sandbox: Sandbox) -> None:
    nobody = sandbox.toowl("ls", "--watch", check=False)
    assert nobody.returncode == 5
    sandbox.up()
    wrong = sandbox.toowl("ls", "--watch", "-f", "nmae=x", check=False)
    assert wrong.returncode == 2 and "did you mean 'name'?" in wrong.stderr
