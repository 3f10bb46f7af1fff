"""`toowl ls` wakes nobody who is at rest, and shows all the same how it is now."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.daemon.steps import displayed, listed, settings, shell, stopped
from tests.harness import Sandbox, wait_for
from toowld.daemon.process import Sleep, cpu_time, is_stopped, sleeps

#: Goes elsewhere when it is told to, and says nothing of it.
WANDERER = """
import os, signal
signal.signal(signal.SIGUSR1, lambda *_: os.chdir("/usr"))
while True:
    signal.pause()
"""


def switches(pid: int) -> int:
    """How often a process went to sleep: the same twice, and it was not woken in between."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("voluntary_ctxt_switches"))


def at_rest(box: Sandbox, pid: int) -> int:
    """List until that wakes the custodian no more; its count."""

    def asleep() -> int:
        wait_for(lambda: sleeps(pid))  # a switch is counted when it goes to sleep again
        return switches(pid)

    def unchanged() -> int:
        before = asleep()
        listed(box)
        return before if asleep() == before else 0

    return int(wait_for(unchanged, what="a custodian that is left alone"))


def printed(box: Sandbox, session_id: str, count: int) -> None:
    """Wait for so much output in the log."""
    wait_for(lambda: len(box.output(session_id)) == count)


def test_one_at_rest_is_not_woken(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("/bin/cat", name="work")  # which prints nothing, not even a prompt
    before = at_rest(sandbox, info["custodian_pid"])
    shown = [listed(sandbox)["work"] for _ in range(20)]
    assert switches(info["custodian_pid"]) == before
    assert all(one == shown[0] for one in shown)


def test_one_that_prints_nothing_is_at_rest_from_the_start(sandbox: Sandbox) -> None:
    sandbox.up()
    pid = sandbox.new("/bin/cat", name="work")["custodian_pid"]
    wait_for(lambda: sleeps(pid))
    before = switches(pid)
    for _ in range(5):
        assert listed(sandbox)["work"]["display"] == "detached"
    assert switches(pid) == before


def test_the_daemon_itself_leaves_it_alone_after_a_while(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.02)
    daemon = sandbox.up()
    info = sandbox.new("/bin/cat", name="cat")
    sandbox.send("cat", b"x")
    printed(sandbox, info["id"], 1)

    def woken() -> int:
        """How often it was, in some tens of ticks."""
        before, until = switches(info["custodian_pid"]), switches(daemon) + 50
        wait_for(lambda: switches(daemon) >= until)
        return switches(info["custodian_pid"]) - before

    wait_for(lambda: woken() == 0)
    assert listed(sandbox)["cat"]["seq"] == 1


def test_what_it_prints_is_seen(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("/bin/cat", name="cat")
    for turn in range(1, 6):
        at_rest(sandbox, info["custodian_pid"])
        sandbox.send("cat", b"x")
        printed(sandbox, info["id"], turn)
        assert listed(sandbox)["cat"]["seq"] == turn


def test_where_it_goes_is_seen(sandbox: Sandbox) -> None:
    """A custodian does not notice that: there is nothing to wake it."""
    sandbox.up()
    info = sandbox.new(sys.executable, "-c", WANDERER, name="wanderer", cwd="/")
    wait_for(lambda: _catches(info["pid"], signal.SIGUSR1))
    before = at_rest(sandbox, info["custodian_pid"])
    os.kill(info["pid"], signal.SIGUSR1)
    wait_for(lambda: listed(sandbox)["wanderer"]["cwd"] == "/usr")
    assert switches(info["custodian_pid"]) == before
    sandbox.restart()
    assert listed(sandbox)["wanderer"]["cwd"] == "/usr"


def test_one_that_is_stopped_is_found_out(sandbox: Sandbox) -> None:
    """By the first list after that."""
    sandbox.up()
    info = shell(sandbox, "work")
    at_rest(sandbox, info["custodian_pid"])
    with stopped(info["custodian_pid"]):
        wait_for(lambda: is_stopped(info["custodian_pid"]))
        assert displayed(sandbox, "work") == "unreachable"
    wait_for(lambda: displayed(sandbox, "work") == "detached")


def test_nobody_is_stopped_without_having_run() -> None:
    """What `Sleep` relies on, which does not look again while the clock says so."""
    with subprocess.Popen(["sleep", "999"]) as child:
        try:
            for _ in range(100):
                wait_for(lambda: sleeps(child.pid))
                asleep, sleep = cpu_time(child.pid), Sleep()
                assert sleep.lasts(child.pid)
                with stopped(child.pid):
                    wait_for(lambda: is_stopped(child.pid))
                    assert cpu_time(child.pid) != asleep
                    assert not sleep.lasts(child.pid)
        finally:
            child.kill()
    assert not sleep.lasts(child.pid)


def test_a_daemon_that_comes_later_asks(sandbox: Sandbox) -> None:
    """Who promised to tell a daemon, has promised nothing to its successor."""
    sandbox.up()
    info: dict[str, Any] = sandbox.new("/bin/cat", name="cat")
    at_rest(sandbox, info["custodian_pid"])
    sandbox.kill9()
    sandbox.up()
    at_rest(sandbox, info["custodian_pid"])
    sandbox.send("cat", b"x")
    wait_for(lambda: listed(sandbox)["cat"]["seq"] == 1)


def _catches(pid: int, signum: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt"))
    return bool(caught >> (signum - 1) & 1)
