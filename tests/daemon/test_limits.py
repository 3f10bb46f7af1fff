"""The gate, and what a session inherits: its caller's world, and nothing of the daemon's."""

from __future__ import annotations

import os
import pwd
import resource
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.daemon.crowd import custodians
from tests.daemon.steps import ask, listed, ls, settings, shell, wait_displayed
from tests.harness import Sandbox, alive, wait_for

# --- the gate -------------------------------------------------------------------------------------------


def test_without_the_flag_a_restart_ends_sessions(sandbox: Sandbox) -> None:
    """B1, R5: no custodian anywhere; ended (lost) afterwards; the negative of the promise."""
    sandbox.up(flag=False)
    info = shell(sandbox, "work")
    assert not info["persistent"]
    assert sandbox.custodians() == {}
    assert not custodians(sandbox)
    assert "- detached" in sandbox.toowl("ls").stdout
    ask(sandbox, info["id"], "last-words")
    sandbox.kill9()
    wait_for(lambda: not alive(info["pid"]))
    sandbox.up(flag=False)
    assert "- ended (lost)" in sandbox.toowl("ls").stdout
    assert "last-words" in sandbox.toowl("capture", "work", "--scrollback").stdout, (
        "what it printed is kept all the same"
    )


def test_a_stop_asks_before_standard_sessions_end(sandbox: Sandbox) -> None:
    sandbox.up(flag=False)
    info = shell(sandbox, "work")
    done = sandbox.toowld("stop", check=False)
    assert done.returncode == 4
    assert "1 standard session will end" in done.stderr
    assert alive(info["pid"])
    sandbox.toowld("stop", "--yes")
    wait_for(lambda: not alive(info["pid"]))


def test_only_sessions_made_afterwards_are_persistent(sandbox: Sandbox) -> None:
    """B3: nothing that ran is enrolled; the variable of a client means nothing."""
    sandbox.up(flag=False)
    shell(sandbox, "before")
    done = sandbox.toowl("new", "-d", "-n", "client", "--", "sleep", "9", TOOWLD_PERSISTENT_SESSIONS="1")
    assert done.returncode == 0
    assert {item["persistent"] for item in ls(sandbox).values()} == {False}
    sandbox.restart(flag=True)
    shell(sandbox, "after")
    rows = {row.split()[1]: row for row in sandbox.toowl("ls").stdout.splitlines()[1:]}
    assert "P detached" in rows["after"]
    assert "- ended (lost)" in rows["before"]
    terminal = sandbox.attach_pty("before")
    terminal.expect("restored; new shell")
    assert ls(sandbox)["before"]["persistent"] is False, "started again, it is what it was"


@pytest.mark.parametrize(
    ("value", "enabled"),
    [("1", True), ("true", True), ("TRUE", True), ("0", False), ("", False), ("yes", False), ("2", False)],
)
def test_the_values_of_the_flag(sandbox: Sandbox, value: str, enabled: bool) -> None:
    """B2."""
    sandbox.up(flag=value)
    assert sandbox.new("sleep", "9")["persistent"] is enabled
    assert len(sandbox.custodians()) == int(enabled)


def test_persistent_without_the_flag_is_told(sandbox: Sandbox) -> None:
    """I3: a standard session and a line that names the variable; and the other way round."""
    sandbox.up(flag=False)
    done = sandbox.toowl("new", "-d", "-n", "wish", "--persistent", "--", "sleep", "9")
    assert "TOOWLD_PERSISTENT_SESSIONS=1" in done.stderr
    assert ls(sandbox)["wish"]["persistent"] is False
    sandbox.restart(flag=True)
    sandbox.toowl("new", "-d", "-n", "plain", "--standard", "--", "sleep", "9")
    assert ls(sandbox)["plain"]["persistent"] is False
    assert sandbox.custodians() == {}


def test_a_persistent_session_in_a_daemon_without_the_flag(sandbox: Sandbox) -> None:
    """It is adopted all the same; only what is started from now on ends with the daemon."""
    sandbox.up(flag=True)
    info = shell(sandbox, "work")
    sandbox.restart(flag=False)
    assert ls(sandbox)["work"]["pid"] == info["pid"]
    assert "P detached" in sandbox.toowl("ls").stdout
    done = sandbox.toowl("restart", "work", "--yes")
    assert "TOOWLD_PERSISTENT_SESSIONS" in done.stderr
    assert ls(sandbox)["work"]["persistent"] is False


# --- the environment ------------------------------------------------------------------------------------


