"""What the daemon says to systemd, seen from the other side of the socket. Real managers: tests/e2e."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import REPOSITORY
from toowld.daemon import systemd
from toowld.daemon.systemd import Limits, Notifier, Scopes, choose_manager


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The notify socket of a service manager, at the address that its name is."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(5)
        yield listener


def notifier(manager: socket.socket, **more: str) -> Notifier:
    return Notifier({"NOTIFY_SOCKET": manager.getsockname(), **more})


def test_ready_comes_with_a_status(manager: socket.socket) -> None:
    ours = notifier(manager)
    assert ours.connected
    ours.ready("2 sessions")
    assert manager.recv(1000) == b"READY=1\nSTATUS=2 sessions"
    ours.close()


def test_status_watchdog_and_stopping(manager: socket.socket) -> None:
    ours = notifier(manager)
    ours.status("3 sessions")
    ours.watchdog()
    ours.stopping()
    assert [manager.recv(1000) for _ in range(3)] == [
        b"STATUS=3 sessions",
        b"WATCHDOG=1",
        b"STOPPING=1\nSTATUS=stopping",
    ]
    ours.close()


def test_a_status_can_not_smuggle_in_another_assignment(manager: socket.socket) -> None:
    ours = notifier(manager)
    ours.status("one\nMAINPID=1 \u00e9\u4e16")
    assert manager.recv(1000) == rb"STATUS=one MAINPID=1 \xe9\u4e16"
    ours.close()


def test_an_abstract_address_is_understood() -> None:
    name = f"toowl-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name)
        ours = Notifier({"NOTIFY_SOCKET": "@" + name})
        ours.watchdog()
        assert listener.recv(1000) == b"WATCHDOG=1"
        ours.close()


def test_nothing_below_inherits_what_was_for_us(manager: socket.socket) -> None:
    environ = {
        "NOTIFY_SOCKET": manager.getsockname(),
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "LISTEN_PID": "1",
        "LISTEN_FDS": "1",
        "LISTEN_FDNAMES": "a",
        "HOME": "/h",
    }
    ours = Notifier(environ)
    assert environ == {"HOME": "/h"}
    assert "NOTIFY_SOCKET" not in os.environ
    ours.close()


def test_without_systemd_all_of_it_does_nothing() -> None:
    ours = Notifier({})
    ours.ready("x")
    ours.watchdog()
    ours.close()
    assert not ours.connected
    assert ours.watchdog_interval is None


def test_a_manager_that_is_gone_disturbs_nobody(manager: socket.socket, tmp_path: Path) -> None:
    ours = notifier(manager)
    manager.close()
    ours.watchdog()
    ours.close()
    assert not Notifier({"NOTIFY_SOCKET": str(tmp_path / "nobody")}).connected


@pytest.mark.parametrize(
    ("variables", "interval"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_interval_is_half_of_what_is_allowed(
    variables: dict[str, str], interval: float | None
) -> None:
    assert Notifier(variables).watchdog_interval == interval


# -- which manager is asked ------------------------------------------------------------------------------


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root folder of a machine that systemd runs, seen by a user who is not root."""
    monkeypatch.delenv("TOOWLD_SCOPES", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 65534)  # nobody: has a name on every machine
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "var/lib/systemd/linger").mkdir(parents=True)
    return tmp_path


def write_cgroup(machine: Path, text: str) -> None:
    (machine / "proc/self").mkdir(parents=True)
    (machine / "proc/self/cgroup").write_text(text)


def test_root_asks_the_system_manager(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.getuid", lambda: 0)
    assert choose_manager(machine) == ("system", None)


def test_below_the_own_manager_it_is_asked(machine: Path) -> None:
    write_cgroup(machine, "0::/user.slice/user-65534.slice/user@65534.service/app.slice/toowld.service\n")
    assert choose_manager(machine) == ("user", None)


def test_a_manager_that_lingers_is_asked_from_anywhere(machine: Path) -> None:
    write_cgroup(machine, "0::/system.slice/toowld.service\n")
    (machine / "var/lib/systemd/linger/nobody").touch()
    assert choose_manager(machine) == ("user", None)


@pytest.mark.parametrize(
    "cgroup", ["system.slice/toowld.service", "user.slice/user-65534.slice/session-3.scope"]
)
def test_a_manager_that_ends_at_logout_is_not_asked(machine: Path, cgroup: str) -> None:
    write_cgroup(machine, f"0::/{cgroup}\n")
    manager, reason = choose_manager(machine)
    assert manager == "none"
    assert reason is not None and "loginctl enable-linger" in reason


def test_no_systemd_no_scopes(machine: Path) -> None:
    (machine / "run/systemd/system").rmdir()
    assert choose_manager(machine) == ("none", "systemd does not run this machine")


def test_scopes_can_be_turned_off(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOWLD_SCOPES", "0")
    assert choose_manager(machine) == ("none", "turned off by TOOWLD_SCOPES=0")


# -- a manager that is no help -----------------------------------------------------------------------------


def create(monkeypatch: pytest.MonkeyPatch, path: Path, timeout: float = 0.2) -> Scopes:
    """Ask for a scope at a socket, and expect none; the `Scopes`, to be asked why."""
    monkeypatch.setattr(systemd, "choose_manager", lambda: ("system", None))
    monkeypatch.setattr(systemd, "_sockets", lambda _manager: [(str(path), True)])
    scopes = Scopes(timeout=timeout)
    assert asyncio.run(scopes.create("2f3a9c1b", os.getpid(), description="x")) is None
    assert scopes.manager == "none"
    return scopes


def test_a_manager_that_is_not_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scopes = create(monkeypatch, tmp_path / "none")
    assert scopes.reason is not None and "No such file" in scopes.reason


def test_a_manager_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "bus"))
        listener.listen()
        scopes = create(monkeypatch, tmp_path / "bus")
    assert scopes.reason is not None and "did not answer" in scopes.reason


@pytest.mark.parametrize("answer", [b"", b"REJECTED\r\n", b"OK 1234\r\n" + b"\xff" * 64, b"\0" * 64])
def test_a_manager_that_talks_nonsense(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answer: bytes
) -> None:
    async def serve() -> Scopes:
        async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(100)
            writer.write(answer)
            writer.close()

        async with await asyncio.start_unix_server(talk, tmp_path / "bus"):
            scopes = Scopes(timeout=0.5)
            assert await scopes.create("2f3a9c1b", os.getpid(), description="x") is None
            return scopes

    monkeypatch.setattr(systemd, "choose_manager", lambda: ("system", None))
    monkeypatch.setattr(systemd, "_sockets", lambda _manager: [(str(tmp_path / "bus"), True)])
    assert asyncio.run(serve()).reason


def test_limits_become_properties() -> None:
    assert dict(Limits().properties()) == {}
    assert dict(Limits(memory_max=1 << 30, tasks_max=50).properties()) == {
        "MemoryMax": ("t", 1 << 30),
        "TasksMax": ("t", 50),
    }


def test_dbus_is_loaded_only_when_a_scope_is_made() -> None:
    code = (
        "import sys, toowld.daemon.systemd as s; s.Notifier({}); s.Scopes(); print('jeepney' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert done.stdout == "False\n"
