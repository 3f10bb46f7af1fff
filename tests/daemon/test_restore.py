"""After a reboot: what is left of each session, why it was lost, and how it comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import time
from pathlib import Path

import psutil
import pytest

from tests.daemon.losses import boot, leave, lose, power_off, reboot, rewrite, stored
from tests.daemon.steps import ask, displayed, listed, ls, settings, shell, stopped, wait_displayed
from tests.harness import Sandbox, alive, wait_for
from toowld.daemon import restoring
from toowld.daemon.restoring import why_lost
from toowld.session import Record, State

# --- a reboot -------------------------------------------------------------------------------------------


def test_a_reboot(sandbox: Sandbox) -> None:
    """F6, X1, R1: listed with all that is known, and below the scrollback a shell like the one that is gone."""
    settings(sandbox, tick=0.1)
    sandbox.up()
    env = {**sandbox.env, "EDITOR": "ed", "SSH_AUTH_SOCK": "/tmp/old-agent", "DISPLAY": ":old"}
    made = shell(sandbox, "work", rows=33, cols=101, env=env)
    standard = sandbox.new("bash", "--norc", name="plain", persistent=False, cwd="/var")
    sandbox.send("work", b"cd /var/tmp\r")
    ask(sandbox, made["id"], "remember-me")
    wait_for(lambda: stored(sandbox, made["id"]).cwd == "/var/tmp")
    before = sandbox.info("work")
    reboot(sandbox)
    found = ls(sandbox)
    for name, mark in (("work", True), ("plain", False)):
        item = found[name]
        assert (item["display"], item["restorable"], item["persistent"]) == ("ended (lost)", True, mark)
        assert item["error"] == "the machine was restarted"
        assert (item["pid"], item["custodian_pid"], item["clients"]) == (None, None, 0)
    work = found["work"]
    for key in ("id", "created_at", "last_active_at", "command"):
        assert work[key] == before[key]
    assert (work["cwd"], work["rows"], work["cols"]) == ("/var/tmp", 33, 101)
    assert work["log_bytes"] > 0
    assert work["ended_at"] >= work["last_active_at"]
    assert found["plain"]["cwd"] == "/var"
    assert found["plain"]["id"] == standard["id"]
    told = sandbox.toowl("info", "work").stdout
    assert "the machine was restarted" in told
    assert sandbox.info("work")["seq"] >= before["seq"]
    assert "remember-me" in sandbox.toowl("capture", "work", "--scrollback").stdout
    mine = {"SSH_AUTH_SOCK": "/tmp/new-agent", "TERM": "tmux-256color"}
    terminal = sandbox.terminal("toowl", "attach", "work", rows=33, cols=101, **mine)
    terminal.expect("--- restored; new shell ---\r\n")
    text = terminal.text
    assert text.index("remember-me") < text.index("--- the machine was restarted ---\r\n--- restored; new")
    values = "$PWD $EDITOR $SSH_AUTH_SOCK $DISPLAY $TERM $(stty size)"
    agent = sandbox.paths.agent(made["id"])  # leads to that of the terminal
    assert ask(sandbox, made["id"], values) == f"/var/tmp ed {agent} :old tmux-256color 33 101"
    again = sandbox.info("work")
    assert (again["id"], again["persistent"], again["display"]) == (made["id"], True, "attached")
    assert (again["error"], again["restorable"], again["ended_at"]) == (None, False, None)
    assert again["seq"] > before["seq"]
    leave(terminal)
    output = sandbox.output(made["id"])
    assert output.count(b"new shell") == 1
    # And once more, without a terminal in between.
    reboot(sandbox)
    assert sandbox.toowl("restore", "work").stdout == "restored work\n"
    assert ask(sandbox, made["id"], "$PWD $SSH_AUTH_SOCK") == f"/var/tmp {agent}"


def test_what_has_ended_before_a_reboot_is_not_lost(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("sh", "-c", "exit 3", name="done")
    wait_displayed(sandbox, "done", "ended (exited 3)")
    sandbox.new("sleep", "99", name="killed")
    sandbox.toowl("kill", "killed")
    reboot(sandbox)
    found = ls(sandbox)
    assert found["done"]["display"] == "ended (exited 3)"
    assert found["killed"]["display"] == "ended (killed)"
    assert "nothing was lost" in sandbox.toowl("restore", "--all").stderr
    done = sandbox.toowl("restore", "done", check=False)
    assert done.returncode == 4
    assert "toowl restart done" in done.stderr


def test_the_folder_is_known_without_a_daemon(sandbox: Sandbox) -> None:
    """The daemon has died; the log's sync at the last detach notes where the shell is."""
    sandbox.up()
    info = shell(sandbox, "work")
    folder = sandbox.root / "caf\udce9"
    folder.mkdir()
    terminal = sandbox.attach_pty("work")
    sandbox.kill9()
    terminal.send(
        f"cd {sandbox.root}/caf* && printf 'no%s\\n' w\r"
    )  # typed as it is, readline would change it
    terminal.expect("now\r\n")
    leave(terminal)
    marks = sandbox.paths.session(info["id"])
    wait_for(lambda: any(b"folder" in path.read_bytes() for path in marks.glob("*.log")))
    reboot(sandbox)
    sandbox.toowl("restore", "work")
    assert ask(sandbox, info["id"], "$PWD") == str(folder)


