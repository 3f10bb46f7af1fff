"""T2: a session that won't reconnect. What is said of it, what tries again, and what ends it for good."""

from __future__ import annotations

import os
import signal
from contextlib import suppress

import pytest

from tests.daemon.steps import ask, displayed, listed, ls, settings, shell, stopped, wait_displayed
from tests.harness import Sandbox, alive, peer_pid, wait_for
from toowld.wire import Event


def left_stopped(box: Sandbox, name: str, *, known: bool) -> int:
    """A custodian that is stopped for good. ``known``: it had answered this daemon before."""
    custodian: int = listed(box)[name]["custodian_pid"]
    if known:
        os.kill(custodian, signal.SIGSTOP)
    else:
        box.kill9()
        os.kill(custodian, signal.SIGSTOP)
        box.up()
    wait_displayed(box, name, "unreachable")
    return custodian


@pytest.mark.parametrize(
    "known", [True, False], ids=["it had answered before", "it never answered this daemon"]
)
def test_one_that_hangs_for_good_is_started_afresh(sandbox: Sandbox, known: bool) -> None:
    """T2, Z12: where somebody says so, and confirms it; nothing is left of the one before but its scrollback."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.send("work", b"sleep 4711 &\r")
    job = int(ask(sandbox, info["id"], "$!"))
    custodian = left_stopped(sandbox, "work", known=known)
    if not known:  # then that is told at once
        hint = f"as it is stopped: `kill -CONT {custodian}` lets it go on, "
        for words, told in (
            (("kill",), f"{hint}`toowl kill --force work` kills all that runs in it\n"),
            (("restart", "--yes"), f"{hint}`toowl restart --force work` kills all that runs in it and "),
            (("restart", "--force"), "a restart ends what runs in it: say --yes if that is meant"),
        ):
            refused = sandbox.toowl(*words, "work", check=False)
            assert refused.returncode == 4 and told in refused.stderr and refused.stderr.count("\n") == 1
    assert all(map(alive, (custodian, info["pid"], job)))
    terminal = sandbox.terminal("toowl", "restart", "--force", "work")
    terminal.expect("End it and start afresh? [y/N] ")
    terminal.send("y\r")
    assert terminal.wait() == 0
    assert not any(map(alive, (custodian, info["pid"], job)))
    again = ls(sandbox)["work"]
    assert (again["id"], again["display"], again["persistent"]) == (info["id"], "detached", True)
    assert set(sandbox.custodians()) == {info["id"]}
    assert ask(sandbox, info["id"], "$$") == str(again["pid"]) != str(info["pid"])
    output = sandbox.output(info["id"])
    assert output.index(b"sleep 4711") < output.index(b"shell restarted")
    assert output.count(b"shell restarted") == 1
    sandbox.restart()
    assert listed(sandbox)["work"]["pid"] == again["pid"], "nobody takes it for the one that hung"


def test_terminals_stay_with_one_that_is_started_afresh(sandbox: Sandbox) -> None:
    """Its custodian could not ask them to; and the next that hangs is told of again."""
    settings(sandbox, tick=0.2)
    sandbox.up()
    shell(sandbox, "work")
    terminal = sandbox.attach_pty("work")
    wait_for(lambda: listed(sandbox)["work"]["clients"] == 1)
    with sandbox.client() as client:
        client.request("subscribe", names=["unreachable", "ended", "restarted"])
        left_stopped(sandbox, "work", known=True)
        sandbox.toowl("restart", "--force", "--yes", "work")
        terminal.expect("--- shell restarted ---")
        terminal.send("echo $((6 * 7)) is new\r")
        terminal.expect("42 is new")
        with stopped(listed(sandbox)["work"]["custodian_pid"]):
            wait_displayed(sandbox, "work", "unreachable")
            events = [client.receive(timeout=20) for _ in range(4)]
    assert [event.name for event in events if isinstance(event, Event)] == [
        "unreachable", "ended", "restarted", "unreachable"
    ]  # fmt: skip


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_force_ends_at_once_who_does_answer(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(persistent)
    info = sandbox.new("sh", "-c", "trap '' HUP TERM; echo ready; while :; do sleep 1; done", name="stubborn")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    sandbox.toowl("restart", "--force", "--yes", "stubborn")
    again = listed(sandbox)["stubborn"]
    assert not alive(info["pid"]) and alive(again["pid"])
    assert again["exit_signal"] is None and again["display"] == "detached"


def test_reconnect_does_at_once_what_the_tick_would(sandbox: Sandbox) -> None:
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    shell(sandbox, "other")
    sandbox.kill9()
    path, hidden = sandbox.paths.custodian_socket(info["id"]), sandbox.root / "hidden.sock"
    with stopped(info["custodian_pid"]):
        path.rename(hidden)
        sandbox.up()
        refused = sandbox.toowl("reconnect", "work", check=False)
        assert refused.returncode == 4 and refused.stderr.count("\n") == 1 and refused.stdout == ""
        assert f"`kill -CONT {info['custodian_pid']}` lets it go on" in refused.stderr
        with suppress(FileNotFoundError):
            hidden.rename(path)
    wait_for(lambda: peer_pid(path) == info["custodian_pid"])
    assert displayed(sandbox, "work") == "unreachable", "nobody has looked since"
    done = sandbox.toowl("reconnect", "work", "nobody", "other", check=False)
    assert done.stdout == "session work answers: it is detached\nsession other answers: it is detached\n"
    assert done.returncode == 3 and '"nobody" not found' in done.stderr and done.stderr.count("\n") == 1
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


def test_reconnect_waits_for_one_that_is_asked_already(sandbox: Sandbox) -> None:
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    custodian = left_stopped(sandbox, "work", known=False)
    assert sandbox.toowl("reconnect", "work", check=False).returncode == 4
    os.kill(custodian, signal.SIGCONT)
    assert "answers" in sandbox.toowl("reconnect", "work").stdout
    assert listed(sandbox)["work"]["pid"] == info["pid"]
    with stopped(custodian):  # one that had answered is asked, too
        assert "as it is stopped" in sandbox.toowl("reconnect", "work", check=False).stderr
        assert displayed(sandbox, "work") == "unreachable"
    assert "answers" in sandbox.toowl("reconnect", "work").stdout


def test_reconnect_finds_out_that_there_is_nobody(sandbox: Sandbox) -> None:
    """C4: and then says what became of it."""
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    shell(sandbox, "work")
    custodian = left_stopped(sandbox, "work", known=False)
    os.kill(custodian, signal.SIGKILL)
    wait_for(lambda: not alive(custodian))
    done = sandbox.toowl("reconnect", "work", check=False)
    assert done.returncode == 4 and done.stderr.startswith("toowl: session work is ended (lost): ")
    assert displayed(sandbox, "work") == "ended (lost)"


def test_what_is_not_known_is_not_started_afresh(sandbox: Sandbox) -> None:
    """Without its record nobody knows what to start: its custodian is not killed for that."""
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "precious")
    sandbox.kill9()
    (sandbox.paths.session(info["id"]) / "record").unlink()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        for words in (("restart", "--force", "--yes"), ("reconnect",)):
            refused = sandbox.toowl(*words, info["id"], check=False)
            assert refused.returncode == 4 and f"`toowl kill --force {info['id']}`" in refused.stderr
        assert alive(info["custodian_pid"])
    assert sandbox.toowl("reconnect", info["id"]).stdout == "session precious answers: it is detached\n"
    assert listed(sandbox)["precious"]["pid"] == info["pid"]
