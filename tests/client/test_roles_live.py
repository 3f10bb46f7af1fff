"""Real terminals that take the lead, or the place of others, and what is told of who is attached."""

from __future__ import annotations

import json
import os
import re
import signal
from typing import Any

import pytest

from tests.frozen.test_skew import ZIPS, version_in
from tests.frozen.test_skew import old as old
from tests.harness import PAINTED, Sandbox, Terminal, wait_for

CHORD = b"\x1cd"

#: Says what is typed, and its size with it.
_TELLS = 'stty -echo; echo ready; while :; do read -r line && echo "<$line> $(stty size)"; done'


@pytest.fixture
def session(sandbox: Sandbox) -> str:
    sandbox.up()
    made: str = sandbox.new("bash", "-c", _TELLS, name="work")["id"]
    return made


def attach(sandbox: Sandbox, rows: int, cols: int, *options: str) -> Terminal:
    terminal = sandbox.attach_pty("work", rows, cols, *options)
    terminal.expect(PAINTED)
    return terminal


def clients(sandbox: Sandbox) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = sandbox.info("work")["client_list"]
    return found


def roles(sandbox: Sandbox) -> list[str]:
    return [client["role"] for client in clients(sandbox)]


def wait_size(sandbox: Sandbox, session: str, rows: int, cols: int) -> None:
    """The session has that size, and its program sees it."""

    def is_so() -> bool:
        info = sandbox.info("work")
        return (info["rows"], info["cols"]) == (rows, cols)

    wait_for(is_so, what=f"{cols}x{rows}")
    before = len(sandbox.output(session))
    sandbox.send("work", b"size?\n")
    wait_for(
        lambda: b"<size?> %d %d\r\n" % (rows, cols) in sandbox.output(session)[before:], what="its program"
    )


def test_the_lead_decides_until_it_leaves_or_another_does(sandbox: Sandbox, session: str) -> None:
    """E7."""
    small = attach(sandbox, 24, 80)
    large = attach(sandbox, 40, 120, "--take-lead")
    wait_size(sandbox, session, 40, 120)
    small.send("typed by the small one\r")
    large.expect("<typed by the small one> 40 120")
    small.resize(20, 60)
    large.resize(50, 130)
    wait_size(sandbox, session, 50, 130)
    other = attach(sandbox, 30, 100, "--take-lead")
    wait_size(sandbox, session, 30, 100)
    assert roles(sandbox) == ["peer", "peer", "lead"]
    other.send(CHORD)
    assert other.wait() == 0
    wait_size(sandbox, session, 20, 60)
    large.send(CHORD)
    small.send(CHORD)
    assert (large.wait(), small.wait()) == (0, 0)


def test_the_lead_stays_over_an_upgrade(sandbox: Sandbox, session: str) -> None:
    small, large = attach(sandbox, 24, 80), attach(sandbox, 40, 120, "--take-lead")
    wait_size(sandbox, session, 40, 120)
    sandbox.toowld("upgrade", "work")
    assert roles(sandbox) == ["peer", "lead"]
    small.send("still\r")
    large.expect("<still> 40 120")
    sandbox.toowl("detach", "work", "--client", str(clients(sandbox)[1]["client"]))
    assert large.wait() == 0
    wait_size(sandbox, session, 24, 80)


def test_stealing(sandbox: Sandbox, session: str) -> None:
    others = [attach(sandbox, 24, 80), attach(sandbox, 20, 70, "--read-only")]
    thief = attach(sandbox, 40, 120, "-d")
    for other in others:
        assert other.wait() == 0
        assert "[detached from work: taken over from another terminal]" in other.text
    wait_size(sandbox, session, 40, 120)
    assert roles(sandbox) == ["peer"]
    thief.send("mine\r")
    thief.expect("<mine>")


