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
from typing import Any

import cbor2
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
    stopped,
    wait_displayed,
)
from tests.harness import Sandbox, alive, machine_cannot, need_inotify, peer_pid, wait_for
from toowld.daemon import process
from toowld.daemon.broker import REFRESH_TIMEOUT
from toowld.session import record as records

NOBODY = 65534


def rewrite(box: Sandbox, session: str, **changes: Any) -> None:
    """Change a stored record behind the daemon's back."""
    path = box.paths.session(session) / "record"
    values = cbor2.loads(path.read_bytes())
    path.write_bytes(cbor2.dumps(values | changes))


def plant_stale_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))


def skipped(box: Sandbox) -> dict[str, str]:
    """File name → why the daemon left it alone."""
    with box.client() as client:
        return {Path(item["path"]).name: item["reason"] for item in client.request("doctor")["skipped"]}


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


def test_a_stopped_custodian_is_never_replaced_and_comes_back(sandbox: Sandbox) -> None:
    """Z12: reaching it failed, but the work in it is not lost for that."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        assert displayed(sandbox, "work") == "unreachable"
        assert "P unreachable" in sandbox.toowl("ls").stdout
        attach = sandbox.attach_pty("work")
        assert attach.wait() == 4
        assert "does not answer" in attach.text
        for command in (("send", "work", "x"), ("rm", "work"), ("restart", "work", "--yes")):
            done = sandbox.toowl(*command, check=False)
            assert done.returncode == 4, done
            assert len(done.stderr.splitlines()) == 1
        with sandbox.client() as client:
            [custodian] = client.request("doctor")["custodians"]
        assert (custodian["pid"], custodian["state"]) == (info["custodian_pid"], "unreachable")
        assert set(sandbox.custodians()) == {info["id"]}
    wait_displayed(sandbox, "work", "detached")
    after = ls(sandbox)["work"]
    assert (after["pid"], after["custodian_pid"]) == (info["pid"], info["custodian_pid"])
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])
    assert not skipped(sandbox)


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


def test_one_that_was_stopped_is_back_as_soon_as_it_goes_on(sandbox: Sandbox) -> None:
    settings(sandbox, tick=3600, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        assert displayed(sandbox, "work") == "unreachable"
    wait_displayed(sandbox, "work", "detached")
    assert ask(sandbox, info["id"], "$$") == str(info["pid"])
    assert not skipped(sandbox)


def test_one_that_is_killed_while_it_is_waited_for_can_be_restored(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.kill9()
    os.kill(info["custodian_pid"], signal.SIGSTOP)
    sandbox.up()
    assert displayed(sandbox, "work") == "unreachable"
    os.kill(info["custodian_pid"], signal.SIGKILL)
    wait_displayed(sandbox, "work", "ended (lost)")
    sandbox.attach_pty("work").expect("--- restored; new shell ---")
    assert displayed(sandbox, "work") == "attached"


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


def test_stopped_and_killed_are_told_apart(sandbox: Sandbox) -> None:
    """C4, Z17: no answer is not death."""
    sandbox.up()
    infos = {name: sandbox.new("sleep", "999", name=name) for name in ("stopped", "killed")}
    with stopped(infos["stopped"]["custodian_pid"]):
        os.kill(infos["killed"]["custodian_pid"], signal.SIGKILL)
        wait_displayed(sandbox, "killed", "ended (lost)")
        wait_displayed(sandbox, "stopped", "unreachable")
        found = ls(sandbox)
        assert (found["stopped"]["state"], found["stopped"]["end_reason"]) == ("unreachable", None)
    wait_displayed(sandbox, "stopped", "detached")


def test_a_list_is_not_held_up_twice_by_who_does_not_answer(sandbox: Sandbox) -> None:
    sandbox.up()
    infos = [sandbox.new("sleep", "999", name=f"s{n}") for n in range(4)]
    for info in infos:
        os.kill(info["custodian_pid"], signal.SIGSTOP)
    assert {item["display"] for item in listed(sandbox).values()} == {"unreachable"}
    begun = time.monotonic()
    for _ in range(10):
        assert {item["state"] for item in listed(sandbox).values()} == {"unreachable"}
    assert time.monotonic() - begun < 10 * REFRESH_TIMEOUT
    for info in infos:
        os.kill(info["custodian_pid"], signal.SIGCONT)
    wait_for(lambda: {item["display"] for item in listed(sandbox).values()} == {"detached"})


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


def test_a_stopped_custodian_without_a_record(sandbox: Sandbox) -> None:
    """Nothing is known of it until it answers; then everything is."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    info = shell(sandbox, "precious")
    sandbox.kill9()
    (sandbox.paths.session(info["id"]) / "record").unlink()
    with stopped(info["custodian_pid"]):
        sandbox.up()
        item = ls(sandbox)[info["id"]]
        assert (item["display"], item["custodian_pid"]) == ("unreachable", info["custodian_pid"])
        assert sandbox.toowl("rename", info["id"], "guess", check=False).returncode == 4
        assert not (sandbox.paths.session(info["id"]) / "record").exists()
    wait_displayed(sandbox, "precious", "detached")
    assert ls(sandbox)["precious"]["pid"] == info["pid"]
    assert set(ls(sandbox)) == {"precious"}


def test_a_guess_that_proves_wrong_is_forgotten(sandbox: Sandbox) -> None:
    """Somebody who listens on a socket like a custodian's, never answers, and goes."""
    settings(sandbox, tick=0.2, scan_timeout=0.3)
    sandbox.up()
    path = sandbox.paths.custodian_socket("0badf00d")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        sock.listen()
        wait_displayed(sandbox, "0badf00d", "unreachable")
    wait_for(lambda: not listed(sandbox))
    assert not sandbox.paths.session("0badf00d").exists()
    sandbox.restart()
    assert not ls(sandbox)


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


def test_a_renamed_session_is_told_its_name_when_it_answers(sandbox: Sandbox) -> None:
    settings(sandbox, tick=0.2)
    sandbox.up()
    info = shell(sandbox, "old")
    with stopped(info["custodian_pid"]):
        done = sandbox.toowl("rename", "old", "new")
        assert done.stderr == ""
        sandbox.kill9()
    sandbox.up()
    assert set(ls(sandbox)) == {"new"}
    from toowld.client import Client

    def told() -> str:
        with Client.connect_path(sandbox.paths.custodian_socket(info["id"])) as client:
            return str(client.request("info")["record"]["name"])

    wait_for(lambda: told() == "new")


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


def test_what_a_stopped_custodian_was_asked_in_vain_is_not_done_later(sandbox: Sandbox) -> None:
    """The user was told that it failed, and may have typed it again or thought better of it."""
    sandbox.up()
    info = sandbox.new("cat", name="typist")
    with stopped(info["custodian_pid"]):
        late = sandbox.toowl("send", "typist", "too late", check=False)
        assert late.returncode == 4, late.stderr
    wait_displayed(sandbox, "typist", "detached")
    sandbox.toowl("send", "typist", "in time")
    wait_for(lambda: b"in time" in sandbox.output(info["id"]))
    assert "too late" not in sandbox.toowl("capture", "typist", "--scrollback").stdout
