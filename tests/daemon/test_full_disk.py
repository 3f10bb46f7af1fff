"""A disk that is full or read-only: what can't be noted is refused, clearly, and nothing else is harmed."""

from __future__ import annotations

from tests.daemon.conftest import Disk
from tests.daemon.steps import apart_from_zygote, displayed, ls, shell, wait_displayed
from tests.harness import Sandbox, wait_for


def test_a_full_disk_refuses_new_sessions_clearly(sandbox: Sandbox, disk: Disk) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    before = apart_from_zygote(sandbox)
    with disk.full():
        done = sandbox.toowl("new", "-d", "-n", "more", "--", "sleep", "99", check=False)
        assert done.returncode == 1
        assert "No space left on device" in done.stderr
        assert len(done.stderr.splitlines()) == 1
        done = sandbox.toowl("rename", "work", "play", check=False)
        assert done.returncode == 1
        assert "No space left" in done.stderr
        assert set(ls(sandbox)) == {"work"}, "what the disk refused is not true in memory"
        wait_for(lambda: apart_from_zygote(sandbox) == before)
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
