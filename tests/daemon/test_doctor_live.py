"""``toowld doctor`` as a program, beside a real daemon with real custodians."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from tests.harness import Sandbox, wait_for
from toowld import __version__


def findings(box: Sandbox, **env: Any) -> dict[str, dict[str, Any]]:
    """What → the worst that was found about it."""
    done = box.toowld("doctor", "--json", check=False, **env)
    answer = json.loads(done.stdout)
    assert done.returncode == (0 if answer["ok"] else 1)
    order = ["ok", "warn", "fail"]
    return {f["what"]: f for f in sorted(answer["findings"], key=lambda f: order.index(f["status"]))}


def test_well_with_a_persistent_session(sandbox: Sandbox) -> None:
    pid = sandbox.up()
    info = sandbox.new("sleep", "300", name="secret-name", env={**sandbox.env, "TOKEN": "hunter2"})
    found = findings(sandbox)
    assert found["daemon"]["detail"].startswith(f"toowld {__version__}, pid {pid}, up ")
    for what in (
        "versions",
        "persistent",
        "runtime",
        "custodians",
        "sessions",
        "terminals",
        "clock",
        "reboot",
    ):
        assert found[what]["status"] == "ok", found[what]
    assert found["custodians"]["detail"] == "1 answering"
    for what, folder in (("runtime", sandbox.paths.runtime), ("state", sandbox.paths.state)):
        assert found[what]["detail"] == f"{folder}, mode 0700, owner uid {os.getuid()}"
    assert found["sessions"]["detail"] == "1, of them 1 running (1 persistent)"
    text = sandbox.toowld("doctor", check=False).stdout
    assert "hunter2" not in text
    assert "secret-name" not in text
    assert str(info["id"]) not in text, "nothing has to be said about a session that is well"


def test_the_flag_is_that_of_the_daemon_not_of_the_caller(sandbox: Sandbox) -> None:
    sandbox.up(flag=True)
    assert findings(sandbox, TOOWLD_PERSISTENT_SESSIONS="0")["persistent"]["status"] == "ok"
    sandbox.restart(flag=False)
    off = findings(sandbox, TOOWLD_PERSISTENT_SESSIONS="1")["persistent"]
    assert off["status"] == "warn"
    assert "set in this shell" in off["detail"]
    sandbox.restart(flag="yes please")
    assert "a value that means nothing" in findings(sandbox)["persistent"]["detail"]


def test_with_the_daemon_down(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("sleep", "300")
    sandbox.kill9()
    done = sandbox.toowld("doctor", check=False)
    assert done.returncode == 1
    assert done.stderr == ""
    assert "1 kept session(s) run on without it" in done.stdout
    assert "next: toowld --detach" in done.stdout


def test_a_daemon_that_hangs_is_named(sandbox: Sandbox) -> None:
    pid = sandbox.up()
    os.kill(pid, signal.SIGSTOP)
    daemon = findings(sandbox)["daemon"]
    assert daemon["status"] == "fail"
    assert daemon["detail"].startswith(f"pid {pid} listens, but gives no answer")


def test_a_session_over_a_connection_and_a_weekend(sandbox: Sandbox) -> None:
    """X5: told only where there is such a session, and until there is something wrong with it no more."""
    sandbox.up()
    sandbox.new("sleep", "300")
    assert "idle timeout" not in findings(sandbox)
    session = sandbox.new("sleep", "300", connection="me@host")["id"]
    found = findings(sandbox)["idle timeout"]
    assert found["status"] == "warn"
    assert found["detail"].startswith(
        f"{session}, made over a connection, would end after 2 d with nobody attached"
    )
    sandbox.configure('[reaper]\nidle_timeout_remote = "3d"\n')
    sandbox.toowld("reload")
    assert "idle timeout" not in findings(sandbox)


def test_a_stopped_custodian_is_left_alone(sandbox: Sandbox) -> None:
    sandbox.up()
    session = sandbox.new("sleep", "300")["id"]
    custodian = sandbox.custodians()[session]
    os.kill(custodian, signal.SIGSTOP)
    found = findings(sandbox)["custodians"]
    assert found["status"] == "warn"
    assert f"{session} (pid {custodian}) listens, but does not answer" in found["detail"]
    os.kill(custodian, signal.SIGCONT)
    wait_for(lambda: findings(sandbox)["custodians"]["status"] == "ok")
