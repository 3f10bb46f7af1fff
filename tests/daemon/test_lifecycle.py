"""How sessions begin, end, and begin again: each end has its name, and nothing is started that nobody asked for."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from tests.daemon.steps import (
    apart_from_zygote,
    ask,
    displayed,
    listed,
    ls,
    open_files,
    running,
    shell,
    wait_displayed,
)
from tests.harness import Sandbox, alive, wait_for


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
    before = apart_from_zygote(sandbox)
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
    wait_for(lambda: apart_from_zygote(sandbox) == before, what="no process left over")
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
