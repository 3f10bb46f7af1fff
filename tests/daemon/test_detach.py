"""``toowld --detach``: the daemon in the background, with a pid file and a log file."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import psutil

from tests.daemon.steps import ls
from tests.harness import Sandbox, alive, wait_for


def pid_file(box: Sandbox) -> Path:
    return box.paths.runtime / "toowld.pid"


def test_toowl_alone_starts_a_daemon_that_detaches(sandbox: Sandbox) -> None:
    """The daemon that `toowl new` starts: pid file, log 0600, returns at once; stopped by `toowld stop`."""
    done = sandbox.toowl(
        "new",
        "-d",
        "-n",
        "auto",
        "--",
        "sleep",
        "999",
        TOOWL_NO_AUTOSTART="0",
        TOOWLD_PERSISTENT_SESSIONS="1",
    )
    assert re.fullmatch(r"[0-9a-f]{8}\n", done.stdout)
    status = json.loads(sandbox.toowld("status", "--json").stdout)
    daemon = psutil.Process(status["pid"])
    assert pid_file(sandbox).read_text().strip() == str(daemon.pid)
    assert sandbox.paths.daemon_log.stat().st_mode & 0o777 == 0o600
    assert daemon.cwd() == "/"
    daemon.kill()
    wait_for(lambda: not alive(daemon.pid))
    # What it left, its pid file too, is no obstacle.
    done = sandbox.toowld("--detach", TOOWLD_PERSISTENT_SESSIONS="1")
    assert ls(sandbox)["auto"]["display"] == "detached"
    sandbox.toowld("stop")
    wait_for(lambda: not pid_file(sandbox).exists())  # the last that goes
    [session] = sandbox.paths.sessions.iterdir()
    assert subprocess.run(["pgrep", "-f", f"custodian {session.name}"], check=False).returncode == 0


def test_one_that_is_refused_leaves_the_running_one_alone(sandbox: Sandbox) -> None:
    """Its pid file too; and the status says what kind of failure it was, as in the foreground."""
    sandbox.toowld("--detach")
    before = pid_file(sandbox).read_text()
    for arguments in (("--detach",), ()):
        second = sandbox.toowld(*arguments, check=False)
        assert second.returncode == 4
        assert second.stderr.startswith("toowld: a toowld is running already, pid ")
        assert pid_file(sandbox).read_text() == before
    sandbox.toowld("stop")
    wait_for(lambda: not pid_file(sandbox).exists())  # the last that goes


def started_by_toowl(box: Sandbox, **env: Any) -> bool:
    """Whether a session is persistent for which `toowl new` has to start a daemon; that is killed afterwards."""
    done = box.toowl("new", "-d", "--", "sleep", "999", TOOWL_NO_AUTOSTART="0", **env)
    made = box.info(done.stdout.strip())
    daemon = psutil.Process(json.loads(box.toowld("status", "--json").stdout)["pid"])
    daemon.kill()
    wait_for(lambda: not alive(daemon.pid))
    return bool(made["persistent"])


def test_toowl_starts_a_daemon_like_the_one_before(sandbox: Sandbox) -> None:
    """Whoever had persistent sessions has them after a crash too, from any shell, unless he says otherwise."""
    on, off = {"TOOWLD_PERSISTENT_SESSIONS": "1"}, {"TOOWLD_PERSISTENT_SESSIONS": "0"}
    assert not started_by_toowl(sandbox)
    assert started_by_toowl(sandbox, **on)
    assert started_by_toowl(sandbox)
    assert started_by_toowl(sandbox)
    assert not started_by_toowl(sandbox, **off)
    assert not started_by_toowl(sandbox)
    assert started_by_toowl(sandbox, **on)
    # One that is started by hand has what it is given.
    sandbox.toowld("--detach")
    assert not sandbox.new("sleep", "999")["persistent"]
    sandbox.toowld("stop", "--yes")
    assert not started_by_toowl(sandbox)