def test_age_does_not_matter(sandbox: Sandbox) -> None:
    """F9: a year of neglect."""
    sandbox.up()
    info = shell(sandbox, "work")
    ask(sandbox, info["id"], "long-ago")
    power_off(sandbox)
    year_ago = time.time() - 366 * 86400
    rewrite(sandbox, info["id"], created_at=year_ago, last_active_at=year_ago, cwd_at=year_ago)
    for path in [sandbox.paths.session(info["id"]), *sandbox.paths.session(info["id"]).iterdir()]:
        os.utime(path, (year_ago, year_ago))
    settings(sandbox, tick=0.05, ended_retention=0)
    boot(sandbox)
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 0.3)  # some ticks
    assert displayed(sandbox, "work") == "ended (lost)"
    sandbox.toowl("restore", "work")
    assert ask(sandbox, info["id"], "$$") == str(sandbox.info("work")["pid"])
    assert b"long-ago" in sandbox.output(info["id"])


def test_nobody_else_can_read_what_is_kept(sandbox: Sandbox) -> None:
    """Q5."""
    sandbox.up()
    info = shell(sandbox, "work")
    reboot(sandbox)
    sandbox.toowl("restore", "--all")
    folder = sandbox.paths.session(info["id"])
    assert folder.stat().st_mode & 0o777 == 0o700
    assert sandbox.paths.sessions.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}


# --- why ------------------------------------------------------------------------------------------------


def test_why_a_session_was_lost(sandbox: Sandbox) -> None:
    """On the same boot: its custodian was killed, or told to end, or the daemon of a standard session is gone."""
    sandbox.up()
    killed = sandbox.new("sleep", "99", name="killed")
    unseen = sandbox.new("sleep", "99", name="unseen")
    told = sandbox.new("sleep", "99", name="told")
    sandbox.new("sleep", "99", name="standard", persistent=False)
    os.kill(killed["custodian_pid"], signal.SIGKILL)
    os.kill(told["custodian_pid"], signal.SIGTERM)
    for name in ("killed", "told"):
        wait_displayed(sandbox, name, "ended (lost)")
    sandbox.kill9()
    os.kill(unseen["custodian_pid"], signal.SIGKILL)
    wait_for(lambda: not alive(unseen["custodian_pid"]))
    sandbox.up()
    why = {name: item["error"] for name, item in ls(sandbox).items()}
    assert why == {
        "killed": restoring.SIGNALLED.format(f" (pid {killed['custodian_pid']})"),
        "unseen": restoring.SIGNALLED.format(f" (pid {unseen['custodian_pid']})"),
        "told": restoring.TOLD_TO_END,
        "standard": restoring.DAEMON_ENDED,
    }
    terminal = sandbox.attach_pty("standard")
    terminal.expect(f"--- {restoring.DAEMON_ENDED} ---\r\n--- restored; new shell ---")


def test_all_are_told_to_end_at_once(sandbox: Sandbox) -> None:
    """As at a shutdown: a program that is quicker than its keeper has not ended by itself."""
    sandbox.up()
    infos = [sandbox.new("sleep", "99", name=f"s{n}") for n in range(8)]
    with stopped(sandbox.daemon_pid):
        for info in infos:
            os.kill(info["custodian_pid"], signal.SIGSTOP)
            os.kill(info["custodian_pid"], signal.SIGTERM)
            os.kill(info["pid"], signal.SIGTERM)
        wait_for(lambda: not any(alive(info["pid"]) for info in infos))
        for info in infos:
            os.kill(info["custodian_pid"], signal.SIGCONT)
    for info in infos:
        wait_displayed(sandbox, info["name"], "ended (lost)")


def test_a_program_that_was_quicker_than_the_shutdown(sandbox: Sandbox) -> None:
    """It ended by a signal that nobody asked toowl for: it can be brought back like the lost ones."""
    sandbox.up()
    info = shell(sandbox, "work")
    ask(sandbox, info["id"], "$$")  # it reads: a bash that just begins loses a SIGHUP
    os.kill(info["pid"], signal.SIGHUP)
    wait_displayed(sandbox, "work", "ended (signal 1)")
    assert "ended (signal 1)" in sandbox.toowl("restore").stdout
    assert sandbox.toowl("restore", "--all").stdout == "restored work\n"
    assert ask(sandbox, info["id"], "$$") == str(sandbox.info("work")["pid"])


