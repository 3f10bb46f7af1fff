"""The sandbox with a real daemon in it: what all process tests stand on, and the promise in its shortest form."""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path

import pytest

from tests.harness import Sandbox, alive, wait_for
from tests.harness.nursery import Forked

COUNT = 'i=0; while :; do echo "count $i"; i=$((i+1)); sleep 0.002; done'


def counted(box: Sandbox, session: str) -> list[int]:
    return [int(number) for number in re.findall(rb"count (\d+)\r\n", box.output(session))]


def test_up_answers_and_stop_leaves_nothing(sandbox: Sandbox) -> None:
    pid = sandbox.up()
    with sandbox.client() as client:
        status = client.request("status")
    assert status["pid"] == pid
    assert status["persistent_enabled"] is True
    assert sandbox.stop() == 0
    sandbox.assert_clean()


def test_up_without_the_flag(sandbox: Sandbox) -> None:
    sandbox.up(flag=False)
    with sandbox.client() as client:
        assert client.request("status")["persistent_enabled"] is False


def test_a_daemon_that_can_not_start_shows_its_words(sandbox: Sandbox) -> None:
    sandbox.paths.runtime.symlink_to("/nowhere")
    with pytest.raises(AssertionError, match=r"(?s)toowld ended with 1:.*symlink"):
        sandbox.up()


def test_a_session_outlives_the_daemon_without_a_hole(sandbox: Sandbox) -> None:
    first = sandbox.up()
    info = sandbox.new("sh", "-c", COUNT, name="count")
    wait_for(lambda: len(counted(sandbox, info["id"])) > 50)
    sandbox.kill9()
    so_far = len(counted(sandbox, info["id"]))
    wait_for(lambda: len(counted(sandbox, info["id"])) > so_far + 50, what="counting without a daemon")
    assert sandbox.up() != first
    after = sandbox.info("count")
    assert after["persistent"]
    assert (after["id"], after["pid"], after["state"]) == (info["id"], info["pid"], "running")
    assert sandbox.custodians() == {info["id"]: after["custodian_pid"]}
    wait_for(lambda: len(counted(sandbox, info["id"])) > so_far + 100)
    numbers = counted(sandbox, info["id"])
    assert numbers == list(range(len(numbers)))


def test_a_standard_session_ends_with_the_daemon(sandbox: Sandbox) -> None:
    sandbox.up(flag=False)
    info = sandbox.new("sleep", "300")
    assert not info["persistent"]
    pid = sandbox.info(info["id"])["pid"]
    sandbox.stop()
    wait_for(lambda: not alive(pid))
    sandbox.assert_clean()


def test_a_user_at_a_terminal(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new("sh", name="shell")
    terminal = sandbox.attach_pty("shell", rows=30, cols=100)
    terminal.send("printf 'he%s\\n' llo; stty size\r")  # the echo of what is typed can't pass for output
    terminal.expect("hello\r\n")
    terminal.expect("30 100\r\n")
    sandbox.restart()
    terminal.send("printf 'ag%s\\n' ain\r")
    terminal.expect("again\r\n")
    terminal.send(b"\x1cd")
    assert terminal.wait() == 0
    assert "[detached from shell]" in terminal.text
    assert alive(info["pid"] or sandbox.info("shell")["pid"])


def test_the_sandbox_takes_everything_with_it() -> None:
    with Sandbox() as box:
        box.up()
        info = box.new("sh", "-c", "sleep 300 & setsid sleep 300 & wait")
        wait_for(lambda: box.info(info["id"])["pid"])
        wait_for(lambda: [p for p in box.processes() if p.name() == "sleep"][1:], what="both sleeps")
        pids = [process.pid for process in box.processes()]
        assert {box.daemon_pid, box.custodians()[info["id"]]} <= set(pids)
        box.signal(signal.SIGKILL)
    wait_for(lambda: not any(alive(pid) for pid in pids))


def what_exec_brings(box: Sandbox) -> dict[str, object]:
    """What the kernel says of a daemon, but for its memory and the time."""
    folder = Path(f"/proc/{box.daemon_pid}")
    root = os.fspath(box.root)
    status = (folder / "status").read_text()
    wanted = ("Umask", "Threads", "SigBlk", "SigIgn", "SigCgt", "CapEff", "Seccomp", "NoNewPrivs")
    links = {fd: os.fspath(fd.readlink()) for fd in (folder / "fd").iterdir()}
    return {
        "status": [line for line in status.splitlines() if line.startswith(wanted)],
        "limits": (folder / "limits").read_text(),
        "session": os.getsid(box.daemon_pid) == os.getpgid(box.daemon_pid) == box.daemon_pid,
        "folder": os.fspath((folder / "cwd").readlink()).replace(root, ""),
        "open": {int(fd.name): re.sub(r"\d+", "N", link.replace(root, "")) for fd, link in links.items()},
        "libraries": set(re.findall(r"\S+\.so\S*", (folder / "maps").read_text())),
    }


def test_a_daemon_of_the_nursery_is_as_one_that_is_execed() -> None:
    with Sandbox() as box, Sandbox(forks=False) as execed:
        for one in (box, execed):
            one.up()
        assert isinstance(box.daemon, Forked) and isinstance(execed.daemon, subprocess.Popen)
        # Until they have hung up on those who asked whether they are there.
        wait_for(lambda: what_exec_brings(box) == what_exec_brings(execed))
        # Also to whoever waits for its end.
        for number in (signal.SIGTERM, signal.SIGKILL):
            assert box.signal(number) == execed.signal(number)
            assert box.daemon.poll() == execed.daemon.poll()
            for one in (box, execed):
                one.up()
        assert box.daemon_text().count("ready: ") == execed.daemon_text().count("ready: ") == 3
