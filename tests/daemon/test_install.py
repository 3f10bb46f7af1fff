"""`toowld install`: what is written where, and the units that are shipped."""

from __future__ import annotations

import argparse
import os
import pwd
import shutil
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.harness import REPOSITORY, need_program
from toowld.daemon import install
from toowld.daemon.install import exec_start_of, render
from toowld.errors import RefusedError, UsageError

Install = Callable[..., int]
SHIPPED = {
    "system": REPOSITORY / "packaging/systemd/toowld.service",
    "template": REPOSITORY / "packaging/systemd/toowld@.service",
    "user": REPOSITORY / "packaging/systemd/user/toowld.service",
}
ME = pwd.getpwuid(os.getuid()).pw_name


@pytest.fixture
def toowld_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """`toowld install …` of a toowld in tmp_path/bin, as root, on a machine whose unit folders are below tmp_path."""
    program = tmp_path / "bin/toowld"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setattr("sys.argv", [str(program), "install"])
    monkeypatch.setattr("os.getuid", lambda: 0)
    monkeypatch.setattr(install, "SYSTEM_FOLDER", tmp_path / "etc")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("SUDO_USER", raising=False)

    def run(*options: str) -> int:
        parser = argparse.ArgumentParser()
        install.add_arguments(parser)
        return install.run(parser.parse_args(options))

    return run


@pytest.mark.parametrize("kind", SHIPPED)
def test_the_shipped_units_are_what_install_writes(kind: str) -> None:
    assert SHIPPED[kind].read_text() == render(kind).text
    assert SHIPPED[kind].name == render(kind).name


