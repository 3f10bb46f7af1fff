"""Nobody else's hands: other users, foreign folders, a second daemon, and what is readable to whom."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemon.steps import ls, shell
from tests.harness import Sandbox, machine_cannot, wait_for

NOBODY = 65534

#: As another user: connect, and say what came of it.
KNOCK = """
import os, socket, sys
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for path in sys.argv[1:]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(5)
        try:
            sock.connect(path)
            print("open" if sock.recv(1) else "closed")
        except OSError as error:
            print(type(error).__name__)
"""


@pytest.fixture
def root() -> None:
    if os.getuid() != 0:
        machine_cannot("only root may become somebody else")


def knock(*paths: Path) -> list[str]:
    """What user nobody finds at these sockets."""
    command = [sys.executable, "-I", "-c", KNOCK, *map(str, paths)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()


@pytest.mark.usefixtures("root")
def test_another_user_reaches_nothing(sandbox: Sandbox) -> None:
    """Q1: the folder keeps him out; and if somebody opened it, the sockets; and then, who he is."""
    sandbox.up()
    info = shell(sandbox, "work")
    doors = [sandbox.paths.daemon_socket, sandbox.paths.custodian_socket(info["id"])]
    assert knock(*doors) == ["PermissionError"] * 2
    for folder in (sandbox.root, sandbox.paths.runtime, sandbox.paths.custodians):
        folder.chmod(0o755)
    assert knock(*doors) == ["PermissionError"] * 2
    for door in doors:
        door.chmod(0o777)
    assert knock(*doors) == ["closed"] * 2, "not a byte is said to him"
    wait_for(lambda: "refused a client of another uid" in sandbox.daemon_text())
    assert ls(sandbox)["work"]["pid"] == info["pid"]


def test_everything_is_for_us_alone(sandbox: Sandbox) -> None:
    """Q5: folders 0700, files and sockets 0600, whatever the umask."""
    before = os.umask(0)
    try:
        sandbox.up()
        info = shell(sandbox, "work")
    finally:
        os.umask(before)
    sandbox.toowl("rename", "work", "play")
    target = sandbox.root / "x.cast"
    sandbox.toowl("export", "play", "-o", str(target))
    found = [*sandbox.paths.runtime.rglob("*"), *sandbox.paths.state.rglob("*"), target]
    assert sandbox.paths.session(info["id"]) / "record" in found
    for path in (*found, sandbox.paths.runtime, sandbox.paths.state):
        mode = path.lstat().st_mode
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path
        assert path.lstat().st_uid == os.getuid()


def test_nothing_listens_on_the_network(sandbox: Sandbox) -> None:
    """Q2."""
    sandbox.up()
    shell(sandbox, "work")
    for process in sandbox.processes():
        assert process.net_connections("inet") == []


def test_a_symlinked_runtime_folder_is_refused(sandbox: Sandbox) -> None:
    elsewhere = sandbox.root / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    sandbox.paths.runtime.symlink_to(elsewhere)
    done = sandbox.toowld(check=False)
    assert done.returncode == 1
    assert "symlink" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert list(elsewhere.iterdir()) == []


@pytest.mark.usefixtures("root")
def test_a_foreign_runtime_folder_is_refused(sandbox: Sandbox) -> None:
    """Somebody made it first, below /tmp, where everybody may."""
    sandbox.paths.runtime.mkdir(mode=0o700)
    os.chown(sandbox.paths.runtime, NOBODY, NOBODY)
    for args in ((), ("--detach",)):
        done = sandbox.toowld(*args, check=False)
        assert done.returncode == 1
        assert f"belongs to uid {NOBODY}" in done.stderr
        assert len(done.stderr.splitlines()) == 1
    assert list(sandbox.paths.runtime.iterdir()) == []


def test_a_folder_that_others_may_write_is_refused(sandbox: Sandbox) -> None:
    sandbox.paths.runtime.mkdir()
    sandbox.paths.runtime.chmod(0o777)
    done = sandbox.toowld(check=False)
    assert done.returncode == 1
    assert "writable by others" in done.stderr


@pytest.mark.usefixtures("root")
def test_a_lock_that_is_a_link_is_not_followed(sandbox: Sandbox) -> None:
    sandbox.paths.runtime.mkdir(mode=0o700)
    precious = sandbox.root / "precious"
    precious.write_text("data")
    sandbox.paths.daemon_lock.symlink_to(precious)
    done = sandbox.toowld(check=False)
    assert done.returncode == 1
    assert precious.read_text() == "data"
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_two_daemons_in_one_folder(sandbox: Sandbox) -> None:
    """C8, T7: the second goes at once, says who is there, and has touched nothing."""
    sandbox.up()
    info = shell(sandbox, "work")
    socket_before = sandbox.paths.daemon_socket.stat().st_ino
    done = sandbox.toowld(check=False, timeout=5)
    assert done.returncode == 4
    assert f"a toowld is running already, pid {sandbox.daemon_pid}" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert sandbox.paths.daemon_socket.stat().st_ino == socket_before
    assert ls(sandbox)["work"]["pid"] == info["pid"]
    assert "client connected" not in sandbox.daemon_text(), "nobody else linked to the custodian"


def test_two_daemons_at_the_same_moment(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    sandbox.kill9()
    command = [sys.executable, "-m", "toowld"]
    starting = [
        subprocess.Popen(command, env=sandbox.env, cwd=sandbox.root, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    wait_for(lambda: sum(process.poll() is not None for process in starting) == 3)
    [winner] = [process for process in starting if process.poll() is None]
    wait_for(lambda: sandbox.paths.daemon_socket.exists())
    for process in starting:
        if process is not winner:
            _, words = process.communicate()
            assert process.returncode == 4
            assert "is running already" in words
    assert ls(sandbox)["work"]["display"] == "detached"
    winner.terminate()
    winner.communicate()


def test_no_secret_is_shown(sandbox: Sandbox) -> None:
    """What the environment of a session holds stays in its record and in the session."""
    sandbox.up()
    shell(sandbox, "work", env={**sandbox.env, "TOKEN": "hunter2"})
    texts = [
        sandbox.toowl("info", "work", "--json").stdout,
        sandbox.toowl("ls", "--json").stdout,
        sandbox.toowld("doctor", "--json", check=False).stdout,
        sandbox.daemon_text(),
    ]
    assert not any("hunter2" in text for text in texts)
    for process in sandbox.processes():
        assert "hunter2" not in " ".join(process.cmdline())
