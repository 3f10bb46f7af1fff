"""A shell is as its caller would have started it: his umask and limits, not those of the service that keeps it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.steps import wait_displayed
from tests.harness import Sandbox, alive, wait_for
from toowld.errors import LocalProtocolError, SpawnFailed

#: Of the daemon, and what a caller has instead: as a service has it, and as a login.
DAEMON = "umask 0022; ulimit -S -n 300; ulimit -S -c 0"
CALLER = "umask 0067; ulimit -S -n 250; ulimit -H -n 270; ulimit -S -c 100; ulimit -S -t 5000"


def new(box: Sandbox, name: str, *options: str) -> dict[str, Any]:
    """``toowl new``, called by somebody who has set all that."""
    script = f'{CALLER}; exec "{sys.executable}" -m toowl new -d -n {name} "$@" -- sleep 999'
    subprocess.run(["bash", "-c", script, "bash", *options], env=box.env, check=True, capture_output=True)
    return box.info(name)


def seen(pid: int) -> dict[str, Any]:
    """What a process has of all that."""
    text = Path(f"/proc/{pid}/status").read_text()
    process = psutil.Process(pid)
    found = re.search(r"^Umask:\s+(\d+)$", text, re.MULTILINE)
    assert found is not None
    return {
        "umask": found[1],
        "nofile": process.rlimit(psutil.RLIMIT_NOFILE),
        "core": process.rlimit(psutil.RLIMIT_CORE)[0],
        "cpu": process.rlimit(psutil.RLIMIT_CPU)[0],
    }


OF_CALLER = {"umask": "0067", "nofile": (250, 270), "core": 100 * 1024, "cpu": 5000}


def up(box: Sandbox) -> None:
    box.up(within=("bash", "-c", f'{DAEMON}; exec "$@"', "bash"))


@pytest.mark.parametrize("kind", ["--persistent", "--standard"])
def test_a_session_has_its_callers_umask_and_limits(sandbox: Sandbox, kind: str) -> None:
    """Also when it begins again, whoever starts it then; and whoever keeps it has its own."""
    up(sandbox)
    keepers = [sandbox.daemon_pid]
    info = new(sandbox, "work", kind)
    if info["custodian_pid"]:
        keepers.append(info["custodian_pid"])
    assert seen(info["pid"]) == OF_CALLER
    for pid in keepers:
        assert seen(pid) | {"nofile": None} == {"umask": "0022", "nofile": None, "core": 0, "cpu": -1}
    sandbox.toowl("restart", "work", "--yes")
    again = sandbox.info("work")["pid"]
    assert again != info["pid"]
    assert seen(again) == OF_CALLER


def test_after_the_keeper_is_lost_too(sandbox: Sandbox) -> None:
    """They are in the record, which a new daemon reads."""
    up(sandbox)
    info = new(sandbox, "work")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_for(lambda: not alive(info["pid"]))
    up(sandbox)
    wait_displayed(sandbox, "work", "ended (lost)")
    terminal = sandbox.attach_pty("work")
    wait_displayed(sandbox, "work", "attached")
    assert seen(sandbox.info("work")["pid"]) == OF_CALLER
    terminal.close()


def test_a_client_that_does_not_say_gets_the_daemons(sandbox: Sandbox) -> None:
    """An older one, say."""
    up(sandbox)
    for persistent in (True, False):
        info = sandbox.new("sleep", "999", persistent=persistent)
        found = seen(info["pid"])
        assert (found["umask"], found["nofile"][0], found["core"]) == ("0022", 300, 0)


def test_what_can_not_be_given_is_refused(sandbox: Sandbox) -> None:
    sandbox.up()
    wrong: list[dict[str, Any]] = [
        {"umask": -1},
        {"umask": 0o1000},
        {"umask": "022"},
        {"limits": []},
        {"limits": {"nofile": 7}},
        {"limits": {"nofile": [7]}},
        {"limits": {"nofile": [7, "8"]}},
        {"limits": {"nofile": [-2, 8]}},
        {"limits": {"nofile": [7, 1 << 63]}},
    ]
    for params in wrong:
        with pytest.raises(LocalProtocolError):
            sandbox.new("sleep", "999", **params)
    assert not list(sandbox.paths.sessions.iterdir())


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_limits_with_which_nothing_can_run(sandbox: Sandbox, persistent: bool) -> None:
    """It is not started, and nothing is left of it; or it lives as long as it can. Its keeper is not harmed."""
    sandbox.up()
    for name in ("nofile", "as", "cpu", "stack", "nproc", "fsize"):
        try:
            info = sandbox.new("sleep", "999", persistent=persistent, limits={name: [0, 0]}, umask=0o777)
        except SpawnFailed as error:
            assert str(error).startswith("can't start sleep: "), name
        else:
            sandbox.toowl("kill", "--force", info["id"], check=False)
            sandbox.toowl("rm", info["id"])
        assert not list(sandbox.paths.sessions.iterdir()), name
        wait_for(lambda: not sandbox.custodians())
        after = sandbox.new("sleep", "999", persistent=persistent)
        assert after["state"] == "running", name
        sandbox.toowl("kill", after["id"])
        sandbox.toowl("rm", after["id"])
