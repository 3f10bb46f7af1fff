"""Sessions that are ended and forgotten by hand: nothing of them runs on, whoever ignores it, hangs or is gone."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from tests.daemon.steps import displayed, killed_by, listed, ls, running, settings, shell, wait_displayed
from tests.harness import Sandbox, alive, wait_for
from toowld.client import Client


def ignoring(*names: str) -> str:
    """A script that does not care about some signals, and says when it doesn't."""
    return f"trap '' {' '.join(names)}; echo ready; while :; do sleep 1000; done"


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_kill_leaves_no_background_job(sandbox: Sandbox, persistent: bool) -> None:
    """G14: neither in the shell's own group, nor a job of its own, nor one that ignores the hangup."""
    sandbox.up(persistent)
    shell(sandbox, "work")
    other = shell(sandbox, "other")
    sandbox.send("work", b"sleep 4711 & nohup sleep 4712 >/dev/null 2>&1 & (trap '' HUP; sleep 4713) &\r")
    wait_for(lambda: sum(len(running(sandbox, n)) for n in (4711, 4712, 4713)) == 3)
    sandbox.toowl("kill", "work")
    assert not [process for n in (4711, 4712, 4713) for process in running(sandbox, n)]
    assert ls(sandbox)["work"]["state"] == "ended"
    assert ls(sandbox)["other"]["pid"] == other["pid"]
    sandbox.toowl("rm", "work")
    assert set(ls(sandbox)) == {"other"}


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_kill_force_ends_who_ignores_everything(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(persistent)
    script = "trap 'echo hit' HUP TERM INT; echo ready; while :; do sleep 0.1; done"
    info = sandbox.new("sh", "-c", script, name="stubborn")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    sandbox.toowl("kill", "--force", "stubborn")
    assert killed_by(sandbox, "stubborn") == 9
    assert not alive(info["pid"])
    assert b"hit" not in sandbox.output(info["id"]), "nothing else was tried before"


def test_kill_escalates_by_itself(sandbox: Sandbox) -> None:
    """HUP is ignored, TERM is not."""
    sandbox.up()
    info = sandbox.new("sh", "-c", "trap '' HUP; echo ready; while :; do sleep 0.1; done", name="deaf")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    sandbox.toowl("kill", "deaf")
    assert killed_by(sandbox, "deaf") == 15


def test_kill_ends_a_stopped_job(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("sh", "-c", "sleep 4711", name="work")
    for process in wait_for(lambda: running(sandbox, 4711)):
        process.suspend()
    sandbox.toowl("kill", "work")
    assert not running(sandbox, 4711)
    assert not alive(info["pid"])


@pytest.mark.parametrize("restarted", [False, True], ids=["linked", "never reached"])
def test_kill_with_a_custodian_that_hangs(sandbox: Sandbox, restarted: bool) -> None:
    """G6: refused, and the record is kept; with --force everything of it ends."""
    settings(sandbox, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.send("work", b"trap '' HUP; nohup sleep 4711 &\r")
    wait_for(lambda: running(sandbox, 4711))
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    if restarted:
        sandbox.restart()
    done = sandbox.toowl("kill", "work", check=False)
    assert done.returncode == 4
    assert len(done.stderr.splitlines()) == 1
    assert "--force" in done.stderr
    assert displayed(sandbox, "work") == "unreachable"
    assert alive(info["pid"])
    assert alive(info["custodian_pid"])
    assert sandbox.toowl("rm", "work", check=False).returncode == 4
    assert (sandbox.paths.session(info["id"]) / "record").exists()
    sandbox.toowl("kill", "--force", "work")
    assert not alive(info["pid"])
    assert not alive(info["custodian_pid"])
    assert not running(sandbox, 4711)
    assert killed_by(sandbox, "work") == 9
    sandbox.restart()
    assert killed_by(sandbox, "work") == 9
    assert "nothing was lost" in sandbox.toowl("restore", "--all").stderr
    settings(sandbox, tick=0.1, ended_retention=0)
    sandbox.restart()
    wait_for(lambda: not listed(sandbox), what="what ended as somebody wanted to be forgotten")


def test_force_reaches_the_jobs_of_a_shell_that_is_gone(sandbox: Sandbox) -> None:
    """The custodian hangs, so nobody has reaped the shell; what it left runs on."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.send("work", b"nohup sleep 4711 &\r")
    wait_for(lambda: running(sandbox, 4711))
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    os.kill(info["pid"], signal.SIGKILL)
    wait_for(lambda: not alive(info["pid"]))
    sandbox.toowl("kill", "--force", "work")
    assert not running(sandbox, 4711)
    assert not alive(info["custodian_pid"])


def without_custodian(sandbox: Sandbox) -> dict[str, Any]:
    """A session called stubborn, whose program does not care that its custodian was killed."""
    info = sandbox.new("sh", "-c", ignoring("HUP"), name="stubborn")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "stubborn", "ended (lost)")
    return info


def test_a_record_outlives_its_custodian_as_long_as_the_child(sandbox: Sandbox) -> None:
    """Z5: the child does not care that its terminal is gone; it is not forgotten before it has ended."""
    sandbox.up()
    info = without_custodian(sandbox)
    done = sandbox.toowl("rm", "stubborn", check=False)
    assert done.returncode == 4
    assert f"pid {info['pid']}" in done.stderr
    sandbox.restart()
    assert sandbox.toowl("rm", "stubborn", check=False).returncode == 4
    assert sandbox.info("stubborn")["restorable"]
    sandbox.toowl("kill", "stubborn")
    assert not alive(info["pid"])
    found = sandbox.info("stubborn")
    assert (found["display"], found["restorable"], found["error"]) == ("ended (killed)", False, None)
    sandbox.toowl("rm", "stubborn")
    assert not ls(sandbox)


def test_a_restart_ends_a_child_that_outlived_its_custodian(sandbox: Sandbox) -> None:
    sandbox.up()
    info = without_custodian(sandbox)
    sandbox.toowl("restart", "--yes", "stubborn")
    assert not alive(info["pid"])
    assert sandbox.info("stubborn")["display"] == "detached"


def test_remove_refuses_what_runs(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    done = sandbox.toowl("rm", "work", check=False)
    assert done.returncode == 4
    assert "toowl kill work" in done.stderr
    sandbox.toowl("kill", "work")
    folder = sandbox.paths.session(ls(sandbox)["work"]["id"])
    sandbox.toowl("rm", "work")
    assert not folder.exists()
    sandbox.restart()
    assert not ls(sandbox), "forgotten for good"
    assert sandbox.toowl("rm", "work", check=False).returncode == 3


def test_inside_custodians_socket_a_client_may_do_the_same(sandbox: Sandbox) -> None:
    """With the daemon down: info, send, kill at the custodian itself; the next daemon knows."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as client:
        assert client.request("info")["pid"] == info["pid"]
        client.request("kill", force=True)
    wait_for(lambda: not alive(info["custodian_pid"]))
    sandbox.up()
    assert killed_by(sandbox, "work") == 9
