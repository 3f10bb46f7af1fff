"""Settings of real daemons and sessions: which hold, what says so, and what becomes of those that change."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

import pytest

from tests.daemon.steps import ask, ls, settings, shell, wait_displayed
from tests.harness import Sandbox, wait_for
from toowld.settings.schema import GATE

HOST = "me@host"


def shown(box: Sandbox, *words: str) -> dict[str, Any]:
    """``toowl config show --json``: key → (value, origin)."""
    found = json.loads(box.toowl("config", "show", "--json", *words).stdout)
    return {full: (one["value"], one["origin"]) for full, one in found.items()}


def test_every_value_is_shown_with_where_it_comes_from(sandbox: Sandbox) -> None:
    """I1, I6: default, file, environment, connection, session."""
    sandbox.configure(
        f"[daemon]\ntick = '1min'\n[defaults]\nsize = 'latest'\n[connections.'{HOST}']\npersistent = false\n",
    )
    sandbox.up(TOOWLD_DAEMON_SCAN_TIMEOUT="3s")
    shell(sandbox, "work", settings={"scrollback_bytes": "1MiB"})
    file = str(sandbox.paths.config)
    assert shown(sandbox, "daemon") == {
        "daemon.ended_retention": (300.0, "default"),
        "daemon.scan_timeout": (3.0, "environment, TOOWLD_DAEMON_SCAN_TIMEOUT"),
        "daemon.tick": (60.0, f"{file}:2"),
    }
    found = shown(sandbox)
    assert found["defaults.persistent"] == (True, f"environment, {GATE}")
    assert shown(sandbox, "--connection", HOST)["defaults.persistent"] == (False, f"{file}:6")
    of_work = shown(sandbox, "--session", "work")
    assert of_work["defaults.scrollback_bytes"] == (1 << 20, "session")
    assert of_work["defaults.size"] == ("latest", f"{file}:4")
    line = sandbox.toowl("config", "show", "defaults.size").stdout
    assert line == f'{file}:4  defaults.size = "latest"\n'
    whole = sandbox.toowl("config", "show", "--session", "work", "defaults")
    assert sandbox.toowl("set", "work").stdout == whole.stdout
    for words, status, told in (
        (("daemon.tik",), 2, "no setting 'daemon.tik': did you mean 'daemon.tick'?"),
        (("--session", "none"), 3, 'session "none" not found'),
    ):
        refused = sandbox.toowl("config", "show", *words, check=False)
        assert (
            refused.returncode == status and told in refused.stderr and len(refused.stderr.splitlines()) == 1
        )


def test_without_a_daemon_a_file_is_shown_and_checked(sandbox: Sandbox) -> None:
    assert "not there" in sandbox.toowl("config", "check").stdout
    sandbox.configure("[daemon]\ntick = 5\n")
    assert sandbox.toowl("config", "check").stdout == f"{sandbox.paths.config}: all right\n"
    done = sandbox.toowl("config", "show", "daemon.tick")
    assert done.stdout == f"{sandbox.paths.config}:2  daemon.tick = 5\n"
    assert " defaults.idle_timeout = (as [reaper] says)\n" in sandbox.toowl("config", "show").stdout
    assert "no daemon runs" in done.stderr
    assert sandbox.toowl("config", "show", "--session", "x", check=False).returncode == 5
    other = sandbox.root / "other.toml"
    other.write_text("[daemon]\ntik = 5\n\n[defaults]\nsize = 'large'\n")
    wrong = sandbox.toowl("config", "check", str(other), check=False)
    assert wrong.returncode == 1 and wrong.stdout == ""
    assert wrong.stderr.splitlines() == [
        f"{other}:2: unknown key 'daemon.tik': did you mean 'tick'?",
        f"{other}:5: 'defaults.size' must be 'smallest' or 'latest', not 'large'",
    ]
    assert sandbox.toowl("config", "check", str(sandbox.root / "none"), check=False).returncode == 2
    other.write_text(sandbox.toowl("config", "example").stdout)
    assert sandbox.toowl("config", "check", str(other)).returncode == 0


def test_the_levels_of_persistence(sandbox: Sandbox) -> None:
    """I1, on real sessions: the narrowest that says something decides."""
    sandbox.configure(f"[defaults]\npersistent = false\n[connections.'{HOST}']\npersistent = true\n")
    sandbox.up()
    assert sandbox.new("/bin/cat")["persistent"] is False
    assert sandbox.new("/bin/cat", connection=HOST)["persistent"] is True
    assert sandbox.new("/bin/cat", connection=HOST, persistent=False)["persistent"] is False
    made = sandbox.toowl("new", "-d", "--persistent", "--", "/bin/cat").stdout.strip()
    assert sandbox.info(made)["persistent"] is True


def test_behind_a_closed_gate_nothing_is_persistent_and_that_is_told(sandbox: Sandbox) -> None:
    """I3, X3: the variable is named."""
    sandbox.configure("[defaults]\npersistent = true\n")
    sandbox.up(False)
    done = sandbox.toowl("new", "-d", "-n", "work", "--", "/bin/cat")
    assert GATE in done.stderr and "standard session" in done.stderr and len(done.stderr.splitlines()) == 1
    assert sandbox.info("work")["persistent"] is False
    quiet = sandbox.toowl("new", "-d", "--standard", "--", "/bin/cat")
    assert quiet.stderr == "", "it is what was asked for"
    told = sandbox.toowl("set", "work", "persistent=true")
    assert GATE in told.stderr


def test_set_persistent_waits_for_the_next_start(sandbox: Sandbox) -> None:
    """I5: the command says so; restart asks, and ends what runs."""
    sandbox.up()
    info = shell(sandbox, "work")
    done = sandbox.toowl("set", "work", "persistent=false")
    assert "`toowl restart work` starts it again, which ends what runs in it" in done.stderr
    again = sandbox.info("work")
    assert (again["pid"], again["persistent"]) == (info["pid"], True)
    terminal = sandbox.terminal("toowl", "restart", "work")
    terminal.expect("End it and start afresh? [y/N] ")
    terminal.send("n\r")
    assert terminal.wait() == 4 and sandbox.info("work")["pid"] == info["pid"]
    sandbox.toowl("restart", "work", "--yes")
    again = sandbox.info("work")
    assert again["persistent"] is False and again["pid"] != info["pid"]
    sandbox.toowl("restart", "work", "--yes", "--persistent")
    assert sandbox.info("work")["persistent"] is True
    assert shown(sandbox, "--session", "work")["defaults.persistent"] == (True, "session")
    sandbox.toowl("set", "work", "persistent=")
    assert shown(sandbox, "--session", "work")["defaults.persistent"] == (True, f"environment, {GATE}")


@pytest.mark.parametrize("persistent", [True, False], ids=["persistent", "standard"])
def test_size_and_scrollback_are_heeded_at_once(sandbox: Sandbox, persistent: bool) -> None:
    sandbox.up(persistent)
    shell(sandbox, "work", persistent=persistent, settings={"scrollback_bytes": "16KiB"})
    first = sandbox.attach_pty("work", 30, 90)
    wait_for(lambda: sandbox.info("work")["clients"] == 1)
    second = sandbox.attach_pty("work", 20, 120)
    wait_for(lambda: sandbox.info("work")["clients"] == 2)
    assert (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (20, 90)
    assert sandbox.toowl("set", "work", "size=latest", "scrollback_bytes=4MiB").stderr == ""
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (20, 120))
    second.send("seq 100000; printf 'that-was-%s\\n' all\r")
    second.expect("that-was-all")
    wait_for(lambda: sandbox.info("work")["log_bytes"] > 500_000, what="the log to hold more than it did")
    sandbox.toowl("set", "work", "scrollback_bytes=64KiB", "size=")
    wait_for(lambda: (sandbox.info("work")["rows"], sandbox.info("work")["cols"]) == (20, 90))
    first.send("seq 100000; printf 'that-was-%s\\n' more\r")
    first.expect("that-was-more")
    wait_for(lambda: sandbox.info("work")["log_bytes"] <= 64 << 10, what="the log to hold less again")
    assert shown(sandbox, "--session", "work")["defaults.size"] == ("smallest", "default")


def test_what_was_set_outlives_daemon_and_record(sandbox: Sandbox) -> None:
    sandbox.up()
    info = shell(sandbox, "work")
    sandbox.toowl("set", "work", "size=latest")
    sandbox.restart()
    assert shown(sandbox, "--session", "work")["defaults.size"] == ("latest", "session")
    sandbox.kill9()
    (sandbox.paths.session(info["id"]) / "record").unlink()
    sandbox.up()
    assert sandbox.info("work")["record"]["settings"] == {"size": "latest"}, "its custodian knows"
    assert ask(sandbox, info["id"], "$((6*7))") == "42"


def test_what_can_not_be_set_is_refused(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    for words, status, told in (
        (("work", "size=latest", "tick=3"), 1, "unknown setting 'tick' of a session"),
        (("work", "size=large"), 1, "'size' must be 'smallest' or 'latest', not 'large'"),
        (("work", "scrollback_bytes=1"), 1, "at least 16384"),
        (("none", "size=latest"), 3, 'session "none" not found'),
    ):
        refused = sandbox.toowl("set", *words, check=False)
        assert (
            refused.returncode == status and told in refused.stderr and len(refused.stderr.splitlines()) == 1
        )
    assert sandbox.info("work")["record"]["settings"] == {}
    refused = sandbox.toowl("new", "-d", "--", "/bin/cat", check=False, TOOWLD_X="1")
    assert refused.returncode == 0


def test_reload_tells_what_is_different_and_keeps_all_if_something_is_wrong(sandbox: Sandbox) -> None:
    settings(sandbox, tick=20)
    sandbox.up()
    sandbox.configure("[daemon]\ntick = 10\n[defaults]\nsize = 'latest'\n")
    told = sandbox.toowld("reload").stdout
    assert told.splitlines() == [
        "daemon.tick = 10 (was 20): heeded at once",
        'defaults.size = "latest" (was "smallest"): heeded for sessions that are made from now on',
    ]
    assert sandbox.toowld("reload").stdout == ""
    sandbox.configure("[daemon]\ntick = 10\n\ntik = 3\n[defaults]\nsize = 'smallest'\n")
    refused = sandbox.toowld("reload", check=False)
    assert refused.returncode == 1 and f"{sandbox.paths.config}:4: unknown key 'daemon.tik'" in refused.stderr
    os.kill(sandbox.daemon_pid, signal.SIGHUP)
    wait_for(lambda: "the settings stay as they were" in sandbox.daemon_text())
    doctor = sandbox.toowld("doctor", check=False)
    assert doctor.returncode == 1 and f"{sandbox.paths.config}:4: unknown key 'daemon.tik'" in doctor.stdout
    assert shown(sandbox, "defaults.size")["defaults.size"][0] == "latest"
    sandbox.new("/bin/cat", name="new")
    assert sandbox.info("new")["record"]["size_policy"] == "latest"


def test_set_on_an_ended_session_holds_when_it_starts_again(sandbox: Sandbox) -> None:
    sandbox.up()
    shell(sandbox, "work")
    sandbox.send("work", b"exit\r")
    wait_displayed(sandbox, "work", "ended (exited 0)")
    assert sandbox.toowl("set", "work", "persistent=false").stderr == ""
    sandbox.toowl("restart", "work")
    assert ls(sandbox)["work"]["persistent"] is False
