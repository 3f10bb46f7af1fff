"""Limits of a session, by a real systemd and a real kernel."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.box import Box
from tests.e2e.box.deployment import Deployment
from tests.harness import machine_cannot, wait_for

pytestmark = pytest.mark.e2e

#: Takes what it is told, in MiB, and touches all of it.
EATER = "x = bytearray(int({mib}) << 20); x[::4096] = b'x' * len(x[::4096]); print('ate')"


@pytest.fixture(scope="module")
def deployment(box: Box) -> Iterator[Deployment]:
    toowld = Deployment(box, "toowld.service")
    toowld.install()
    toowld.systemctl("start", toowld.unit)
    yield toowld
    toowld.clear()


def controllers(box: Box) -> set[str]:
    """Those that the box's systemd can use: a machine that has them in the first version of cgroups has none here."""
    return set(box.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split())


@pytest.fixture
def enforced(box: Box) -> None:
    if lacking := {"memory", "cpu", "pids"} - controllers(box):
        machine_cannot(f"the second version of cgroups has no {', '.join(sorted(lacking))} here")


def test_what_the_kernel_would_not_enforce_is_refused(deployment: Deployment) -> None:
    """systemd takes every property; that is no promise."""
    names = {"memory": "--memory-max", "cpu": "--cpu-quota", "pids": "--tasks-max"}
    for controller, flag in names.items():
        command = ("toowl", "new", "-d", "--cwd", "/", flag, str(64 << 20), "--", "sleep", "999")
        done = deployment.box.run(*command, check=False)
        if controller in controllers(deployment.box):
            assert done.returncode == 0, done.stderr
            deployment.toowl("kill", done.stdout.split()[0])
        else:
            assert done.returncode == 4 and done.stdout == ""
            assert f"its scope has no {controller} controller" in done.stderr and done.stderr.count("\n") == 1
    rows = json.loads(deployment.toowl("ls", "--json"))
    assert [row for row in rows if row["state"] == "running"] == []


def new(deployment: Deployment, *words: str) -> str:
    return deployment.toowl("new", "-d", "--cwd", "/", *words).split()[0]


def info(deployment: Deployment, session: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(deployment.toowl("info", "--json", session))
    return found


def test_what_the_settings_say_reaches_systemd(deployment: Deployment) -> None:
    """For every session that says nothing itself; it starts whether the kernel can do it or not."""
    box = deployment.box
    box.write("/root/.config/toowl/config.toml", '[defaults]\nmemory_max = "512M"\ntasks_max = 40\n')
    box.run("toowld", "reload")
    session = new(deployment, "--cpu-quota", "0", "--", "sleep", "999")
    names = ("MemoryMax", "TasksMax")
    shown = deployment.systemctl("show", f"toowl-{session}.scope", *(f"--property={name}" for name in names))
    assert set(shown.splitlines()) == {f"MemoryMax={512 << 20}", "TasksMax=40"}
    able = {"memory", "pids"} <= controllers(box)
    wanted = {"memory_max": 512 << 20, "tasks_max": 40} if able else {}
    assert info(deployment, session)["record"]["confined"] == wanted
    box.path("/root/.config/toowl/config.toml").unlink()
    box.run("toowld", "reload")
    deployment.toowl("kill", session)


@pytest.mark.usefixtures("enforced")
def test_the_scope_has_them_and_info_shows_them(deployment: Deployment) -> None:
    limits = ("--memory-max", "512M", "--cpu-quota", "150%", "--tasks-max", "40")
    session = new(deployment, *limits, "--", "sleep", "999")
    names = ("MemoryMax", "CPUQuotaPerSecUSec", "TasksMax")
    shown = deployment.systemctl("show", f"toowl-{session}.scope", *(f"--property={name}" for name in names))
    assert set(shown.splitlines()) == {
        f"MemoryMax={512 << 20}",
        "CPUQuotaPerSecUSec=1.500s",
        "TasksMax=40",
    }
    assert "memory 512.0 MiB, CPU 150 %, 40 tasks" in deployment.toowl("info", session)
    deployment.toowl("kill", session)


@pytest.mark.usefixtures("enforced")
def test_who_eats_more_is_ended_and_nobody_else(deployment: Deployment) -> None:
    """The program, not its shell, and not the session's keeper."""
    shell = new(deployment, "--memory-max", "64M", "--", "bash", "--norc", "--noprofile")
    other = new(deployment, "--", "sleep", "999")
    eat = f'python3 -c "{EATER.format(mib=200)}"; echo "status-is-$?"'
    deployment.toowl("send", shell, eat)
    wait_for(lambda: "status-is-137" in deployment.toowl("capture", shell), what="the eater to be killed")
    deployment.toowl("send", shell, 'echo "still-$((6*7))"')
    wait_for(lambda: "still-42" in deployment.toowl("capture", shell), what="the shell to answer")
    assert info(deployment, other)["state"] == "running"
    for session in (shell, other):
        deployment.toowl("kill", session)


@pytest.mark.usefixtures("enforced")
def test_no_more_processes_than_that(deployment: Deployment) -> None:
    session = new(deployment, "--tasks-max", "8", "--", "bash", "--norc", "--noprofile")
    deployment.toowl("send", session, 'for i in $(seq 20); do sleep 999 & done; echo "asked-$((40+2))"')
    wait_for(
        lambda: "Resource temporarily unavailable" in deployment.toowl("capture", session, "--scrollback")
    )
    deployment.toowl("kill", "--force", session)


@pytest.mark.usefixtures("enforced")
def test_they_hold_for_the_next_program_too(deployment: Deployment) -> None:
    session = new(deployment, "--", "sleep", "999")
    assert info(deployment, session)["record"]["confined"] == {}
    deployment.toowl("set", session, "tasks_max=40")
    deployment.toowl("restart", "--yes", session)
    shown = deployment.systemctl("show", f"toowl-{session}.scope", "--property=TasksMax")
    assert shown == "TasksMax=40"
    assert info(deployment, session)["record"]["confined"] == {"tasks_max": 40}
    deployment.toowl("kill", session)