def test_clients_are_listed(sandbox: Sandbox, session: str) -> None:
    assert "nobody is attached" in sandbox.toowl("clients", "work").stderr
    first = attach(sandbox, 24, 80, "--take-lead")
    attach(sandbox, 20, 70, "--read-only")
    attach(sandbox, 24, 80)
    wait_for(lambda: [client["state"] for client in clients(sandbox)] == ["live"] * 3)
    lines = sandbox.toowl("clients", "work").stdout.splitlines()
    cells = [re.split("  +", line) for line in lines]
    assert cells[0] == ["CLIENT", "TTY", "PID", "SIZE", "ROLE", "ATTACHED", "IDLE", "OUTPUT"]
    assert [row[3:5] for row in cells[1:]] == [["80x24", "lead"], ["70x20", "viewer"], ["80x24", "-"]]
    assert cells[1][2] == str(first.pid) and cells[1][1].startswith("/dev/pts/") and cells[1][7] == "live"
    as_json = json.loads(sandbox.toowl("clients", "work", "--json").stdout)
    assert [client["role"] for client in as_json] == ["lead", "viewer", "peer"]
    assert "lead" in sandbox.toowl("info", "work").stdout
    assert as_json[0]["typed_at"] >= as_json[0]["since"] - 1
    assert "not found" in sandbox.toowl("clients", "nobody", check=False).stderr


@pytest.mark.parametrize("how", ["its terminal takes nothing", "it is stopped"])
def test_who_takes_nothing_is_said_to(sandbox: Sandbox, session: str, how: str) -> None:
    """Honest liveness: attached is not alive. Of one who is not behind by much, too."""
    attach(sandbox, 24, 80)
    viewer = attach(sandbox, 24, 80, "--read-only")  # which keeps its terminal
    if how == "it is stopped":
        os.kill(viewer.pid, signal.SIGSTOP)
        sandbox.send("work", b"one line\n")
    else:
        viewer.stall()
        sandbox.send("work", b"x" * 1000 + b"\n")
        for _ in range(200):
            sandbox.send("work", b"x" * 1000 + b"\n")
    wait_for(
        lambda: [client["state"] for client in clients(sandbox)] == ["live", "stalled"], what="the truth"
    )
    text = sandbox.toowl("clients", "work").stdout
    assert re.search(r"viewer .* stalled", text)
    if how == "it is stopped":
        os.kill(viewer.pid, signal.SIGCONT)
    else:
        assert re.search(r"stalled, [\d.]+ KiB behind", text)
        viewer.go_on()
    wait_for(
        lambda: all(one["state"] == "live" and not one["behind"] for one in clients(sandbox)), what="both"
    )


@pytest.mark.parametrize("option", ["--take-lead", "--steal"])
def test_a_keeper_that_knows_no_roles_says_so(sandbox: Sandbox, old: str, option: str) -> None:
    sandbox.up(PYTHONPATH=old)
    session = sandbox.new("/bin/cat", name="work")["id"]
    sandbox.restart()
    assert len(ZIPS) == 1 and sandbox.info("work")["custodian_version"] == version_in(old)
    first = attach(sandbox, 24, 80)
    second = sandbox.attach_pty("work", 40, 120, option)
    assert second.wait() == 4
    assert f"`toowld upgrade {session}`" in second.text and "older version" in second.text
    wait_for(lambda: len(clients(sandbox)) == 1, what="it to be gone")
    row = sandbox.toowl("clients", "work").stdout.splitlines()[1]
    assert re.split("  +", row)[3:] == ["80x24", "-", re.split("  +", row)[5], "-", "-"]
    sandbox.toowld("upgrade", "work")
    third = sandbox.attach_pty("work", 40, 120, option)
    third.expect(PAINTED)
    wait_for(lambda: roles(sandbox)[-1] == ("lead" if option == "--take-lead" else "peer"))
    if option == "--steal":
        assert first.wait() == 0


def test_who_watches_can_not_lead(sandbox: Sandbox, session: str) -> None:
    terminal = sandbox.attach_pty("work", 24, 80, "--read-only", "--take-lead")
    assert terminal.wait() == 2 and "not allowed with" in terminal.text
