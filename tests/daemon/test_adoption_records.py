"""What a starting daemon makes of records: of odd states and damage, of others' pids, and of an earlier boot."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import cbor2
import psutil
import pytest

from tests.daemon.steps import ask, displayed, ls, settings, shell, skipped, wait_displayed
from tests.harness import Sandbox, alive, wait_for
from toowld.daemon import process
from toowld.session import record as records


def rewrite(box: Sandbox, session: str, **changes: Any) -> None:
    """Change a stored record behind the daemon's back."""
    path = box.paths.session(session) / "record"
    values = cbor2.loads(path.read_bytes())
    path.write_bytes(cbor2.dumps(values | changes))


def test_every_record_is_loaded_whatever_its_state(sandbox: Sandbox) -> None:
    """C2, Z9."""
    sandbox.up()
    sandbox.new("sh", "-c", "exit 7", name="exited")
    lost = sandbox.new("sleep", "999", name="lost")
    shell(sandbox, "running")
    wait_displayed(sandbox, "exited", "ended (exited 7)")
    os.kill(lost["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "lost", "ended (lost)")
    before = {name: item["display"] for name, item in ls(sandbox).items()}
    for kill in (True, False):
        sandbox.restart(kill=kill)
        assert {name: item["display"] for name, item in ls(sandbox).items()} == before


@pytest.mark.parametrize("state", ["dreaming", 7, None, ["running"], {"a": 1}])
def test_an_unknown_state_is_read_as_lost(sandbox: Sandbox, state: Any) -> None:
    """A2: of a later version, or damaged."""
    sandbox.up()
    info = sandbox.new("true", name="strange")
    good = shell(sandbox, "good")
    wait_displayed(sandbox, "strange", "ended (exited 0)")
    sandbox.kill9()
    rewrite(sandbox, info["id"], state=state)
    sandbox.up()
    found = ls(sandbox)
    assert found["strange"]["display"] == "ended (lost)"
    assert "unknown state" in found["strange"]["error"]
    assert f"session {info['id']}: {found['strange']['error']}: taken for lost" in sandbox.daemon_text()
    assert found["good"]["pid"] == good["pid"]


@pytest.mark.parametrize(
    "damage",
    [
        {"argv": 5},
        {"argv": [1, 2]},
        {"env": "none"},
        {"env": {1: 2}},
        {"rows": 0},
        {"rows": "many"},
        {"id": "../../etc"},
        {"id": None},
        {"cwd": None},
        {"name": 3.5},
        {"created_at": "today"},
        {"version": []},
    ],
    ids=str,
)
def test_a_damaged_record_is_skipped(tmp_path: Path, damage: dict[str, Any]) -> None:
    """Every wrong value is found by the reader; none reaches anybody who trusts it."""
    from toowld.daemon.store import Store

    store = Store(tmp_path)
    good, bad = records.Record(id="aaaaaaaa", name="good"), records.Record(id="bbbbbbbb", name="bad")
    for record in (good, bad):
        store.save(record)
    path = tmp_path / "bbbbbbbb/record"
    path.write_bytes(cbor2.dumps(cbor2.loads(path.read_bytes()) | damage))
    loaded, left = store.load_all()
    assert [record.name for record in loaded] == ["good"]
    assert [Path(item.path).name for item in left] == ["bbbbbbbb"]


def test_a_truncated_record_of_a_live_session(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    path = sandbox.paths.session(info["id"]) / "record"
    path.write_bytes(path.read_bytes()[:-20])
    sandbox.up()
    assert ls(sandbox)["work"]["pid"] == info["pid"], "the live custodian is the truth"
    assert "damaged" in skipped(sandbox)[info["id"]]


def test_a_pid_is_nothing_without_its_start_time(sandbox: Sandbox) -> None:
    """Z34: the pids of a record belong to somebody else by now; he is neither trusted nor killed."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGKILL)
    # It lets go of its terminal before its socket: the daemon is not to find that.
    wait_for(lambda: not (alive(info["pid"]) or alive(info["custodian_pid"])))
    with subprocess.Popen(["sleep", "999"], start_new_session=True) as innocent:
        rewrite(
            sandbox,
            info["id"],
            state="running",
            pid=innocent.pid,
            pid_started=process.started_at(innocent.pid) - 60,  # type: ignore[operator]
            custodian_pid=innocent.pid,
            custodian_started=process.started_at(innocent.pid) - 60,  # type: ignore[operator]
        )
        sandbox.up()
        assert ls(sandbox)["work"]["display"] == "ended (lost)"
        assert sandbox.toowl("kill", "work", "--force", check=False).returncode == 4
        sandbox.toowl("rm", "work")
        assert innocent.poll() is None
        innocent.kill()


@pytest.mark.parametrize("before", [None, 1], ids=["its first", "not its first"])
def test_a_program_that_ended_before_it_was_stored_that_it_runs(sandbox: Sandbox, before: int | None) -> None:
    """The daemon died in between: the log knows whose end that is.

    Args:
        before: the program's pid that the record has.
    """
    sandbox.up()
    over = "until [ -e over ]; do read -t 0.05 line; done; exit 7"
    info = sandbox.new("bash", "-c", over, name="work", cwd=str(sandbox.root))
    sandbox.kill9()
    rewrite(sandbox, info["id"], state="starting", pid=before, pid_started=before)
    (sandbox.root / "over").touch()
    wait_for(lambda: not alive(info["custodian_pid"]))
    sandbox.up()
    assert displayed(sandbox, "work") == "ended (exited 7)"


def test_a_record_of_an_earlier_boot(sandbox: Sandbox) -> None:
    """After a reboot pids and times since boot may all be the same, and mean nothing."""
    sandbox.up()
    info = shell(sandbox, "work")
    ask(sandbox, info["id"], "old-times")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    sandbox.paths.custodian_socket(info["id"]).unlink()
    rewrite(sandbox, info["id"], boot="another-boot")
    sandbox.up()
    assert displayed(sandbox, "work") == "ended (lost)"
    assert "old-times" in sandbox.toowl("capture", "work", "--scrollback").stdout
    os.kill(info["custodian_pid"], signal.SIGCONT)


def test_reboot(sandbox: Sandbox) -> None:
    """R1: all processes gone, the runtime folder too; listed, readable, and a fresh shell in the same folder."""
    settings(sandbox, tick=0.1)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.send("work", b"cd /var/tmp\r")
    assert ask(sandbox, info["id"], "before-$PWD") == "before-/var/tmp"
    # Nobody asks: the daemon notes it for such a day.
    path = sandbox.paths.session(info["id"]) / "record"
    wait_for(lambda: records.decode(path.read_bytes()).cwd == "/var/tmp")
    sandbox.kill9()
    for session, pid in sandbox.custodians().items():
        psutil.Process(pid).kill()
        wait_for(lambda pid=pid: not alive(pid))  # type: ignore[misc]
        sandbox.paths.custodian_socket(session).unlink()
    sandbox.up()
    assert displayed(sandbox, "work") == "ended (lost)"
    terminal = sandbox.attach_pty("work")
    terminal.expect("new shell")
    assert "before-/var/tmp" in terminal.text
    terminal.send('printf "in-%s-now\\n" $PWD\r')
    terminal.expect("in-/var/tmp-now\r\n")