def environment_of(pid: int) -> dict[bytes, bytes]:
    data = Path(f"/proc/{pid}/environ").read_bytes()
    return dict(item.split(b"=", 1) for item in data.split(b"\0") if b"=" in item)


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_a_session_has_its_callers_environment(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(
        persistent,
        ONLY_OF_THE_DAEMON="1",
        NOTIFY_SOCKET="/nowhere",
        WATCHDOG_USEC="60000000",
        LISTEN_FDS="1",
        LANG="C",
    )
    env = {
        "PATH": sandbox.env["PATH"],
        "LANG": "de_DE.ISO-8859-1",
        "LC_TIME": "fi_FI",
        "MINE": "with spaces\nand lines",
        "LATIN": "gr\udcfc\udcdf",
        "NOTIFY_SOCKET": "/of/the/caller",
        "LISTEN_PID": "1",
        "WATCHDOG_PID": "1",
        "TOOWLD_PERSISTENT_SESSIONS": "1",
        "TOOWL_SESSION": "deadbeef",
        "COLUMNS": "7",
    }
    done = subprocess.run(
        [sys.executable, "-m", "toowl", "new", "-d", "-n", "work", "--", "sleep", "99"],
        env={**{k: v for k, v in sandbox.env.items() if k not in ("TERM", "HOME", "USER")}, **env},
        cwd="/var/tmp",
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    info = sandbox.info("work")
    found = environment_of(info["pid"])
    assert found[b"LANG"] == b"de_DE.ISO-8859-1"
    assert found[b"LC_TIME"] == b"fi_FI"
    assert found[b"MINE"] == b"with spaces\nand lines"
    assert found[b"LATIN"] == b"gr\xfc\xdf"
    assert found[b"TOOWL_SESSION"] == info["id"].encode()
    assert found[b"TOOWL_NAME"] == b"work"
    assert found[b"TERM"] == b"xterm-256color", "a sane default when there is no terminal"
    account = pwd.getpwuid(os.getuid())
    assert found[b"HOME"] == account.pw_dir.encode()
    assert found[b"SHELL"] == account.pw_shell.encode()
    for name in found:
        assert not name.startswith((b"NOTIFY_SOCKET", b"LISTEN_", b"WATCHDOG_", b"TOOWLD_", b"COLUMNS")), name
    assert b"ONLY_OF_THE_DAEMON" not in found
    assert os.readlink(f"/proc/{info['pid']}/cwd") == "/var/tmp"  # noqa: PTH115
    custodian = info["custodian_pid"] if persistent else None
    if custodian is not None:
        mine = environment_of(custodian)
        assert not any(name.startswith((b"NOTIFY_SOCKET", b"LISTEN_", b"WATCHDOG_")) for name in mine)


def test_the_callers_term_is_kept(sandbox: Sandbox) -> None:
    sandbox.up()
    sandbox.toowl("new", "-d", "-n", "a", "--", "sleep", "9", TERM="screen-256color")
    sandbox.toowl("new", "-d", "-n", "b", "--env", "EXTRA=1", "--", "sleep", "9", TERM="dumb")
    assert environment_of(sandbox.info("a")["pid"])[b"TERM"] == b"screen-256color"
    assert environment_of(sandbox.info("b")["pid"])[b"TERM"] == b"xterm-256color"
    assert environment_of(sandbox.info("b")["pid"])[b"EXTRA"] == b"1"


def test_a_login_shell_without_a_command(sandbox: Sandbox) -> None:
    sandbox.up()
    info = sandbox.new(name="login")
    shell_path = pwd.getpwuid(os.getuid()).pw_shell
    wait_for(lambda: psutil.Process(info["pid"]).cmdline() == [f"-{Path(shell_path).name}"])


def test_inside_a_session_it_is_meant(sandbox: Sandbox) -> None:
    """The session's own environment leads to the daemon that has it."""
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.send("work", b"toowl rename renamed; toowl info --json | grep -c renamed\r")
    wait_for(lambda: listed(sandbox).get("renamed", {}).get("id") == info["id"])


@pytest.mark.parametrize("persistent", [True, False])
def test_only_its_terminal_is_open(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up()
    folder = Path(f"/proc/{sandbox.new('sleep', '99', persistent=persistent)['pid']}/fd")
    # While it begins, its loader has a library open.
    wait_for(lambda: sorted(int(fd.name) for fd in folder.iterdir()) == [0, 1, 2], what="no more than that")


# --- limits ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_the_soft_limit_of_files_is_as_the_daemon_had_it(sandbox: Sandbox, persistent: bool) -> None:
    """The daemon takes all it may have, for itself alone: select(2) in a shell's programs ends at 1024."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = (min(512, before[1]), before[1])
    resource.setrlimit(resource.RLIMIT_NOFILE, wanted)
    try:
        sandbox.up(persistent)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    info = shell(sandbox, "work")
    assert psutil.Process(sandbox.daemon_pid).rlimit(psutil.RLIMIT_NOFILE) == (before[1], before[1])
    assert psutil.Process(info["pid"]).rlimit(psutil.RLIMIT_NOFILE) == wanted
    assert ask(sandbox, info["id"], "$(ulimit -Sn)") == str(wanted[0])


def test_no_descriptor_left_is_no_reason_to_spin(sandbox: Sandbox) -> None:
    """Clients wait in the queue; the daemon sleeps, says it once in a while, and goes on when some have left."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    sandbox.up()
    daemon = psutil.Process(sandbox.daemon_pid)
    daemon.rlimit(psutil.RLIMIT_NOFILE, (40, before[1]))
    links = [socket.socket(socket.AF_UNIX) for _ in range(60)]
    for link in links:
        link.connect(str(sandbox.paths.daemon_socket))
    wait_for(lambda: "can't accept a client" in sandbox.daemon_text())
    used = sum(daemon.cpu_times()[:2])
    begun = time.monotonic()
    wait_for(lambda: time.monotonic() - begun > 1)
    assert sum(daemon.cpu_times()[:2]) - used < 0.3
    assert sandbox.daemon_text().count("can't accept a client") < 30
    for link in links:
        link.close()
    assert ls(sandbox) == {}


def test_a_detached_daemon_hands_on_umask_and_core_limit(sandbox: Sandbox) -> None:
    """It keeps its own files to itself, and lets the shells be as their user has them."""
    limit = resource.getrlimit(resource.RLIMIT_CORE)
    before = os.umask(0o027)
    try:
        sandbox.toowld("--detach", TOOWLD_PERSISTENT_SESSIONS="1")
    finally:
        os.umask(before)
    for name, persistent in (("p", True), ("s", False)):
        info = shell(sandbox, name, persistent=persistent)
        assert ask(sandbox, info["id"], "$(umask)") == "0027"
        assert psutil.Process(info["pid"]).rlimit(psutil.RLIMIT_CORE) == limit
        assert psutil.Process(info["pid"]).nice() == psutil.Process().nice()
    for path in (*sandbox.paths.runtime.rglob("*"), *sandbox.paths.state.rglob("*")):
        mode = path.lstat().st_mode
        assert stat.S_IMODE(mode) == (0o700 if stat.S_ISDIR(mode) else 0o600), path


def test_signals_are_as_a_shell_wants_them(sandbox: Sandbox) -> None:
    """Neither what the custodian ignores, nor what Python does, is ignored in the child."""
    sandbox.up()
    for persistent in (True, False):
        info = sandbox.new("sleep", "99", persistent=persistent)
        status = Path(f"/proc/{info['pid']}/status").read_text()
        masks = dict(line.split(":\t") for line in status.splitlines() if line.startswith("Sig"))
        # 32 and 33 are the C library's own: its posix_spawn(3) leaves them ignored, whatever we ask.
        assert int(masks["SigIgn"], 16) & ~(0b11 << 31) == 0
        assert int(masks["SigBlk"], 16) == 0


def test_the_log_has_its_limit(sandbox: Sandbox) -> None:
    """R6: the oldest goes, the rest is whole, and the start of it is told."""
    settings(sandbox, scrollback_bytes=1 << 20)
    sandbox.up()
    sandbox.new("bash", "--norc", "-c", "for ((i=0; i<300000; i++)); do echo count $i; done", name="big")
    wait_displayed(sandbox, "big", "ended (exited 0)")
    item = ls(sandbox)["big"]
    assert item["seq"] > 3 << 20
    folder = Path(sandbox.info("big")["log_dir"])
    assert sum(path.stat().st_size for path in folder.glob("*.log")) <= 1 << 20
    done = sandbox.toowl("capture", "big", "--scrollback")
    assert done.stdout.endswith("count 299999\n")
    assert "older than the log holds" in done.stderr


def test_whose_size_a_session_has_stays_with_it(sandbox: Sandbox) -> None:
    """It is set for those that are made, and outlives the daemon, the setting, and its child."""
    settings(sandbox, size='"latest"')
    sandbox.up()
    session = shell(sandbox, "work")["id"]
    shell(sandbox, "other", size_policy="smallest")
    settings(sandbox, size='"smallest"')
    sandbox.restart()
    sandbox.toowld("upgrade", "--all")

    def follows(name: str) -> bool:
        small = sandbox.attach_pty(name, 24, 80)
        small.expect("bash")
        large = sandbox.attach_pty(name, 30, 100)
        large.expect("bash")
        found = bool(sandbox.info(name)["cols"] == 100)
        sandbox.toowl("detach", name, "--all")
        small.wait()
        large.wait()
        return found

    assert follows("work")
    assert not follows("other")
    with sandbox.client() as client:
        client.request("kill", session=session, force=True)
    sandbox.toowl("restart", "work")
    assert follows("work")
    assert ls(sandbox)["work"]["id"] == session
    assert sandbox.info("work")["record"]["size_policy"] == "latest"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[daemon]\nspeed = 1\n", ":2: unknown key 'daemon.speed'; known are "),
        ("[daemon]\nspeed = 1\ntick = 0\n", "(and 1 more: see `toowl config check`)"),
        ("[daemon]\n\ntick = 'fast'\n", ":3: 'daemon.tick' must be a number of seconds"),
        ("[[[", "correct it, or move it away"),
    ],
)
def test_a_bad_setting_is_named(sandbox: Sandbox, text: str, told: str) -> None:
    sandbox.configure(text)
    done = sandbox.toowld(check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"toowld: {sandbox.paths.config}:")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1
