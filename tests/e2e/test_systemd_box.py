"""The box itself: it is a real systemd, it touches nothing of the machine, and it always ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.box import Box, remove_cgroup, running, unavailable
from tests.harness import REPOSITORY, wait_for

pytestmark = pytest.mark.e2e

#: A service that stands in for a daemon: ready when it says so, and has a child that ignores its end.
STAND_IN = """\
[Service]
Type=notify
NotifyAccess=all
User=standin
RuntimeDirectory=standin
KillMode=process
ExecStart=/bin/bash -c 'setsid sleep 999 & echo $! >$RUNTIME_DIRECTORY/child; systemd-notify --ready; exec sleep 999'
"""


def left_over(name: str) -> list[Path]:
    return [path for base in ("/sys/fs/cgroup", "/dev/shm") for path in Path(base).glob(f"**/{name}*")]


def test_systemd_is_the_first_process_and_all_is_well(box: Box) -> None:
    assert box.run("cat", "/proc/1/comm").stdout == "systemd\n"
    assert box.run("systemctl", "--failed", "--no-legend").stdout == ""
    wait_for(lambda: box.run("systemctl", "is-system-running", check=False).stdout == "running\n")


def test_a_service_runs_stops_and_leaves_what_its_unit_says(box: Box) -> None:
    box.add_user("standin")
    box.write("/etc/systemd/system/standin.service", STAND_IN)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "start", "standin")
    child = int(box.path("/run/standin/child").read_text())
    assert running(box.outer_pid(child))
    box.run("systemctl", "stop", "standin")
    assert running(box.outer_pid(child)), "KillMode=process"
    box.run("kill", str(child))


def test_a_user_has_a_manager(box: Box) -> None:
    box.add_user("lingerer")
    box.linger("lingerer")
    assert box.run("systemctl", "--user", "is-system-running", user="lingerer").stdout == "running\n"
    assert box.run("id", "-un", user="lingerer").stdout == "lingerer\n"


def test_nothing_that_is_written_reaches_the_machine(box: Box) -> None:
    for path in ("/etc/toowl-box-test", "/tmp/toowl-box-test", "/run/toowl-box-test", "/var/toowl-box-test"):
        box.write(path, "x")
        assert box.run("cat", path).stdout == "x"
        assert not Path(path).exists()


def test_close_leaves_nothing() -> None:
    if reason := unavailable():
        pytest.skip(reason)
    with Box() as box:
        init_pid = box.init_pid
        process = subprocess.Popen(
            box.command("sh", "-c", "echo inside; exec sleep 1000"), stdout=subprocess.PIPE
        )
        assert process.stdout is not None and process.stdout.readline() == b"inside\n"
        name = box.name
        assert left_over(name)
    with process:
        assert process.wait(5) == -signal.SIGKILL
    assert not running(init_pid)
    assert left_over(name) == []


def test_the_box_ends_with_its_maker() -> None:
    if reason := unavailable():
        pytest.skip(reason)
    code = "from tests.e2e.box import Box\nwith Box() as b: print(b.init_pid, b.name, flush=True); input()"
    maker = subprocess.Popen(
        [sys.executable, "-c", code], cwd=REPOSITORY, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with maker:
        assert maker.stdout is not None
        init_pid, name = maker.stdout.readline().split()
        assert running(int(init_pid))
        maker.kill()
        wait_for(lambda: not running(int(init_pid)), what="the end of the box")
    for path in left_over(name):  # a later box would remove it, but not at once
        remove_cgroup(path) if path.is_dir() else path.unlink()