def test_the_reason_as_a_table() -> None:
    running = Record("0123abcd", persistent=True, state=State.RUNNING, custodian_pid=7, boot="this")
    cases: list[tuple[Record, bool, str]] = [
        (running, False, restoring.SIGNALLED.format(" (pid 7)")),
        (running, True, restoring.TOLD_TO_END),
        (running.changed(boot="other"), False, restoring.REBOOT),
        (running.changed(boot="other"), True, restoring.REBOOT),
        (running.changed(persistent=False), False, restoring.DAEMON_ENDED),
        (running.changed(persistent=False), True, restoring.DAEMON_ENDED),
        (running.changed(custodian_pid=None), False, restoring.NOT_STARTED),
        (running.changed(custodian_pid=None, boot=None), False, restoring.NOT_STARTED),
    ]
    for record, told_to_end, reason in cases:
        assert why_lost(record, "this", told_to_end=told_to_end) == reason


def test_a_live_custodian_beats_the_record(sandbox: Sandbox) -> None:
    """F6: whatever the record says, even that the machine was restarted since."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    rewrite(
        sandbox,
        info["id"],
        state="ended",
        end_reason="lost",
        boot="another",
        error="the machine was restarted",
    )
    sandbox.up()
    item = ls(sandbox)["work"]
    assert (item["display"], item["pid"], item["error"]) == ("detached", info["pid"], None)
    done = sandbox.toowl("restore", "work", check=False)
    assert (done.returncode, done.stdout) == (4, "")
    assert "is running" in done.stderr
    assert sandbox.info("work")["pid"] == info["pid"]


# --- restore --------------------------------------------------------------------------------------------


def test_restore_all(sandbox: Sandbox) -> None:
    """All at once, detached, each told; a damaged record is skipped with a warning; a second time does nothing."""
    sandbox.up()
    infos = [shell(sandbox, f"s{n}") for n in range(20)]
    bad = shell(sandbox, "bad")
    for info in infos[:3]:
        ask(sandbox, info["id"], f"mine-{info['name']}")
    power_off(sandbox)
    path = sandbox.paths.session(bad["id"]) / "record"
    path.write_bytes(path.read_bytes()[:-20])
    for log in path.parent.glob("*.log"):
        log.unlink()
    boot(sandbox)
    lines = sandbox.toowl("restore").stdout.splitlines()
    assert lines[0].split() == ["ID", "NAME", "ACTIVE", "CWD", "COMMAND", "LOST", "BECAUSE"]
    assert {line.split()[0] for line in lines[1:]} == {info["id"] for info in infos}
    assert all("the machine was restarted" in line for line in lines[1:])
    assert {item["display"] for item in ls(sandbox).values()} == {"ended (lost)"}, "a list starts nothing"
    done = sandbox.toowl("restore", "--all")
    assert sorted(done.stdout.splitlines()) == sorted(f"restored s{n}" for n in range(20))
    assert f"skipped {path.parent}: the record is damaged" in done.stderr
    assert "the record is damaged" in sandbox.daemon_text()
    found = ls(sandbox)
    assert {item["display"] for item in found.values()} == {"detached"}
    assert set(sandbox.custodians()) == {info["id"] for info in infos}
    for info in infos[:3]:
        assert f"mine-{info['name']}".encode() in sandbox.output(info["id"])
        assert ask(sandbox, info["id"], "$$") == str(found[info["name"]]["pid"])
    done = sandbox.toowl("restore", "--all")
    assert (done.stdout, "nothing was lost" in done.stderr) == ("", True)


def test_restore_tells_each_failure(sandbox: Sandbox) -> None:
    """The others come back; what could not still is lost, with the reason, and can be tried again."""
    settings(sandbox, ended_retention=0, tick=0.1)
    sandbox.up()
    for name in ("one", "two"):
        shell(sandbox, name)
    program_path = sandbox.root / "bash"
    program_path.symlink_to("/bin/bash")
    sandbox.new(str(program_path), "--norc", name="broken")
    power_off(sandbox)
    program_path.unlink()
    boot(sandbox)
    done = sandbox.toowl("restore", "one", "nonesuch", "broken", "two", "one", check=False)
    assert done.returncode == 3
    assert sorted(done.stdout.splitlines()) == ["restored one", "restored two"]
    assert 'session "nonesuch" not found' in done.stderr
    assert "can't start" in done.stderr
    assert "2 of 4" in done.stderr
    item = ls(sandbox)["broken"]
    assert (item["display"], item["restorable"]) == ("ended (lost)", True)
    assert "No such file" in item["error"]
    program_path.symlink_to("/bin/bash")
    assert sandbox.toowl("restore", "--all").stdout == "restored broken\n"
    assert sandbox.toowl("restore", "--all", "one", check=False).returncode == 2


def test_restore_without_the_gate(sandbox: Sandbox) -> None:
    """Honest: what comes back is no persistent session then."""
    sandbox.up()
    info = shell(sandbox, "work")
    reboot(sandbox, flag=False)
    done = sandbox.toowl("restore", "work")
    assert "standard session" in done.stderr
    assert sandbox.info("work")["persistent"] is False
    assert ask(sandbox, info["id"], "$$") == str(sandbox.info("work")["pid"])


def test_a_folder_that_did_not_come_back(sandbox: Sandbox) -> None:
    sandbox.up()
    folder = sandbox.root / "project"
    folder.mkdir()
    info = shell(sandbox, "work", cwd=str(folder))
    power_off(sandbox)
    folder.rmdir()
    boot(sandbox)
    terminal = sandbox.attach_pty("work")
    terminal.expect(f"--- the folder {folder} is gone: the new shell starts in your home folder ---")
    assert ask(sandbox, info["id"], "$PWD") == str(sandbox.home)


# --- what is left on the disk ---------------------------------------------------------------------------


def test_what_was_removed_stays_gone(sandbox: Sandbox) -> None:
    """F8: no folder, no socket, nothing to restore."""
    sandbox.up()
    kept = shell(sandbox, "kept")
    for name in ("running", "lost"):
        shell(sandbox, name)
    lose(sandbox, "lost")
    sandbox.toowl("kill", "running")
    sandbox.toowl("rm", "running", "lost")
    for again in (lambda: sandbox.restart(), lambda: reboot(sandbox)):
        again()
        assert set(listed(sandbox)) == {"kept"}
        assert [path.name for path in sandbox.paths.sessions.iterdir()] == [kept["id"]]
    assert not list(sandbox.paths.custodians.iterdir())


@pytest.mark.parametrize("damage", ["missing", "truncated"])
def test_a_record_that_is_gone(sandbox: Sandbox, damage: str) -> None:
    """F10: its log is whole, so the session is there; only its name and settings are not."""
    settings(sandbox, size='"latest"')
    sandbox.up()
    info = shell(sandbox, "work", cwd="/var/tmp", rows=30, cols=90)
    other = shell(sandbox, "other")
    ask(sandbox, info["id"], "still-here")
    power_off(sandbox)
    path = sandbox.paths.session(info["id"]) / "record"
    data = path.read_bytes()
    path.unlink() if damage == "missing" else path.write_bytes(data[:-9])
    boot(sandbox)
    found = ls(sandbox)
    assert set(found) == {info["id"], "other"}
    item = found[info["id"]]
    assert (item["display"], item["restorable"], item["cwd"]) == ("ended (lost)", True, "/var/tmp")
    assert (item["rows"], item["cols"], item["command"]) == (30, 90, "bash --norc --noprofile")
    assert abs(item["created_at"] - info["created_at"]) < 5
    assert sandbox.info(info["id"])["record"]["size_policy"] == "latest"  # as those that are made now
    assert "record" in item["error"]
    assert found["other"]["id"] == other["id"]
    assert info["id"] in json.dumps(
        json.loads(sandbox.toowld("doctor", "--json", check=False).stdout)["findings"]
    )
    assert re.search(rf"skipped .*{info['id']}", sandbox.daemon_text())
    if damage == "truncated":
        assert (path.parent / "record~damaged").read_bytes() == data[:-9]
    sandbox.toowl("restore", "--all")
    assert ask(sandbox, info["id"], "$PWD") == "/var/tmp"
    assert b"still-here" in sandbox.output(info["id"])
    sandbox.restart()
    assert set(ls(sandbox)) == {info["id"], "other"}


def test_processes_of_another_boot_are_left_alone(sandbox: Sandbox) -> None:
    """The pids of a record mean nothing after a reboot, whoever has them now."""
    sandbox.up()
    info = shell(sandbox, "work")
    power_off(sandbox)
    me = psutil.Process()
    from toowld.daemon import process

    started = process.started_at(me.pid)
    rewrite(
        sandbox, info["id"], pid=me.pid, pid_started=started, custodian_pid=me.pid, custodian_started=started
    )
    boot(sandbox)
    assert displayed(sandbox, "work") == "ended (lost)"
    sandbox.toowl("rm", "work")
    assert not Path(sandbox.paths.session(info["id"])).exists()
