"""`toowld install` on a machine: its unit starts, its user finds the daemon, and a restart costs no session."""

from __future__ import annotations

import pytest

from tests.e2e.box import Box
from tests.e2e.box.deployment import Counter, Deployment

pytestmark = pytest.mark.e2e


def enable(box: Box, *options: str, user: str = "root") -> None:
    """Install as told, then type what it says comes next."""
    printed = box.run("toowld", "install", *options, user=user).stdout
    commands = [line.split("#")[0].split() for line in printed.split("Next:\n")[1].splitlines()]
    assert commands
    for command in commands:
        box.run(*command, user=user)


def restart_under_a_session(deployment: Deployment) -> str:
    """The cgroup of the custodian of a session that went through a restart."""
    counter = Counter(deployment)
    try:
        deployment.systemctl("restart", deployment.unit)
        counter.assert_undisturbed()
        return counter.cgroup()
    finally:
        counter.close()


def test_what_a_unit_left_behind_is_no_service(box: Box) -> None:
    """Its folder below /run stays until the next boot; without a unit the daemon is toowl's own to start again."""
    uid = box.add_user("quin")
    box.run("install", "-d", "-m", "700", "-o", str(uid), "-g", str(uid), "/run/toowl-quin")
    box.run("toowl", "new", "-d", "--cwd", "/", "--", "true", user="quin")
    status = box.run("toowld", "status", user="quin").stdout
    assert "runtime folder: /run/toowl-quin" in status
    box.run("toowld", "stop", "--yes", user="quin")


def test_a_unit_of_the_machine_for_one_user(box: Box) -> None:
    uid = box.add_user("una")
    box.linger("una")
    enable(box, "--system", "--run-as", "una")
    deployment = Deployment(box, "toowld.service", "una")
    assert box.path("/run/toowl").stat().st_uid == uid
    # The daemon is a service of the machine, and yet has una's manager hold the scopes.
    assert f"/user@{uid}.service/" in restart_under_a_session(deployment)
    assert box.path("/home/una/.local/state/toowl/sessions").is_dir()
    # The machine's other users are not served by it, and are told so.
    box.add_user("vera")
    refused = box.run("env", "TOOWL_NO_AUTOSTART=1", "toowl", "ls", user="vera", check=False)
    assert refused.returncode == 5
    deployment.clear()
    box.run("systemctl", "disable", "toowld")


def test_a_unit_of_ones_own(box: Box) -> None:
    uid = box.add_user("walt")
    box.linger("walt")
    enable(box, user="walt")
    deployment = Deployment(box, "toowld.service", "walt", own_manager=True)
    assert f"/user@{uid}.service/" in restart_under_a_session(deployment)
    deployment.clear()


def test_two_users_of_the_template_do_not_meet(box: Box) -> None:
    for user in ("xena", "yuri"):
        box.add_user(user)
    enable(box, "--template")
    deployments = [Deployment(box, f"toowld@{user}.service", user) for user in ("xena", "yuri")]
    for deployment in deployments:
        deployment.systemctl("start", deployment.unit)
    session = deployments[0].toowl("new", "-d", "-n", "hers", "--cwd", "/").split()[0]
    assert session in deployments[0].toowl("ls")
    assert session not in deployments[1].toowl("ls")
    for deployment in deployments:
        deployment.clear()


def test_without_root_the_machine_is_left_alone(box: Box) -> None:
    box.add_user("zoe")
    refused = box.run("toowld", "install", "--system", user="zoe", check=False)
    assert refused.returncode == 4
    assert "sudo toowld install --system --run-as zoe" in refused.stderr
    assert "Traceback" not in refused.stderr
