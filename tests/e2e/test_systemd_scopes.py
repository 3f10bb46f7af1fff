"""A scope of its own for each custodian, asked of real managers: the machine's, and users' own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from tests.e2e.box import Box
from tests.e2e.box.package import PACKAGE
from tests.harness import wait_for

pytestmark = pytest.mark.e2e

#: Asks for scopes of [[id, pid, limits], …] all at once, and prints what became of it.
CREATE = """
import asyncio, json, sys
sys.path.insert(0, "{package}")
from toowld.daemon import systemd
{before}
async def main():
    scopes = systemd.Scopes()
    wanted = json.loads(sys.argv[1])
    names = await asyncio.gather(*(
        scopes.create(id, pid, description="session\\n" + id, limits=systemd.Limits(**limits))
        for id, pid, limits in wanted
    ))
    print(json.dumps([names, scopes.manager, scopes.reason]))
asyncio.run(main())
"""

#: The manager's own socket, as where no D-Bus daemon runs.
WITHOUT_BUS = "systemd._sockets = lambda manager: [('/run/systemd/private', False)]"


def create(box: Box, *wanted: list[Any], user: str = "root", before: str = "") -> Any:
    code = CREATE.format(package=PACKAGE, before=before)
    return json.loads(box.run(sys.executable, "-P", "-c", code, json.dumps(wanted), user=user).stdout)


@contextmanager
def sleeper(box: Box, user: str = "root") -> Iterator[int]:
    """A process of the box that stands for a custodian; its pid in there."""
    with subprocess.Popen(
        box.command("sh", "-c", "echo $$; exec sleep 1000", user=user), stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        try:
            yield pid
        finally:
            box.run("kill", "-KILL", str(pid), check=False)


def cgroup(box: Box, pid: int) -> str:
    text = box.run("cat", f"/proc/{pid}/cgroup").stdout
    return next(line for line in text.splitlines() if line.startswith("0::"))[3:]


def show(box: Box, unit: str, *names: str) -> dict[str, str]:
    text = box.run("systemctl", "show", unit, *(f"--property={name}" for name in names)).stdout
    return dict(line.split("=", 1) for line in text.splitlines())


def test_the_process_is_in_its_scope_when_create_returns(box: Box) -> None:
    with sleeper(box) as pid:
        before = time.monotonic()
        assert create(box, ["0a1b2c3d", pid, {}]) == [["toowl-0a1b2c3d.scope"], "system", None]
        assert time.monotonic() - before < 1.5
        assert cgroup(box, pid) == "/system.slice/toowl-0a1b2c3d.scope"
        found = show(
            box,
            "toowl-0a1b2c3d.scope",
            *("CollectMode", "SendSIGHUP", "Description", "PartOf", "BindsTo", "TimeoutStopUSec"),
        )
    assert found == {
        "CollectMode": "inactive-or-failed",
        "SendSIGHUP": "yes",
        "Description": "session 0a1b2c3d",
        "PartOf": "",
        "BindsTo": "",
        "TimeoutStopUSec": "10s",
    }


def test_the_scope_goes_with_its_last_process_and_the_name_is_free_again(box: Box) -> None:
    for _ in range(2):
        with sleeper(box) as pid:
            assert create(box, ["0b0b0b0b", pid, {}])[0] == ["toowl-0b0b0b0b.scope"]
        wait_for(lambda: show(box, "toowl-0b0b0b0b.scope", "LoadState")["LoadState"] == "not-found")


def test_a_scope_that_lingers_does_not_stand_in_the_way(box: Box) -> None:
    with sleeper(box) as left_behind, sleeper(box) as pid:
        create(box, ["0c0c0c0c", left_behind, {}])
        assert create(box, ["0c0c0c0c", pid, {}])[0] == [f"toowl-0c0c0c0c-{pid}.scope"]
        assert cgroup(box, pid) == f"/system.slice/toowl-0c0c0c0c-{pid}.scope"
        assert cgroup(box, left_behind) == "/system.slice/toowl-0c0c0c0c.scope"


def test_limits_of_a_session(box: Box) -> None:
    limits = {"memory_max": 1 << 30, "cpu_quota_per_sec_usec": 500_000, "tasks_max": 50}
    with sleeper(box) as pid:
        create(box, ["0d0d0d0d", pid, limits])
        assert show(box, "toowl-0d0d0d0d.scope", "MemoryMax", "CPUQuotaPerSecUSec", "TasksMax") == {
            "MemoryMax": str(1 << 30),
            "CPUQuotaPerSecUSec": "500ms",
            "TasksMax": "50",
        }


def test_without_a_bus_the_manager_is_asked_itself(box: Box) -> None:
    with sleeper(box) as pid:
        assert create(box, ["0e0e0e0e", pid, {}], before=WITHOUT_BUS)[0] == ["toowl-0e0e0e0e.scope"]
        assert cgroup(box, pid) == "/system.slice/toowl-0e0e0e0e.scope"


def test_a_manager_that_does_not_know_oompolicy_still_makes_a_scope(box: Box) -> None:
    # A property that no systemd knows, with the same word in its error message.
    before = "old = systemd._Manager.start_scope\nasync def start(self, name, properties):\n"
    before += (
        "    renamed = [('OOMPolicyX' if key == 'OOMPolicy' else key, value) for key, value in properties]\n"
    )
    before += "    await old(self, name, renamed)\nsystemd._Manager.start_scope = start\n"
    with sleeper(box) as pid:
        assert create(box, ["0f0f0f0f", pid, {}], before=before)[0] == ["toowl-0f0f0f0f.scope"]


def test_a_process_that_is_gone_is_a_reason_and_no_error(box: Box) -> None:
    names, manager, reason = create(box, ["10101010", 999_999, {}])
    assert (names, manager) == ([None], "none")
    assert "999999 does not exist" in reason


def test_many_at_once(box: Box) -> None:
    start = "for i in $(seq 50); do sleep 1000 >/dev/null 2>&1 & echo $!; done"
    pids = [int(pid) for pid in box.run("sh", "-c", start).stdout.split()]
    names, manager, reason = create(box, *([f"{pid:08x}", pid, {}] for pid in pids))
    assert (manager, reason) == ("system", None)
    assert names == [f"toowl-{pid:08x}.scope" for pid in pids]
    box.run("kill", *map(str, pids))


def test_a_user_whose_manager_lingers(box: Box) -> None:
    uid = box.add_user("linda")
    box.linger("linda")
    # The process comes from elsewhere: the user's manager has to ask the machine's to move it.
    with sleeper(box, user="linda") as pid:
        assert create(box, ["11111111", pid, {}], user="linda") == [["toowl-11111111.scope"], "user", None]
        assert f"/user@{uid}.service/" in cgroup(box, pid)
        assert cgroup(box, pid).endswith("/toowl-11111111.scope")


def test_a_user_whose_manager_ends_at_logout_keeps_the_custodian_out_of_it(box: Box) -> None:
    box.add_user("nolan")
    with sleeper(box, user="nolan") as pid:
        before = cgroup(box, pid)
        names, manager, reason = create(box, ["12121212", pid, {}], user="nolan")
        assert (names, manager) == ([None], "none")
        assert "loginctl enable-linger" in reason
        assert cgroup(box, pid) == before