@pytest.mark.parametrize("kind", SHIPPED)
def test_systemd_accepts_the_units(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    need_program("systemd-analyze")
    unit = render(kind, exec_start="/bin/true")  # it checks that the program exists
    (tmp_path / unit.name).write_text(unit.text)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    manager = "--user" if kind == "user" else "--system"
    done = subprocess.run(
        ["systemd-analyze", "verify", manager, "--man=no", str(tmp_path / unit.name)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("kind", SHIPPED)
def test_what_keeps_sessions_alive_is_in_every_unit(kind: str) -> None:
    settings = render(kind).text.splitlines()
    for line in (
        "Type=notify",
        "NotifyAccess=main",
        "Environment=TOOWLD_PERSISTENT_SESSIONS=1",
        "ExecStart=/usr/local/bin/toowld",
        "Restart=on-failure",
        "WatchdogSec=30",
        "KillMode=process",
        "OOMPolicy=continue",
        "RuntimeDirectoryMode=0700",
        "RuntimeDirectoryPreserve=yes",
    ):
        assert line in settings


@pytest.mark.parametrize("kind", SHIPPED)
def test_no_line_is_long(kind: str) -> None:
    assert max(map(len, render(kind).text.splitlines())) <= 112


def test_root_gets_a_unit_of_the_machine(
    toowld_install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toowld_install("--system", "--run-as", "nobody") == 0
    file = tmp_path / "etc/toowld.service"
    text = file.read_text()
    assert f"ExecStart={tmp_path}/bin/toowld\n" in text
    assert "User=nobody\n" in text
    assert stat.S_IMODE(file.stat().st_mode) == 0o644
    assert [path.name for path in file.parent.iterdir()] == ["toowld.service"]  # nothing temporary is left
    printed = capsys.readouterr().out
    assert "systemctl daemon-reload" in printed
    assert "systemctl enable --now toowld" in printed


def test_under_sudo_the_sessions_are_those_of_the_person(
    toowld_install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SUDO_USER", "nobody")
    assert toowld_install() == 0
    assert "User=nobody\n" in (tmp_path / "etc/toowld.service").read_text()


def test_a_user_gets_a_unit_of_their_own(
    toowld_install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 65534)
    monkeypatch.setattr(install, "lingers", lambda _uid: False)
    assert toowld_install() == 0
    assert "User=" not in (tmp_path / "config/systemd/user/toowld.service").read_text()
    printed = capsys.readouterr().out
    assert "systemctl --user enable --now toowld" in printed
    assert "loginctl enable-linger" in printed


def test_the_template_is_for_any_number_of_users(
    toowld_install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toowld_install("--template") == 0
    text = (tmp_path / "etc/toowld@.service").read_text()
    assert "User=%i\n" in text
    assert "RuntimeDirectory=toowl-%i\n" in text
    assert "enable --now toowld@" in capsys.readouterr().out


def test_dry_run_prints_the_unit_and_writes_nothing(
    toowld_install: Install, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert toowld_install("--system", "--run-as", "nobody", "--dry-run") == 0
    assert capsys.readouterr().out == render("system", f"{tmp_path}/bin/toowld", "nobody").text
    assert not (tmp_path / "etc").exists()


def test_again_is_fine_and_a_new_place_of_the_program_replaces(
    toowld_install: Install,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    toowld_install("--system")
    toowld_install("--system")
    assert "is up to date" in capsys.readouterr().out
    shutil.copytree(tmp_path / "bin", tmp_path / "elsewhere")
    monkeypatch.setattr("sys.argv", [str(tmp_path / "elsewhere/toowld")])
    toowld_install("--system")
    assert "replaced" in capsys.readouterr().out
    assert f"ExecStart={tmp_path}/elsewhere/toowld" in (tmp_path / "etc/toowld.service").read_text()


def test_a_unit_of_somebody_else_stays(toowld_install: Install, tmp_path: Path) -> None:
    file = tmp_path / "etc/toowld.service"
    file.parent.mkdir()
    file.write_text("[Service]\nExecStart=/opt/theirs\n")
    with pytest.raises(RefusedError, match="was not written by `toowld install`"):
        toowld_install("--system")
    assert "/opt/theirs" in file.read_text()


def test_a_unit_that_runs_as_another_user_stays(toowld_install: Install, tmp_path: Path) -> None:
    toowld_install("--system", "--run-as", "nobody")
    with pytest.raises(RefusedError, match=r"runs as nobody: .*--template"):
        toowld_install("--system", "--run-as", ME)
    assert "User=nobody\n" in (tmp_path / "etc/toowld.service").read_text()


def test_without_permission_the_next_step_is_named(
    toowld_install: Install, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.getuid", lambda: 65534)
    with pytest.raises(RefusedError, match=f"sudo toowld install --system --run-as {ME}"):
        toowld_install("--system", "--run-as", ME)
    assert not (tmp_path / "etc").exists()


def test_a_folder_that_can_not_be_made_is_one_line(toowld_install: Install, tmp_path: Path) -> None:
    (tmp_path / "etc").touch()
    with pytest.raises(RefusedError, match=r"can't write .*--dry-run"):
        toowld_install("--system")


def test_an_unknown_user_is_a_usage_error(toowld_install: Install) -> None:
    with pytest.raises(UsageError, match="no user nobody-of-that-name"):
        toowld_install("--system", "--run-as", "nobody-of-that-name")


def test_a_unit_of_your_own_can_not_run_as_another(toowld_install: Install) -> None:
    with pytest.raises(UsageError, match="--run-as needs --system"):
        toowld_install("--user", "--run-as", "nobody")


def test_exec_start_of_a_script_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "toowld"
    script.touch(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert exec_start_of("toowld") == str(script)


def test_exec_start_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    (tmp_path / "toowld").touch(0o755)
    # The script beside the interpreter is another toowld's, unless this one is installed there.
    started = f"/usr/bin/env PYTHONPATH={REPOSITORY} {tmp_path}/python -P -m toowld"
    assert exec_start_of("/x/toowld/__main__.py") == started
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(REPOSITORY))
    assert exec_start_of("/x/toowld/__main__.py") == f"{tmp_path}/toowld"


def test_exec_start_is_quoted_for_systemd(tmp_path: Path) -> None:
    script = tmp_path / 'a b%c$d"e' / "toowld"
    script.parent.mkdir()
    script.touch(0o755)
    assert exec_start_of(str(script)) == f'"{tmp_path}/a b%%c$$d\\"e/toowld"'
