"""How sessions begin, end, begin again and are forgotten; and what is left when the daemon dies in the middle."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.daemon.conftest import Disk
from tests.daemon.steps import (
    ask,
    displayed,
    killed_by,
    listed,
    ls,
    open_files,
    running,
    settings,
    shell,
    stopped,
    wait_displayed,
)
from tests.harness import Sandbox, alive, wait_for
from toowld.client import Client

DETACH = b"\x1cd"


def zygote_of(box: Sandbox) -> int:
    with box.client() as client:
        return int(client.request("doctor")["zygote_pid"])


def ignoring(*names: str) -> str:
    """A script that does not care about some signals, and says when it doesn't."""
    return f"trap '' {' '.join(names)}; echo ready; while :; do sleep 1000; done"


# --- how a session ends ---------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_every_end_has_its_name(sandbox: Sandbox, persistent: bool) -> None:
    """A4."""
    sandbox.up(persistent)
    sandbox.new("sh", "-c", "exit 7", name="seven")
    sandbox.new("true", name="zero")
    sandbox.new("sh", "-c", "kill -TERM $$", name="killed")
    mark = "P" if persistent else "-"
    wanted = {"seven": "ended (exited 7)", "zero": "ended (exited 0)", "killed": "ended (signal 15)"}
    for name, display in wanted.items():
        wait_displayed(sandbox, name, display)
        assert f"{mark} {display}" in sandbox.toowl("ls").stdout
    found = ls(sandbox)
    ends = {name: (i["end_reason"], i["exit_code"], i["exit_signal"]) for name, i in found.items()}
    assert ends == {
        "seven": ("exited", 7, None),
        "zero": ("exited", 0, None),
        "killed": ("exited", None, 15),
    }
    sandbox.restart(persistent)
    assert {name: item["display"] for name, item in ls(sandbox).items()} == wanted


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_what_can_not_start_leaves_nothing(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(persistent)
    sandbox.new("sleep", "999", name="other")
    before = {process.pid for process in sandbox.processes()}
    files = len(open_files(sandbox.daemon_pid))
    for args, words in (
        (("--", "/nope"), "can't start /nope: No such file"),
        (("--", "no-such-program"), "can't start no-such-program"),
        (("--", "/etc/passwd"), "Permission denied"),
        (("--cwd", "/no/where", "--", "true"), "can't enter folder /no/where"),
    ):
        done = sandbox.toowl("new", "-d", "-n", "bad", *args, check=False)
        assert done.returncode == 1
        assert words in done.stderr
        assert len(done.stderr.splitlines()) == 1
        assert done.stdout == ""
    wait_for(lambda: {process.pid for process in sandbox.processes()} == before, what="no process left over")
    wait_for(lambda: len(open_files(sandbox.daemon_pid)) <= files, what="no descriptor left over")
    assert set(ls(sandbox)) == {"other"}
    assert [path.name for path in sandbox.paths.sessions.iterdir()] == [ls(sandbox)["other"]["id"]]
    assert len(list(sandbox.paths.custodians.iterdir())) == int(persistent)


def test_a_session_that_can_not_start_again(sandbox: Sandbox) -> None:
    """It stays, as failed, with the reason (T3); and starts as soon as it can."""
    sandbox.up()
    program = sandbox.root / "program"
    program.write_text("#!/bin/sh\necho I-was-here\n")
    program.chmod(0o755)
    sandbox.new(str(program), name="gone")
    wait_displayed(sandbox, "gone", "ended (exited 0)")
    program.rename(sandbox.root / "away")
    terminal = sandbox.attach_pty("gone")
    assert terminal.wait() == 1
    assert "can't start" in terminal.text
    item = ls(sandbox)["gone"]
    assert (item["display"], item["end_reason"]) == ("ended (failed)", "failed")
    assert "No such file" in item["error"]
    assert "No such file" in sandbox.toowl("info", "gone").stdout
    assert "I-was-here" in sandbox.toowl("capture", "gone", "--scrollback").stdout
    sandbox.restart()
    assert displayed(sandbox, "gone") == "ended (failed)"
    (sandbox.root / "away").rename(program)
    terminal = sandbox.attach_pty("gone")
    terminal.wait()
    assert terminal.text.count("I-was-here") == 2
    wait_displayed(sandbox, "gone", "ended (exited 0)")
    assert ls(sandbox)["gone"]["error"] is None


def test_what_is_typed_into_an_ended_session_is_refused(sandbox: Sandbox) -> None:
    """A8: visibly, and nothing is started by it."""
    sandbox.up()
    shell(sandbox, "work")
    sandbox.toowl("send", "work", "exit", "3")
    wait_displayed(sandbox, "work", "ended (exited 3)")
    for command in (("send", "work", "ls"), ("resize", "work", "100x30"), ("detach", "work", "--all")):
        done = sandbox.toowl(*command, check=False)
        assert done.returncode == 4
        assert "work is ended (exited 3)" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert sandbox.toowl("kill", "work", check=False).returncode == 4
    assert displayed(sandbox, "work") == "ended (exited 3)"


def test_attach_starts_an_ended_session_again(sandbox: Sandbox) -> None:
    """A8, A9: the old text, one line of how it ended, a banner, and a fresh prompt."""
    sandbox.up()
    info = shell(sandbox, "work")
    terminal = sandbox.attach_pty("work")
    terminal.send("printf 'old-%s\\n' text; cd /var/tmp\r")
    wait_for(lambda: sandbox.info("work")["cwd"] == "/var/tmp")
    terminal.send("exit 5\r")
    assert terminal.wait() == 5
    wait_displayed(sandbox, "work", "ended (exited 5)")
    look = sandbox.attach_pty("work", 24, 80, "--no-respawn")
    assert look.wait() == 5
    assert "old-text\r\n" in look.text
    assert displayed(sandbox, "work") == "ended (exited 5)", "looking starts nothing"
    again = sandbox.attach_pty("work")
    again.expect("--- shell restarted ---")
    again.send("printf 'new-%s-%s\\n' text $PWD\r")
    again.expect("new-text-/var/tmp\r\n")
    assert again.text.index("old-text") < again.text.index("shell restarted") < again.text.index("new-text")
    assert again.text.count("shell restarted") == 1
    item = ls(sandbox)["work"]
    assert (item["id"], item["end_reason"], item["exit_code"]) == (info["id"], None, None)
    assert item["pid"] != info["pid"]
    again.send("exit\r")
    assert again.wait() == 0
    # One line tells how it ended, for each end that this terminal saw.
    assert len(re.findall(r"\[[^\]]*(?:exited|ended|terminated)[^\]]*\]", again.text)) == 1


def test_both_clients_follow_a_fresh_shell(sandbox: Sandbox) -> None:
    """Z11: who attaches after the end meets the child that is there, not another one."""
    sandbox.up()
    shell(sandbox, "work")
    sandbox.send("work", b"exit\r")
    wait_displayed(sandbox, "work", "ended (exited 0)")
    first, second = sandbox.attach_pty("work"), sandbox.attach_pty("work")
    wait_for(lambda: sandbox.info("work")["clients"] == 2)
    first.send("printf 'from-%s\\n' $$\r")
    words = f"from-{sandbox.info('work')['pid']}\r\n"
    first.expect(words)
    second.expect(words)
    assert sandbox.output(sandbox.info("work")["id"]).count(b"shell restarted") == 1


def test_restart_keeps_the_session_and_changes_the_child(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    ask(sandbox, info["id"], "first")
    assert sandbox.toowl("restart", "work", check=False).returncode == 4
    sandbox.toowl("restart", "work", "--yes")
    again = sandbox.info("work")
    assert (again["id"], again["name"]) == (info["id"], "work")
    assert again["pid"] != info["pid"]
    assert not alive(info["pid"])
    sandbox.toowl("restart", "work", "--yes", "--standard")
    assert (sandbox.info("work")["persistent"], sandbox.custodians()) == (False, {})
    sandbox.toowl("restart", "work", "--yes", "--persistent")
    assert set(sandbox.custodians()) == {info["id"]}
    assert b"first" in sandbox.output(info["id"])


def test_restarts_at_the_same_time_start_one_child(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.new("sleep", "4711", name="work")

    def restart() -> None:
        with sandbox.client() as client:
            client.request("restart", session="work", persistent=None, timeout=60)

    threads = [threading.Thread(target=restart) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [process.pid for process in running(sandbox, 4711)] == [sandbox.info("work")["pid"]]
    assert len(sandbox.custodians()) == 1


def test_a_folder_that_is_gone(sandbox: Sandbox) -> None:
    sandbox.up()
    folder = sandbox.root / "project"
    folder.mkdir()
    sandbox.new("true", name="work", cwd=str(folder))
    wait_displayed(sandbox, "work", "ended (exited 0)")
    folder.rmdir()
    done = sandbox.toowl("restart", "work", "--yes")
    assert "is gone" in done.stderr
    wait_displayed(sandbox, "work", "ended (exited 0)")
    assert ls(sandbox)["work"]["cwd"] == str(sandbox.home)


# --- kill -----------------------------------------------------------------------------------------------


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
    wait_for(lambda: not ls(sandbox), what="what ended as somebody wanted to be forgotten")


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


# --- the daemon dies in the middle ----------------------------------------------------------------------


def ask_and_leave(box: Sandbox, method: str, **params: Any) -> socket.socket:
    """Send a request, and don't wait for the answer."""
    client = box.client()
    client.post(method, params)
    link: socket.socket = client.socket
    return link


def test_the_daemon_dies_while_it_makes_sessions(sandbox: Sandbox) -> None:
    """No orphan, and no half record that gets in the way of the next start."""
    sandbox.up()
    request = {
        "argv": ["sleep", "4711"],
        "name": None,
        "cwd": "/",
        "env": dict(sandbox.env),
        "rows": 24,
        "cols": 80,
        "persistent": None,
    }
    for moment in range(8):
        links = [ask_and_leave(sandbox, "new", **request) for _ in range(4)]
        wait_for(lambda m=moment: len(list(sandbox.paths.sessions.iterdir())) >= m)  # type: ignore[misc]
        sandbox.kill9()
        for link in links:
            link.close()
        sandbox.up()
    kept = {item["id"]: item for item in ls(sandbox).values() if item["state"] == "running"}
    assert all(item["display"] in ("detached", "ended (lost)") for item in ls(sandbox).values())
    # Every child belongs to a session that is listed, and every custodian too.
    wait_for(lambda: {p.pid for p in running(sandbox, 4711)} == {item["pid"] for item in kept.values()})
    assert sandbox.custodians() == {key: item["custodian_pid"] for key, item in kept.items()}
    wait_for(lambda: len(sandbox.processes()) == 2 + 2 * len(kept), what="daemon, zygote and sessions only")
    with sandbox.client() as client:
        for session in client.request("list")["sessions"]:
            if session["state"] == "running":
                client.request("kill", session=session["id"], force=True)
            client.request("remove", session=session["id"])
    assert not ls(sandbox)
    assert not list(sandbox.paths.sessions.iterdir())


def test_the_daemon_dies_before_a_custodian_got_its_orders(sandbox: Sandbox) -> None:
    """The custodian was forked and waits for `start`: it must not wait for ever."""
    sandbox.up()
    zygote = zygote_of(sandbox)
    with stopped(zygote):
        link = ask_and_leave(
            sandbox,
            "new",
            argv=["sleep", "4711"],
            name="half",
            cwd="/",
            env={},
            rows=24,
            cols=80,
            persistent=None,
        )
        wait_displayed(sandbox, "half", "starting")
        sandbox.kill9()
        link.close()
    wait_for(lambda: not sandbox.processes(), what="zygote and custodian to go")
    sandbox.up()
    assert displayed(sandbox, "half") == "ended (lost)"
    terminal = sandbox.attach_pty("half")
    terminal.expect("shell instead) ")
    terminal.send("\r")
    wait_for(lambda: running(sandbox, 4711))
    terminal.send(DETACH)
    assert terminal.wait() == 0


def test_the_daemon_dies_while_it_kills(sandbox: Sandbox) -> None:
    """The custodian has its orders and carries them out."""
    sandbox.up()
    info = sandbox.new("sh", "-c", "trap '' HUP; echo ready; while :; do sleep 0.1; done", name="deaf")
    wait_for(lambda: b"ready" in sandbox.output(info["id"]))
    link = ask_and_leave(sandbox, "kill", session="deaf", force=False)
    with sandbox.client() as client:
        client.request("status")  # answered after the kill was passed on, over another connection
    sandbox.kill9()
    link.close()
    wait_for(lambda: not alive(info["pid"]))
    sandbox.up()
    wait_displayed(sandbox, "deaf", "ended (killed)")
    sandbox.toowl("rm", "deaf")


def test_a_new_whose_client_is_gone_is_finished(sandbox: Sandbox) -> None:
    sandbox.up()
    link = ask_and_leave(
        sandbox, "new", argv=["sleep", "99"], name="x", cwd="/", env={}, rows=24, cols=80, persistent=None
    )
    link.close()
    wait_displayed(sandbox, "x", "detached")


# --- the zygote -----------------------------------------------------------------------------------------


def test_a_killed_zygote_is_replaced(sandbox: Sandbox) -> None:
    sandbox.up()
    first = zygote_of(sandbox)
    os.kill(first, signal.SIGKILL)
    info = sandbox.new("sleep", "999", name="after")
    assert alive(info["pid"])
    second = zygote_of(sandbox)
    assert second != first
    assert psutil.Process(sandbox.daemon_pid).children() == [psutil.Process(second)], "no zombie either"
    sandbox.restart()
    assert ls(sandbox)["after"]["pid"] == info["pid"]


def test_a_zygote_that_hangs_is_replaced(sandbox: Sandbox) -> None:
    sandbox.up()
    first = zygote_of(sandbox)
    os.kill(first, signal.SIGSTOP)
    info = sandbox.new("sleep", "999", name="after")
    assert alive(info["pid"])
    assert zygote_of(sandbox) != first
    wait_for(lambda: not psutil.pid_exists(first))
    assert len(sandbox.custodians()) == 1


def test_a_stop_does_not_wait_for_a_zygote_that_hangs(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("sleep", "999")
    os.kill(zygote_of(sandbox), signal.SIGSTOP)
    assert sandbox.stop() == 0
    sandbox.assert_clean(allow=[info["pid"], info["custodian_pid"]])
    assert "Traceback" not in sandbox.daemon_text()


# --- the disk -------------------------------------------------------------------------------------------


def test_a_full_disk_refuses_new_sessions_clearly(sandbox: Sandbox, disk: Disk) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    before = {process.pid for process in sandbox.processes()}
    with disk.full():
        done = sandbox.toowl("new", "-d", "-n", "more", "--", "sleep", "99", check=False)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        done = sandbox.toowl("rename", "work", "play", check=False)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert set(ls(sandbox)) == {"work"}, "what the disk refused is not true in memory"
        wait_for(lambda: {process.pid for process in sandbox.processes()} == before)
        # The shell itself goes on, and what it prints is kept in memory meanwhile.
        terminal = sandbox.attach_pty("work")
        terminal.send("printf 'st%s\\n' ill\r")
        terminal.expect("still\r\n")
        terminal.send("exit 4\r")
        assert terminal.wait() == 4
        wait_displayed(sandbox, "work", "ended (exited 4)")
    sandbox.restart()
    assert set(ls(sandbox)) == {"work"}
    assert displayed(sandbox, "work").startswith("ended")
    terminal = sandbox.attach_pty("work")
    terminal.send("printf '%s again\\n' here\r")
    terminal.expect("here again\r\n")
    assert sandbox.info("work")["pid"] != info["pid"]


def test_a_read_only_disk(sandbox: Sandbox, disk: Disk) -> None:
    sandbox.up()
    sandbox.new("true", name="old")
    wait_displayed(sandbox, "old", "ended (exited 0)")
    wait_for(lambda: not sandbox.custodians())
    with disk.read_only():
        done = sandbox.toowl("new", "-d", "-n", "more", check=False)
        assert done.returncode == 1
        assert "Read-only file system" in done.stderr
        for command in (("rename", "old", "other"), ("rm", "old")):
            done = sandbox.toowl(*command, check=False)
            assert done.returncode == 1
            assert "Read-only file system" in done.stderr
        terminal = sandbox.attach_pty("old")
        assert terminal.wait() == 1
        assert "Read-only file system" in terminal.text
        assert ls(sandbox)["old"]["display"] == "ended (exited 0)"
        sandbox.restart()
        assert ls(sandbox)["old"]["display"] == "ended (exited 0)", "reading needs no writing"
    sandbox.toowl("rename", "old", "other")
    assert set(ls(sandbox)) == {"other"}


# --- retention ------------------------------------------------------------------------------------------


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


def test_a_short_life_is_told_right(sandbox: Sandbox) -> None:
    """Ended before its beginning was noted: still neither lost nor running for ever."""
    sandbox.up()
    names = [f"s{n}" for n in range(20)]
    for name in names:
        sandbox.new("sh", "-c", "exit 3", name=name)
    wait_for(lambda: all(item["state"] == "ended" for item in listed(sandbox).values()))
    assert {item["display"] for item in ls(sandbox).values()} == {"ended (exited 3)"}
    wait_for(lambda: not sandbox.custodians(), what="the custodians to go")
    assert not list(Path(sandbox.paths.custodians).iterdir())


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_a_short_command_at_a_terminal_runs_once(sandbox: Sandbox, persistent: bool) -> None:
    """Over before its client was attached: its output and its status are shown, and it is not started again."""
    sandbox.up(persistent)
    note = sandbox.root / "note"
    for status in range(1, 6):
        script = f"echo once >>{note}; echo out; exit {status}"
        terminal = sandbox.terminal("toowl", "new", "--", "sh", "-c", script)
        assert terminal.wait() == status
        assert terminal.text.count("out\r\n") == 1
        assert note.read_text() == "once\n" * status


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
