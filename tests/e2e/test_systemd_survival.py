"""Sessions outlive their daemon under a real systemd: every way that a daemon can go, every way that it is run.

Each test has a counter running, with a client attached. Afterwards it is the same process, no number is missing or
there twice, neither in the log nor on the client's terminal, and what is typed still arrives.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.e2e.box import Box
from tests.e2e.box.deployment import Counter, Deployment
from tests.e2e.box.package import PACKAGE, install_package
from tests.harness import machine_cannot, wait_for

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module", params=["system", "fallback", "user", "template"])
def deployment(box: Box, request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """toowld, running: as root with scopes; without, by KillMode=process alone; in ursula's own lingering manager;
    and for tess, who has no manager at all.
    """
    how = request.param
    users = {"user": "ursula", "template": "tess"}
    if user := users.get(how):
        box.add_user(user)
    if how == "user":
        box.linger("ursula")
        toowld = Deployment(box, "toowld.service", "ursula", own_manager=True)
    elif how == "template":
        toowld = Deployment(box, "toowld@tess.service", "tess")
    else:
        toowld = Deployment(box, "toowld.service")
    toowld.install()
    with toowld.drop_in("scopes", f"Environment=TOOWLD_SCOPES={int(how != 'fallback')}"):
        toowld.systemctl("start", toowld.unit)
        yield toowld
        toowld.clear()


@pytest.fixture
def counter(deployment: Deployment) -> Iterator[Counter]:
    if deployment.show("ActiveState") != "active":  # an earlier test failed
        deployment.systemctl("start", deployment.unit)
    counter = Counter(deployment)
    yield counter
    counter.close()


def has_scopes(deployment: Deployment) -> bool:
    """Whether a manager can be had: tess has none that would outlive her logout."""
    return deployment.user != "tess" and "TOOWLD_SCOPES=0" not in deployment.show("Environment")


def test_the_custodian_is_where_it_should_be_and_the_doctor_agrees(
    deployment: Deployment, counter: Counter
) -> None:
    scope = f"/toowl-{counter.id}.scope"
    if has_scopes(deployment):
        assert counter.cgroup().endswith(scope)
    else:
        assert counter.cgroup().endswith(f"/{deployment.unit}")
    deployment.box.run("toowld", "doctor", user=deployment.user)  # exit status 0: nothing fails


def test_restart(deployment: Deployment, counter: Counter) -> None:
    old = deployment.main_pid
    deployment.systemctl("restart", deployment.unit)
    assert deployment.main_pid not in (0, old)
    counter.assert_undisturbed()


def test_stop_then_start(deployment: Deployment, counter: Counter) -> None:
    deployment.systemctl("stop", deployment.unit)
    assert deployment.show("ActiveState") == "inactive"
    assert deployment.show("Result") == "success"
    counter.goes_on()  # with no daemon at all
    deployment.systemctl("start", deployment.unit)
    counter.assert_undisturbed()


def test_toowl_starts_no_rival_of_the_service(deployment: Deployment, counter: Counter) -> None:
    """It has systemd start it, or says how: a daemon of its own would keep the service from starting ever after."""
    deployment.systemctl("stop", deployment.unit)
    done = deployment.box.run("toowl", "new", "-d", "--", "true", user=deployment.user, check=False)
    if deployment.user == "tess":  # who may not
        assert done.returncode == 5
        assert done.stderr.startswith("toowl: toowld is a service here, and could not be started (")
        assert done.stderr.endswith("): start it with `sudo systemctl start toowld@tess`\n")
        assert deployment.show("ActiveState") == "inactive"
        deployment.systemctl("start", deployment.unit)
    else:
        assert (done.returncode, done.stderr) == (0, "")
    assert deployment.show("ActiveState") == "active"
    status = json.loads(deployment.box.run("toowld", "status", "--json", user=deployment.user).stdout)
    assert status["pid"] == deployment.main_pid
    counter.assert_undisturbed()


def test_toowl_waits_for_a_service_that_is_being_restarted(deployment: Deployment, counter: Counter) -> None:
    old = deployment.main_pid
    deployment.systemctl("kill", "--signal=KILL", "--kill-whom=main", deployment.unit)
    deployment.box.run("toowl", "new", "-d", "--", "true", user=deployment.user)
    deployment.wait_for_another(old)
    status = json.loads(deployment.box.run("toowld", "status", "--json", user=deployment.user).stdout)
    assert status["pid"] == deployment.main_pid
    counter.assert_undisturbed()


def test_kill_9(deployment: Deployment, counter: Counter) -> None:
    for _ in range(2):
        old = deployment.main_pid
        deployment.systemctl("kill", "--signal=KILL", "--kill-whom=main", deployment.unit)
        deployment.wait_for_another(old)
        counter.goes_on()
    counter.assert_undisturbed()


def test_a_daemon_that_hangs_is_replaced_by_the_watchdog(deployment: Deployment, counter: Counter) -> None:
    with deployment.drop_in("watchdog", "WatchdogSec=1"):
        deployment.systemctl("restart", deployment.unit)
        old = deployment.main_pid
        restarts = int(deployment.show("NRestarts"))
        deployment.box.run("kill", "-STOP", str(old))
        counter.goes_on()  # with the daemon stopped
        deployment.wait_for_another(old)
        assert int(deployment.show("NRestarts")) > restarts
    deployment.systemctl("restart", deployment.unit)
    counter.assert_undisturbed()


def test_an_oom_kill_of_the_daemon(deployment: Deployment, counter: Counter) -> None:
    box, old = deployment.box, deployment.main_pid
    if "memory" in box.run("cat", "/sys/fs/cgroup/cgroup.controllers").stdout.split():
        if not has_scopes(deployment):
            machine_cannot("give the daemon a memory limit of its own while its custodians share its cgroup")
        deployment.systemctl("set-property", "--runtime", deployment.unit, "MemoryMax=1M")
        wait_for(lambda: deployment.main_pid != old, what="the OOM kill")
        deployment.systemctl("set-property", "--runtime", deployment.unit, "MemoryMax=infinity")
    else:
        cgroup = box.memory_cgroup()
        if cgroup is None:
            machine_cannot("limit memory: there is no memory controller, in neither version of cgroups")
            return
        # No memory may be had at all from now on: the daemon's next page is its last.
        (cgroup / "memory.limit_in_bytes").write_text("0")
        (cgroup / "cgroup.procs").write_text(str(box.outer_pid(old)))

        def killed() -> bool:
            box.run("toowl", "ls", user=deployment.user, check=False)  # gives it something to do
            return "oom_kill 1" in (cgroup / "memory.oom_control").read_text()

        wait_for(killed, what="the OOM kill")
    deployment.wait_for_another(old)
    counter.assert_undisturbed()


def test_the_package_is_replaced_while_the_daemon_is_down(deployment: Deployment, counter: Counter) -> None:
    box = deployment.box
    version = box.path(f"{PACKAGE}/toowld/__init__.py")
    try:
        deployment.systemctl("stop", deployment.unit)
        install_package(box)
        version.write_text(version.read_text() + '\n__version__ = "99.0.0"\n')
        counter.goes_on()
        deployment.systemctl("start", deployment.unit)
        status = json.loads(box.run("toowld", "status", "--json", user=deployment.user).stdout)
        assert status["version"] == "99.0.0"
        assert deployment.row(counter.id)["custodian_version"] != "99.0.0"
        counter.assert_undisturbed()
    finally:
        install_package(box)
        deployment.systemctl("restart", deployment.unit)


def test_scopes_hold_even_under_the_default_kill_mode(deployment: Deployment, counter: Counter) -> None:
    if not has_scopes(deployment):
        # Not a skip: without scopes and KillMode=process nothing is promised.
        return
    with deployment.drop_in("killmode", "KillMode=control-group"):
        assert deployment.show("KillMode") == "control-group"
        deployment.systemctl("stop", deployment.unit)
        counter.goes_on()
        deployment.systemctl("start", deployment.unit)
        deployment.systemctl("restart", deployment.unit)
    counter.assert_undisturbed()


def test_a_logout_reaches_no_session(deployment: Deployment, counter: Counter) -> None:
    """The user's own manager goes at the last logout, unless it lingers, and its scopes with it."""
    if deployment.user == "root":
        return
    manager = f"user@{deployment.box.uid(deployment.user)}.service"
    if not deployment.own_manager:
        deployment.box.run("systemctl", "start", manager)
        another = Counter(deployment)  # made while somebody is logged in
        try:
            deployment.box.run("systemctl", "stop", manager)
            another.assert_undisturbed()
        finally:
            another.close()
    assert deployment.box.run("systemctl", "is-active", manager, check=False).stdout == (
        "active\n" if deployment.own_manager else "inactive\n"
    )
    counter.assert_undisturbed()


def test_without_the_flag_the_shell_ends_with_the_daemon(deployment: Deployment) -> None:
    with deployment.drop_in("flag", "Environment=TOOWLD_PERSISTENT_SESSIONS=0"):
        deployment.systemctl("restart", deployment.unit)
        session = deployment.toowl("new", "-d", "--cwd", "/", "--", "sleep", "1000").split()[0]
        before = deployment.row(session)
        assert (before["persistent"], before["custodian_pid"], before["state"]) == (False, None, "running")
        deployment.systemctl("restart", deployment.unit)
        wait_for(
            lambda: not deployment.box.path(f"/proc/{before['pid']}").exists(), what="the end of the child"
        )
        assert deployment.row(session)["display"] == "ended (lost)"
        assert "- ended (lost)" in deployment.toowl("ls")
    deployment.systemctl("restart", deployment.unit)
