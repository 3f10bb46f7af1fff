"""Which ended sessions are forgotten by themselves, and when; and that the settings of it are read again."""

from __future__ import annotations

import json
import os
import signal
import time

from tests.daemon.steps import displayed, listed, ls, settings, shell, wait_displayed
from tests.harness import Sandbox, alive, wait_for


def test_exited_sessions_are_forgotten_lost_and_failed_ones_never(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.2)
    sandbox.up()
    lost = sandbox.new("sleep", "999", name="lost")
    program = sandbox.root / "program"
    program.symlink_to("/bin/true")
    sandbox.new(str(program), name="failed")
    wait_displayed(sandbox, "failed", "ended (exited 0)")
    program.unlink()
    sandbox.toowl("restart", "failed", "--yes", check=False)
    settings(sandbox, ended_retention=0.5, tick=0.2)  # only now: a restart may take longer
    sandbox.toowld("reload")
    os.kill(lost["custodian_pid"], signal.SIGKILL)
    running = shell(sandbox, "running")
    exited = sandbox.new("true", name="exited")
    wait_for(lambda: "exited" not in listed(sandbox), what="the exited one to be forgotten")
    assert not sandbox.paths.session(exited["id"]).exists()
    found = {name: item["display"] for name, item in ls(sandbox).items()}
    assert found == {"lost": "ended (lost)", "failed": "ended (failed)", "running": "detached"}
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 1.0)  # five ticks, twice the retention
    assert set(listed(sandbox)) == {"lost", "failed", "running"}
    assert alive(running["pid"])


def test_an_ended_session_that_somebody_looks_at(sandbox: Sandbox) -> None:
    """Started again before its time was over: it is not forgotten under the user's hands."""
    settings(sandbox, ended_retention=1.0, tick=0.1)
    sandbox.up()
    shell(sandbox, "work")
    sandbox.send("work", b"exit\r")
    wait_displayed(sandbox, "work", "ended (exited 0)")
    terminal = sandbox.attach_pty("work")
    terminal.expect("shell restarted")
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 1.5)
    assert displayed(sandbox, "work") == "attached"


def test_settings_are_read_again_at_hangup(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.1)
    sandbox.up()
    sandbox.new("true", name="old")
    wait_displayed(sandbox, "old", "ended (exited 0)")
    settings(sandbox, tick=0.1, ended_retention=0)
    os.kill(sandbox.daemon_pid, signal.SIGHUP)
    wait_for(lambda: not listed(sandbox))
    sandbox.configure("[daemon]\nscrollback_bytes = 'many'\n")
    os.kill(sandbox.daemon_pid, signal.SIGHUP)
    wait_for(lambda: "the settings stay as they were" in sandbox.daemon_text())
    assert json.loads(sandbox.toowld("status", "--json").stdout)["pid"] == sandbox.daemon_pid
