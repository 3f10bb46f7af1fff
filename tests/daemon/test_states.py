"""Every state as people are shown it, each brought about for real, and what is said when it is in the way.

All of it is compared with ``states.golden``: what is told of a state is read there at a glance. To renew that after a
change, run this with ``TOOWL_RENEW_GOLDEN=1``, and look at what git says.
"""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

from tests.daemon.steps import listed, settings, stopped, wait_displayed
from tests.harness import Sandbox, wait_for

GOLDEN = Path(__file__).with_name("states.golden")
TITLE = "== {} ==\n"


def settle(part: str, text: str) -> None:
    """Compare ``text`` with a part of the golden file, or make it that."""
    parts = dict(
        re.findall(r"^== ([^\n]*) ==\n(.*?)(?=^== |\Z)", GOLDEN.read_text(), re.DOTALL | re.MULTILINE)
    )
    if os.environ.get("TOOWL_RENEW_GOLDEN"):
        parts[part] = text
        GOLDEN.write_text("".join(TITLE.format(name) + body for name, body in parts.items()))
    assert text == parts.get(part)


@contextmanager
def starting(box: Sandbox, name: str) -> Iterator[None]:
    """A session that is just being started, because the process that starts it is held up."""
    with box.client() as client:
        zygote = client.request("doctor")["zygote_pid"]
    maker = Thread(target=box.new, args=("/bin/cat",), kwargs={"name": name})
    with stopped(zygote):
        maker.start()
        wait_displayed(box, name, "starting")
        yield
    maker.join()


def lose(box: Sandbox, name: str) -> None:
    os.kill(listed(box)[name]["custodian_pid"], signal.SIGKILL)
    wait_displayed(box, name, "ended (lost)")


def a_world(box: Sandbox) -> None:
    """Sessions in every state that stays, named for it."""
    box.toowl("new", "--awaiting", "-n", "awaiting", "--", "/bin/cat")
    box.new("/bin/cat", name="attached")
    box.attach_pty("attached")
    box.new("/bin/cat", name="detached")
    box.new("/bin/cat", name="standard", persistent=False)
    box.new("/bin/cat", name="unreachable")
    for name, script in (("done", "exit 0"), ("seven", "exit 7"), ("signalled", "kill -USR1 $$")):
        box.new("/bin/sh", "-c", script, name=name)
    box.new("/bin/cat", name="killed")
    box.toowl("kill", "killed")
    box.new("/bin/cat", name="lost")
    lose(box, "lost")
    box.toowl("new", "--awaiting", "-n", "failed", "--", "/nope")
    assert box.toowl("start", "failed", check=False).returncode == 1
    wait_displayed(box, "attached", "attached")
    wait_displayed(box, "done", "ended (exited 0)")
    wait_displayed(box, "seven", "ended (exited 7)")
    wait_displayed(box, "signalled", "ended (signal 10)")


NAMES = (
    "awaiting", "starting", "attached", "detached", "standard", "unreachable", "done", "seven", "killed", "over",
    "signalled", "lost", "failed",
)  # fmt: skip

#: A6, A7: what `toowl ls --json` says of each session, no more and no less; a key that is there stays.
KEYS = (
    "id", "name", "tags", "persistent", "state", "display", "glyph", "sentence", "end_reason", "exit_code",
    "exit_signal", "ended_at", "error", "restorable", "on_restore", "clients", "cwd", "command", "pid",
    "custodian_pid", "custodian_version", "created_at", "last_active_at", "seq", "log_bytes", "rows", "cols",
    "degraded", "version", "title", "bells", "cwd_url", "prompt", "last_exit", "commands",
)  # fmt: skip


def test_each_state_is_told(sandbox: Sandbox) -> None:
    """A3, A4, A10, C4: by a sign, a word and a sentence, wherever states are shown."""
    settings(sandbox, tick=0.1)
    sandbox.up()
    a_world(sandbox)
    sandbox.new("/bin/cat", name="over", settings={"ttl": 1})
    wait_displayed(sandbox, "over", "ended (timeout)")
    with starting(sandbox, "starting"), stopped(listed(sandbox)["unreachable"]["custodian_pid"]):
        wait_displayed(sandbox, "unreachable", "unreachable")
        terminal = sandbox.terminal("toowl", "ls", cols=200, rows=40)
        assert terminal.wait() == 0
        plain = sandbox.toowl("ls").stdout
        completed = sandbox.toowl("ls", "--names").stdout
        found = {item["name"]: item for item in json.loads(sandbox.toowl("ls", "--json").stdout)}
        told = {name: sandbox.toowl("info", name).stdout for name in ("awaiting", "unreachable")}
    rows = {
        cells[1]: cells[2] for line in terminal.text.splitlines() if len(cells := re.split("  +", line)) > 2
    }
    text = "".join(f"{name}\n  {rows[name]}\n  {found[name]['sentence']}\n" for name in NAMES)
    settle("states", text)
    assert {frozenset(item) for item in found.values()} == {frozenset(KEYS)}
    signs = [rows[name].split()[1] for name in NAMES if name != "standard"]
    assert len(set(signs)) == len(signs), "each state has a sign of its own"
    for name in NAMES:
        mark = "-" if name == "standard" else "P"
        assert f"  {mark} {found[name]['display']}  " in plain, "a pipe gets the word alone"
        assert f"{name}\t{mark} {found[name]['display']}, " in completed
        assert re.sub(r" . ", " ", rows[name], count=1) == f"{mark} {found[name]['display']}"
    for name, text in told.items():
        assert f"  {found[name]['sentence']}\n" in text


