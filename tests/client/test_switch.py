"""From a session to another on the same terminal: all of it, or none of it."""

from __future__ import annotations

import os
import re
import signal
from itertools import pairwise
from typing import Any

import pytest

from tests.daemon.steps import listed, stopped
from tests.frozen.test_skew import old as old
from tests.harness import PAINTED, Sandbox, Terminal, wait_for

CHORD = b"\x1cd"


def make(sandbox: Sandbox, *names: str, **params: Any) -> None:
    for name in names:
        script = f'echo this is {name}; stty -echo; while read -r line; do eval "$line"; done'
        sandbox.new("sh", "-c", script, name=name, **params)


def attach(sandbox: Sandbox, name: str, *options: str) -> Terminal:
    terminal = sandbox.attach_pty(name, 24, 80, *options)
    terminal.expect(PAINTED)
    return terminal


def attended(sandbox: Sandbox) -> dict[str, int]:
    return {name: item["clients"] for name, item in listed(sandbox).items()}


def wait_attended(sandbox: Sandbox, **wanted: int) -> None:
    wait_for(lambda: attended(sandbox) == wanted, what=f"{wanted} to be attached")


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_from_inside(sandbox: Sandbox, persistent: bool) -> None:
    """E6: as a user types it; there and back, and the child's status at the end."""
    sandbox.up()
    make(sandbox, "one", "two", persistent=persistent)
    terminal = attach(sandbox, "one")
    before = terminal.modes()
    terminal.send("python -m toowl switch two\r")
    terminal.expect("this is two")
    wait_attended(sandbox, one=0, two=1)
    terminal.send("echo typed in $TOOWL_NAME\r")
    terminal.expect("typed in two")
    terminal.resize(30, 100)
    wait_for(lambda: (listed(sandbox)["two"]["rows"], listed(sandbox)["two"]["cols"]) == (30, 100))
    assert listed(sandbox)["one"]["rows"] == 24
    terminal.send("python -m toowl switch one\r")
    terminal.expect("this is one", count=2)
    wait_attended(sandbox, one=1, two=0)
    assert terminal.modes() == before, "raw all the time"
    terminal.send("exit 7\r")
    assert terminal.wait() == 7
    assert listed(sandbox)["two"]["display"] == "detached"


def test_from_inside_it_is_the_terminal_that_was_typed_at(sandbox: Sandbox) -> None:
    """Another one that is attached stays where it is, and so does one that only watches; the same with detach."""
    sandbox.up()
    make(sandbox, "one", "two")
    here, there, viewer = (
        attach(sandbox, "one"),
        attach(sandbox, "one"),
        attach(sandbox, "one", "--read-only"),
    )
    here.send("python -m toowl switch two\r")
    wait_attended(sandbox, one=2, two=1)
    here.send("python -m toowl switch one\r")
    wait_attended(sandbox, one=3, two=0)
    there.send("python -m toowl detach\r")
    assert there.wait() == 0
    wait_attended(sandbox, one=2, two=0)
    here.send("python -m toowl switch --all two\r")
    wait_attended(sandbox, one=0, two=2)
    for terminal in (here, viewer):
        terminal.send(CHORD)
        assert terminal.wait() == 0


def test_to_where_one_is(sandbox: Sandbox) -> None:
    sandbox.up()
    make(sandbox, "one")
    terminal = attach(sandbox, "one")
    number = sandbox.info("one")["client_list"][0]["client"]
    assert "nothing changes" in sandbox.toowl("switch", "one", "one").stderr
    terminal.send("echo still $TOOWL_NAME\r")
    terminal.expect("still one")
    assert [one["client"] for one in sandbox.info("one")["client_list"]] == [number]


def test_one_that_can_not_be_attached(sandbox: Sandbox) -> None:
    """E6, Z22: the old attachment stays, whoever finds out that it can't be: who asked, or the terminal."""
    sandbox.up()
    make(sandbox, "one", "hangs")
    sandbox.toowl("new", "--awaiting", "-n", "broken", "--", "/nope")
    terminal = attach(sandbox, "one")
    number = sandbox.info("one")["client_list"][0]["client"]
    unknown = sandbox.toowl("switch", "one", "nobody", check=False)
    assert unknown.returncode == 3 and '"nobody" not found' in unknown.stderr
    sandbox.toowl("switch", "one", "broken")
    terminal.expect("[still in one: can't start /nope: No such file or directory")
    with stopped(listed(sandbox)["hangs"]["custodian_pid"]):
        sandbox.toowl("switch", "one", "hangs")
        terminal.expect("[still in one: ", count=2)
    terminal.send("echo and it $((40 + 2)) works\r")
    terminal.expect("and it 42 works")
    assert [one["client"] for one in sandbox.info("one")["client_list"]] == [number]
    terminal.send(CHORD)
    assert terminal.wait() == 0


def test_all_that_are_attached_or_one_of_them(sandbox: Sandbox) -> None:
    sandbox.up()
    make(sandbox, "one", "two")
    first, viewer = attach(sandbox, "one"), attach(sandbox, "one", "--read-only")
    numbers = [one["client"] for one in sandbox.info("one")["client_list"]]
    sandbox.toowl("switch", "one", "two", "--client", str(numbers[0]))
    wait_attended(sandbox, one=1, two=1)
    sandbox.toowl("switch", "two", "one")
    wait_attended(sandbox, one=2, two=0)
    sandbox.toowl("switch", "one", "two")
    wait_attended(sandbox, one=0, two=2)
    assert sorted(one["role"] for one in sandbox.info("two")["client_list"]) == ["peer", "viewer"]
    assert "nobody is attached" in sandbox.toowl("switch", "one", "two").stderr
    gone = sandbox.toowl("switch", "two", "one", "--client", "99", check=False)
    assert gone.returncode == 1 and "`toowl clients`" in gone.stderr
    for terminal in (first, viewer):
        terminal.send(CHORD)
        assert terminal.wait() == 0


