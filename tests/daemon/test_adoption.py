"""What a starting daemon makes of what it finds: live keepers, dead ones, hung ones, and things that are neither."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import psutil
import pytest

from tests.daemon.conftest import Disk
from tests.daemon.steps import (
    ask,
    counted,
    displayed,
    listed,
    ls,
    open_files,
    settings,
    shell,
    skipped,
    stopped,
    wait_displayed,
)
from tests.harness import Sandbox, alive, machine_cannot, need_inotify, peer_pid, wait_for

NOBODY = 65534


def plant_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def test_planted_rubbish_is_skipped_and_told(sandbox: Sandbox) -> None:
    sandbox.up()
    good = shell(sandbox, "good")
    hung = sandbox.new("sleep", "999", name="hung")
    sandbox.kill9()
    folder = sandbox.paths.custodians
    plant_stale_socket(folder / "00000001.sock")
    plant_stale_socket(folder / "00000002.sock~")
    (folder / "00000003.sock").write_bytes(b"\0garbage" * 100)
    (folder / "00000004.sock").mkdir()
    (folder / "00000005.sock").symlink_to(sandbox.paths.custodian_socket(good["id"]))
    (folder / "README").write_text("not a socket")
    foreign = folder / "00000006.sock"
    foreign.touch()
    others = folder / "00000007.sock"
    plant_stale_socket(others)
    if os.getuid() == 0:
        for path in (foreign, others):
            os.chown(path, NOBODY, NOBODY)
    sessions = sandbox.paths.sessions
    (sessions / "notes.txt").write_text("somebody's")
    for name, data in (("0000000a", b""), ("0000000b", b"\xff" * 64), ("0000000c", os.urandom(200))):
        (sessions / name).mkdir()
        (sessions / name / "record").write_bytes(data)
    (sessions / "0000000d/record").mkdir(parents=True)
    (sessions / "0000000e").mkdir()
    os.mkfifo(sessions / "0000000e/record")
    with stopped(hung["custodian_pid"]):
        sandbox.up()
        found = ls(sandbox)
        assert set(found) == {"good", "hung"}
        assert found["good"]["display"] == "detached"
        assert found["hung"]["display"] == "unreachable"
        reasons = skipped(sandbox)
        for name in ("00000003.sock", "00000004.sock", "00000005.sock", "00000006.sock", "README"):
            assert reasons[name] == "not a custodian's socket of ours"
        assert "stale" in reasons["00000001.sock"]
        assert not (folder / "00000001.sock").exists()
        if os.getuid() == 0:
            assert reasons["00000007.sock"] == "not a custodian's socket of ours"
            assert others.exists(), "another user's file is not ours to remove"
        assert "unreachable: it does not answer" in reasons[f"{hung['id']}.sock"]
        for name in ("notes.txt", "0000000a", "0000000b", "0000000c"):
            assert reasons[name]
        done = sandbox.toowld("doctor", check=False)
        for name in ("00000003.sock", "00000006.sock", "README", "0000000b", "notes.txt"):
            assert name in done.stdout
        assert alive(hung["custodian_pid"])
    assert ask(sandbox, good["id"], "$$") == str(good["pid"])


def test_a_dead_socket_in_place_of_a_live_custodians(sandbox: Sandbox) -> None:
    """Nothing is removed where somebody may be about to come back."""
    need_inotify()
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    path = sandbox.paths.custodian_socket(info["id"])
    with stopped(info["custodian_pid"]):
        path.unlink()
        plant_stale_socket(path)
        sandbox.up()
        assert displayed(sandbox, "work") == "unreachable"
        assert skipped(sandbox) == {path.name: "unreachable: nobody listens there, but its custodian lives"}
        assert path.exists()
    wait_displayed(sandbox, "work", "detached")
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


@pytest.mark.parametrize("asked_by", ["the tick", "a list"])
def test_a_socket_comes_back_where_nothing_tells_of_its_removal(sandbox: Sandbox, asked_by: str) -> None:
    """128 inotify instances for all processes of a user are common, and one editor may have them all."""
    none = 'echo 0 >/proc/sys/user/max_inotify_instances && exec "$@"'
    within = ("unshare", "--user", "--map-root-user", "sh", "-c", none, "sh")
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        machine_cannot("user namespaces are not allowed")
    settings(sandbox, tick=0.1 if asked_by == "the tick" else 3600)
    sandbox.up(within=within)
    info = shell(sandbox, "work")
    opened = open_files(info["custodian_pid"]).values()
    assert "anon_inode:inotify" not in opened and "anon_inode:[eventpoll]" in opened
    path = sandbox.paths.custodian_socket(info["id"])

    custodian: int = info["custodian_pid"]

    def is_back() -> bool:
        if asked_by == "a list":
            sandbox.send("work", b"\r")  # one at rest is not asked by it
            listed(sandbox)
        return peer_pid(path) == custodian

    for _ in range(2):
        path.unlink()
        wait_for(is_back)
    sandbox.restart()
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


def test_a_custodian_killed_while_the_daemon_was_down(sandbox: Sandbox) -> None:
    """C6, Z8: the dead one's id is no obstacle to a fresh start."""
    sandbox.up()
    info = shell(sandbox, "work")
    other = shell(sandbox, "other")
    ask(sandbox, info["id"], "remember-me")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_for(lambda: not alive(info["custodian_pid"]))
    assert sandbox.paths.custodian_socket(info["id"]).exists()
    sandbox.up()
    found = ls(sandbox)
    assert found["work"]["display"] == "ended (lost)"
    assert (found["work"]["pid"], found["work"]["custodian_pid"]) == (None, None)
    assert found["other"]["pid"] == other["pid"]
    terminal = sandbox.attach_pty("work")
    terminal.expect("--- restored; new shell ---")
    assert "remember-me" in terminal.text
    again = sandbox.info("work")
    assert again["pid"] not in (None, info["pid"])
    assert (again["id"], again["display"], again["end_reason"]) == (info["id"], "attached", None)