@pytest.mark.parametrize(
    "env", [{"LC_ALL": "C"}, {"TERM": "dumb"}, {"LC_ALL": "", "PYTHONIOENCODING": "latin-1"}]
)
def test_no_sign_where_the_terminal_may_not_have_it(sandbox: Sandbox, env: dict[str, Any]) -> None:
    sandbox.up()
    sandbox.new("/bin/cat", name="work")
    terminal = sandbox.terminal("toowl", "ls", **env)
    assert terminal.wait() == 0
    assert "P detached" in terminal.text


def test_what_is_in_the_way_is_told(sandbox: Sandbox) -> None:
    """T1 to T6: one line, a status that is not 0, and what to do next."""
    sandbox.up()
    a_world(sandbox)
    sandbox.new("/bin/cat", name="owl")
    said = []
    custodian = listed(sandbox)["unreachable"]["custodian_pid"]

    def refused(*argv: str) -> None:
        done = sandbox.toowl(*argv, check=False)
        line = done.stderr
        assert done.returncode not in (0, 2) and line.count("\n") == 1 and "Traceback" not in line
        assert re.search("`toowld? |again|: check |: say --yes", line), "it says what to do next"
        line = line.replace(str(sandbox.root), "ROOT").replace(f"-CONT {custodian}", "-CONT PID")
        said.append(f"$ toowl {' '.join(argv)}\n{line}[{done.returncode}]\n")

    refused("send", "lost", "ls")  # T1
    refused("restore", "seven")
    with stopped(custodian):  # T2
        wait_displayed(sandbox, "unreachable", "unreachable")
        refused("send", "unreachable", "ls")
        refused("reconnect", "unreachable")
        refused("restart", "--force", "unreachable")
        refused("rm", "unreachable")
    refused("new", "-d", "-n", "bad", "--", "/nope")  # T3
    refused("start", "failed")
    refused("send", "failed", "ls")
    refused("send", "awaiting", "ls")  # T4
    refused("kill", "awaiting")
    refused("kill", "seven")
    refused("start", "owl")
    refused("restart", "owl")
    refused("rm", "owl")
    refused("reconnect", "seven")
    refused("reconnect", "awaiting")
    refused("info", "nobody")
    settle("messages", "".join(said))


def test_awaiting_until_it_is_wanted(sandbox: Sandbox) -> None:
    """A10: nothing of it runs, over the end of the daemon too; the first attach starts it, as toowl start does."""
    sandbox.up()
    for name in ("one", "two", "three"):
        made = sandbox.toowl(
            "new", "--awaiting", "-n", name, "--env", "A=B", "--", "sh", "-c", f"echo {name} $A; cat"
        )
        assert made.stdout.strip() == listed(sandbox)[name]["id"]
    assert not sandbox.custodians()
    sandbox.restart()
    assert {item["display"] for item in listed(sandbox).values()} == {"awaiting"}
    sandbox.toowl("start", "one", "two")
    assert {name: item["display"] for name, item in listed(sandbox).items()} == {
        "one": "detached", "two": "detached", "three": "awaiting"
    }  # fmt: skip
    terminal = sandbox.attach_pty("three")
    terminal.expect("three B")
    assert "restarted" not in terminal.text, "it is the first that runs there"
    wait_for(lambda: b"one B" in sandbox.output(listed(sandbox)["one"]["id"]), what="its output")
    assert psutil.pid_exists(listed(sandbox)["three"]["pid"])
    sandbox.toowl("new", "--awaiting", "-n", "never")
    sandbox.toowl("rm", "never")
    assert "never" not in listed(sandbox)


def test_awaiting_is_not_started_by_looking(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.toowl("new", "--awaiting", "-n", "deploy", "--", "sh", "-c", "echo gone off")
    terminal = sandbox.attach_pty("deploy", 24, 80, "--no-respawn")
    assert terminal.wait() == 4
    assert "`toowl start deploy`" in terminal.text
    for argv in (("capture", "deploy"), ("logs", "deploy"), ("info", "deploy"), ("search", "deploy", "gone")):
        sandbox.toowl(*argv, check=False)
    assert listed(sandbox)["deploy"]["display"] == "awaiting"