def test_to_one_that_has_ended_or_waits(sandbox: Sandbox) -> None:
    sandbox.up()
    make(sandbox, "one", "over")
    sandbox.toowl("new", "--awaiting", "-n", "later", "--", "sh", "-c", "echo here I am; cat")
    sandbox.send("over", b"exit\n")
    wait_for(lambda: listed(sandbox)["over"]["state"] == "ended")
    terminal = attach(sandbox, "one")
    sandbox.toowl("switch", "one", "over")
    terminal.expect("--- shell restarted ---")
    wait_attended(sandbox, one=0, over=1, later=0)
    sandbox.toowl("switch", "over", "later")
    terminal.expect("here I am")
    terminal.send(CHORD)
    assert terminal.wait() == 0 and "[detached from later]" in terminal.text


def test_a_terminal_never_shows_the_session_that_it_is_in(sandbox: Sandbox) -> None:
    sandbox.up()
    make(sandbox, "one", "two")
    terminal = attach(sandbox, "one")
    terminal.send("python -m toowl attach two\r")
    terminal.expect("this is two")
    wait_attended(sandbox, one=1, two=1)
    sandbox.toowl("switch", "two", "one")
    terminal.expect("would loop")
    assert attended(sandbox) == {"one": 1, "two": 1}


def test_what_one_session_switched_on_is_not_on_in_the_other(sandbox: Sandbox) -> None:
    sandbox.up()
    make(sandbox, "one", "two")
    terminal = attach(sandbox, "one")
    terminal.send(r"printf '\033[?1049h\033[?1000h\033[?2004hfull screen'" + "\r")
    terminal.expect("full screen")
    terminal.forget()
    sandbox.toowl("switch", "one", "two")
    terminal.expect("this is two")
    before, _, _ = terminal.output.partition(b"this is two")
    for off in (b"\x1b[?1049l", b"\x1b[?1000l", b"\x1b[?2004l"):
        assert off in before
    assert b"full screen" not in terminal.output


def test_back_and_forth_under_flood(sandbox: Sandbox) -> None:
    """Z4: nobody is attached twice, and what is shown between two switches has each line once, and no hole."""
    sandbox.up()
    for name in ("a", "b"):
        count = f'i=0; while :; do printf "{name} %d once\\n" $i; i=$((i+1)); done'
        sandbox.new("bash", "-c", count, name=name)
    terminal = sandbox.attach_pty("a", 24, 80, "--no-replay")
    wait_attended(sandbox, a=1, b=0)
    for turn in range(24):
        source, target = ("a", "b") if turn % 2 == 0 else ("b", "a")
        terminal.expect(f"{source} ", count=terminal.output.count(f"{source} ".encode()) + 1)
        with sandbox.client() as client:
            assert client.request("switch", session=source, to=target)["asked"] == 1
        wait_attended(sandbox, **{source: 0, target: 1})
    terminal.send(CHORD)
    assert terminal.wait() == 0
    wait_attended(sandbox, a=0, b=0)
    # A line that was cut where another session begins is none.
    lines = [(name, int(number)) for name, number in re.findall(rb"([ab]) (\d+) once\r\n", terminal.output)]
    for letter in (b"a", b"b"):
        own = [number for which, number in lines if which == letter]
        assert len(own) > 24 and own == sorted(set(own)), "each line once"
    holes = [(one, other) for one, other in pairwise(lines) if one[0] == other[0] and other[1] != one[1] + 1]
    assert holes == []
    assert sum(one[0] != other[0] for one, other in pairwise(lines)) <= 24


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_terminals_stay_with_a_session_that_is_restarted(sandbox: Sandbox, persistent: bool) -> None:
    """Z11: all of them follow to the new child, which gets nothing that was meant for the old one."""
    sandbox.up()
    make(sandbox, "one", persistent=persistent)
    terminals = [attach(sandbox, "one"), attach(sandbox, "one", "--read-only")]
    pid = listed(sandbox)["one"]["pid"]
    for _ in range(2):
        sandbox.toowl("restart", "one", "--yes")
        wait_attended(sandbox, one=2)
    for terminal in terminals:
        terminal.expect("--- shell restarted ---", count=2)
    terminals[0].send("echo $((6 * 7)) is new\r")
    for terminal in terminals:
        terminal.expect("42 is new")
    assert listed(sandbox)["one"]["pid"] != pid
    terminals[0].send("exit 3\r")
    assert [terminal.wait() for terminal in terminals] == [3, 3], "an end that is one"


def test_a_restart_that_fails_ends_the_attachment(sandbox: Sandbox) -> None:
    sandbox.up()
    program = sandbox.root / "program"
    program.write_text("#!/bin/sh\necho here I am\nexec cat\n")
    program.chmod(0o755)
    sandbox.new(str(program), name="one")
    terminal = attach(sandbox, "one")
    program.unlink()
    assert "can't start" in sandbox.toowl("restart", "one", "--yes", check=False).stderr
    assert terminal.wait() == 1
    assert "[one failed]" in terminal.text


def test_an_older_client_stays_and_its_user_is_told(sandbox: Sandbox, old: str) -> None:
    sandbox.up()
    make(sandbox, "one", "two")
    terminal = sandbox.terminal("toowl", "attach", "one", PYTHONPATH=old)
    terminal.expect("this is one")
    refused = sandbox.toowl("switch", "one", "two", check=False)
    assert refused.returncode == 4 and "older version" in refused.stderr
    assert attended(sandbox) == {"one": 1, "two": 0}
    os.kill(terminal.pid, signal.SIGTERM)