def test_a_custodian_without_a_record(sandbox: Sandbox) -> None:
    """C7: it knows its session well enough to bring it back, name and all."""
    sandbox.up()
    info = shell(sandbox, "precious", cwd="/var/tmp")
    sandbox.toowl("rename", "precious", "treasure")
    sandbox.kill9()
    (sandbox.paths.session(info["id"]) / "record").unlink()
    sandbox.up()
    found = ls(sandbox)["treasure"]
    assert {key: found[key] for key in ("id", "pid", "display", "persistent", "cwd")} == {
        "id": info["id"],
        "pid": info["pid"],
        "display": "detached",
        "persistent": True,
        "cwd": "/var/tmp",
    }
    sandbox.restart()
    assert ls(sandbox)["treasure"]["pid"] == info["pid"], "the record is on disk again"


def test_a_name_is_on_its_way_when_it_is_answered(sandbox: Sandbox) -> None:
    """C7: the daemon is killed before the custodian, which is busy just then, has read it."""
    sandbox.up()
    info = shell(sandbox, "precious")
    with stopped(info["custodian_pid"]), sandbox.client() as client:
        client.request("rename", session="precious", name="treasure")
        sandbox.kill9()  # at once
    (sandbox.paths.session(info["id"]) / "record").unlink()
    sandbox.up()
    assert ls(sandbox)["treasure"]["id"] == info["id"]


def test_an_adopted_name_that_is_taken_by_now(sandbox: Sandbox) -> None:
    sandbox.up()
    first = shell(sandbox, "dev")
    sandbox.kill9()
    os.kill(first["custodian_pid"], signal.SIGSTOP)  # else it would make its socket again
    wait_for(lambda: psutil.Process(first["custodian_pid"]).status() == psutil.STATUS_STOPPED)
    saved = sandbox.paths.custodian_socket(first["id"]).rename(sandbox.root / "hidden.sock")
    (sandbox.paths.session(first["id"]) / "record").unlink()
    sandbox.up()
    second = shell(sandbox, "dev")
    assert second["name"] == "dev"
    sandbox.kill9()
    saved.rename(sandbox.paths.custodian_socket(first["id"]))
    os.kill(first["custodian_pid"], signal.SIGCONT)
    sandbox.up()
    by_pid = {item["pid"]: item["name"] for item in ls(sandbox).values()}
    assert by_pid[second["pid"]] == "dev"
    assert re.fullmatch(r"dev-\d{6}", by_pid[first["pid"]])


def test_a_custodian_that_claims_another_session(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    path = sandbox.paths.custodian_socket(info["id"])
    # The same listener under one more name.
    os.link(path, sandbox.paths.custodian_socket("0badf00d"))
    sandbox.up()
    assert set(ls(sandbox)) == {"work"}
    assert "can't be adopted" in skipped(sandbox)["0badf00d.sock"]
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])


def test_a_full_disk_does_not_hide_live_sessions(sandbox: Sandbox, disk: Disk) -> None:
    """The record can't be written; the session is there all the same."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with disk.full():
        sandbox.up()
        assert ls(sandbox)["work"]["display"] == "detached"
        terminal = sandbox.attach_pty("work")
        terminal.send("printf 'st%s\\n' ill\r")
        terminal.expect("still\r\n")
        assert sandbox.info("work")["pid"] == info["pid"]


def test_doctor_as_json_names_what_was_skipped(sandbox: Sandbox) -> None:
    sandbox.paths.prepare()
    (sandbox.paths.custodians / "junk").write_text("")
    sandbox.up()
    answer = json.loads(sandbox.toowld("doctor", "--json", check=False).stdout)
    assert any("junk" in json.dumps(finding) for finding in answer["findings"])


def test_a_session_is_not_counted_lost_while_it_starts(sandbox: Sandbox) -> None:
    """A tick meets a session that has no custodian yet, because the zygote is slow."""
    settings(sandbox, tick=0.05)
    sandbox.up()
    with sandbox.client() as client:
        zygote = client.request("doctor")["zygote_pid"]
    with stopped(zygote):
        new = sandbox.terminal("toowl", "new", "-d", "-n", "slow", "--", "sleep", "999")
        wait_displayed(sandbox, "slow", "starting")
        begun = time.monotonic()
        wait_for(lambda: time.monotonic() - begun > 0.3)  # some ticks
        assert displayed(sandbox, "slow") == "starting"
        attach = sandbox.attach_pty("slow")
        assert attach.wait() == 4
        assert "still being started" in attach.text
    assert new.wait() == 0
    item = ls(sandbox)["slow"]
    assert (item["display"], item["end_reason"]) == ("detached", None)
    assert alive(item["pid"])


def test_nothing_is_adopted_twice(sandbox: Sandbox) -> None:
    """Z16: output comes once, whoever found the session."""
    settings(sandbox, tick=0.05)
    sandbox.up()
    info = sandbox.new(
        "bash", "--norc", "-c", "for i in {0..50}; do echo count $i; read -t 0.01; done; sleep 99"
    )
    terminal = sandbox.attach_pty(info["id"])
    sandbox.restart()
    terminal.expect("count 50\r\n")
    assert terminal.text.count("count 7\r\n") == 1
    assert counted(sandbox, info["id"]) == list(range(51))
    assert peer_pid(sandbox.paths.custodian_socket(info["id"])) == info["custodian_pid"]
