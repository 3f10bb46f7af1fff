"""Limits of a whole session where no scope can be had. Where one can, see tests/e2e/test_systemd_limits.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.daemon.steps import ls, shell
from tests.harness import Sandbox
from toowld.daemon import confining
from toowld.errors import RefusedError
from toowld.session import Record
from toowld.settings.file import File
from toowld.settings.resolve import Settings

GIB = 1 << 30


def test_what_is_wanted_and_how_systemd_is_told() -> None:
    settings = Settings(File("f", "[defaults]\nmemory_max = '1GiB'\ntasks_max = 100\n"))
    record = Record(id="00000001", settings={"cpu_quota": 150.0, "tasks_max": 0})
    limits = confining.wanted(record, settings)
    assert limits == {"memory_max": GIB, "cpu_quota": 150.0}
    told = confining.for_systemd(limits)
    assert (told.memory_max, told.cpu_quota_per_sec_usec, told.tasks_max) == (GIB, 1_500_000, None)


def test_what_the_kernel_does_not_enforce_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A manager takes any property, and has not every controller."""
    record = Record(id="00000001", settings={"memory_max": GIB, "cpu_quota": 50.0})
    limits = {"memory_max": GIB, "cpu_quota": 50.0, "tasks_max": 9}
    (tmp_path / "memory.max").write_text(f"{GIB}\n")
    (tmp_path / "cpu.max").write_text("max 100000\n")
    monkeypatch.setattr(confining, "_cgroup", lambda pid: tmp_path)
    with pytest.raises(
        RefusedError, match=r"its cpu_quota can't be had here \(.* no cpu controller: .*\): change that"
    ):
        confining.check(record, limits, 1, None)
    (tmp_path / "cpu.max").write_text("50000 100000\n")
    assert confining.check(record, limits, 1, None) == {"memory_max": GIB, "cpu_quota": 50.0}
    with pytest.raises(
        RefusedError,
        match=r"its memory_max, cpu_quota can't be had here \(no way\): change that, or .* without them",
    ):
        confining.check(record, limits, 1, "no way")
    monkeypatch.setattr(confining, "_cgroup", lambda pid: None)
    assert confining.check(record, limits, 1, None) == limits, "where we can't look, systemd has said so"


def test_what_was_asked_for_and_can_not_be_had_is_refused(sandbox: Sandbox) -> None:
    sandbox.up(TOOWLD_SCOPES="0")
    for words, told in (
        (
            ("--memory-max", "1G", "--tasks-max", "50"),
            "memory_max, tasks_max can't be had here (turned off by TOOWLD_",
        ),
        (
            ("--standard", "--cpu-quota", "50%"),
            "cpu_quota can't be had here (a standard session has no scope",
        ),
        (("--memory-max", "much"), "'memory_max' must be a number of bytes"),
        (("--tasks-max", "1"), "at least 4 (0: no limit)"),
    ):
        refused = sandbox.toowl("new", "-d", "-n", "work", *words, "--", "/bin/cat", check=False)
        assert (
            refused.returncode in (1, 4) and told in refused.stderr and len(refused.stderr.splitlines()) == 1
        )
    assert ls(sandbox) == {} and not sandbox.custodians() and not list(sandbox.paths.sessions.iterdir())


def test_for_one_that_runs_it_is_told_when_it_holds(sandbox: Sandbox) -> None:
    sandbox.up(TOOWLD_SCOPES="0")
    info = shell(sandbox, "work")
    told = sandbox.toowl("set", "work", "memory_max=1G").stderr
    assert "is limited like that from the next start of its program on: `toowl restart work`" in told
    assert sandbox.info("work")["pid"] == info["pid"]
    refused = sandbox.toowl("restart", "work", "--yes", check=False)
    assert refused.returncode == 4 and refused.stderr == (
        "toowl: session work runs on, as its memory_max can't be had here (turned off by TOOWLD_SCOPES=0): "
        "`toowl set work memory_max=`, then restart it\n"
    )
    assert sandbox.info("work")["pid"] == info["pid"], "nothing is ended for a start that can't be"
    sandbox.toowl("set", "work", "memory_max=")
    sandbox.toowl("restart", "work", "--yes")
    assert sandbox.info("work")["pid"] != info["pid"]


def test_what_would_be_standard_and_limited_runs_on(sandbox: Sandbox) -> None:
    sandbox.up(TOOWLD_SCOPES="0")
    info = shell(sandbox, "work")
    sandbox.toowl("set", "work", "tasks_max=50", "persistent=false")
    refused = sandbox.toowl("restart", "work", "--yes", check=False)
    assert refused.returncode == 4 and "(a standard session has no scope" in refused.stderr
    assert sandbox.info("work")["pid"] == info["pid"]
    assert sandbox.info("work")["persistent"], "it is what it was"


def test_where_only_the_settings_say_so_a_session_starts_all_the_same(sandbox: Sandbox) -> None:
    sandbox.configure("[defaults]\nmemory_max = '1G'\n")
    sandbox.up(TOOWLD_SCOPES="0")
    shell(sandbox, "work")
    assert "has no memory_max: turned off by TOOWLD_SCOPES=0" in sandbox.daemon_text()
    assert sandbox.info("work")["record"]["confined"] == {}
