"""Where things are, and that a folder which others could tamper with is refused."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from toowld.paths import Paths, UnsafeFolder, resolve, secure_folder
from toowld.place import daemon_socket


@pytest.fixture(autouse=True)
def run_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A /run of our own: the machine may have a toowld in its."""
    folder = tmp_path_factory.mktemp("run")
    monkeypatch.setattr("toowld.place._SYSTEM_RUNTIME", str(folder))
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"TOOWL_RUNTIME_DIR": "/a", "RUNTIME_DIRECTORY": "/b", "XDG_RUNTIME_DIR": "/c"}, "/a"),
        ({"RUNTIME_DIRECTORY": "/b", "XDG_RUNTIME_DIR": "/c"}, "/b"),
        ({"RUNTIME_DIRECTORY": "/b:/b2"}, "/b"),
        ({"XDG_RUNTIME_DIR": "/c"}, "/c/toowl"),
        ({"TOOWL_RUNTIME_DIR": "", "XDG_RUNTIME_DIR": "/c"}, "/c/toowl"),
        ({}, f"/tmp/toowl-{os.getuid()}"),
    ],
)
def test_runtime_folder(env: dict[str, str], expected: str) -> None:
    assert resolve(env).runtime == Path(expected)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"TOOWL_STATE_DIR": "/a", "STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c", "HOME": "/h"}, "/a"),
        ({"STATE_DIRECTORY": "/b", "XDG_STATE_HOME": "/c", "HOME": "/h"}, "/b"),
        ({"XDG_STATE_HOME": "/c", "HOME": "/h"}, "/c/toowl"),
        ({"HOME": "/h"}, "/h/.local/state/toowl"),
    ],
)
def test_state_folder(env: dict[str, str], expected: str) -> None:
    assert resolve(env).state == Path(expected)


@pytest.mark.parametrize(
    ("env", "expected"),
    [
        ({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}, "/c/toowl/config.toml"),
        ({"HOME": "/h"}, "/h/.config/toowl/config.toml"),
    ],
)
def test_config_file(env: dict[str, str], expected: str) -> None:
    assert resolve(env).config == Path(expected)


@pytest.mark.parametrize("name", ["toowl", "toowl-alice"])
def test_the_folder_of_a_system_unit_is_found_without_environment(run_folder: Path, name: str) -> None:
    (run_folder / name).mkdir(mode=0o700)
    assert resolve({"XDG_RUNTIME_DIR": "/c"}).runtime == run_folder / name
    assert resolve({}).runtime == run_folder / name


def test_the_environment_comes_before_the_folder_of_a_system_unit(run_folder: Path) -> None:
    (run_folder / "toowl").mkdir(mode=0o700)
    assert resolve({"TOOWL_RUNTIME_DIR": "/a"}).runtime == Path("/a")
    assert resolve({"RUNTIME_DIRECTORY": "/b"}).runtime == Path("/b")


def test_of_two_system_units_the_plain_one_counts(run_folder: Path) -> None:
    for name in ("toowl-alice", "toowl", "toowls"):
        (run_folder / name).mkdir(mode=0o700)
    assert resolve({}).runtime == run_folder / "toowl"


def test_what_is_no_folder_of_ours_in_run_is_passed_over(run_folder: Path) -> None:
    (run_folder / "toowl").symlink_to(run_folder)
    (run_folder / "toowl-a").touch()
    (run_folder / "toowlish").mkdir()
    if os.getuid() == 0:
        (run_folder / "toowl-bob").mkdir(mode=0o700)
        os.chown(run_folder / "toowl-bob", 65534, 65534)
    assert resolve({"XDG_RUNTIME_DIR": "/c"}).runtime == Path("/c/toowl")


def test_without_a_run_folder_nothing_breaks(run_folder: Path) -> None:
    run_folder.rmdir()
    assert resolve({"XDG_RUNTIME_DIR": "/c"}).runtime == Path("/c/toowl")


def test_resolve_takes_the_process_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOOWL_RUNTIME_DIR", "/from-env")
    assert resolve().runtime == Path("/from-env")


def test_a_relative_folder_is_meant_from_here(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A daemon works in /, its sessions anywhere: they must mean the same."""
    monkeypatch.chdir(tmp_path)
    paths = resolve({"TOOWL_RUNTIME_DIR": "r", "TOOWL_STATE_DIR": "./s", "XDG_CONFIG_HOME": "c/../d"})
    assert paths == Paths(tmp_path / "r", tmp_path / "s", tmp_path / "d/toowl/config.toml")


def test_names_within() -> None:
    paths = Paths(runtime=Path("/r"), state=Path("/s"), config=Path("/c"))
    assert str(paths.daemon_socket) == "/r/toowld.sock"
    assert str(paths.daemon_lock) == "/r/toowld.lock"
    assert str(paths.custodian_socket("2f3a9c1b")) == "/r/custodians/2f3a9c1b.sock"
    assert str(paths.session("2f3a9c1b")) == "/s/sessions/2f3a9c1b"
    assert str(paths.daemon_log) == "/s/toowld.log"


def test_prepare_creates_private_folders(tmp_path: Path) -> None:
    paths = Paths(runtime=tmp_path / "r", state=tmp_path / "deep/s", config=tmp_path / "c")
    old = os.umask(0)  # the mode must not depend on it
    try:
        paths.prepare()
        paths.prepare()  # again is fine
    finally:
        os.umask(old)
    assert [mode(f) for f in (paths.runtime, paths.custodians, paths.state, paths.sessions)] == [0o700] * 4


def test_prepare_refuses_a_path_that_no_socket_can_have(tmp_path: Path) -> None:
    paths = Paths(runtime=tmp_path / ("r" * 100), state=tmp_path / "s", config=tmp_path / "c")
    with pytest.raises(UnsafeFolder, match="set TOOWL_RUNTIME_DIR"):
        paths.prepare()


def test_a_symlink_is_refused_even_to_a_folder_of_ours(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(UnsafeFolder, match="symlink"):
        secure_folder(tmp_path / "link")


def test_a_dangling_symlink_is_refused(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UnsafeFolder, match="symlink"):
        secure_folder(tmp_path / "link")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeFolder, match="not a folder of its own"):
        secure_folder(tmp_path / "file")


def test_a_folder_that_others_may_write_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(UnsafeFolder, match="writable by others"):
        secure_folder(folder)


def test_a_folder_that_others_may_only_read_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "readable"
    folder.mkdir()
    folder.chmod(0o755)
    secure_folder(folder)
    assert mode(folder) == 0o700


def test_a_foreign_folder_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "foreign"
    folder.mkdir(mode=0o700)
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
    else:
        folder = Path("/root")  # not ours, on any machine
    with pytest.raises(UnsafeFolder, match=r"belongs to uid|can't use"):
        secure_folder(folder)


def test_a_parent_that_is_a_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnsafeFolder, match="can't use folder"):
        secure_folder(tmp_path / "file/below")


@pytest.mark.parametrize(
    "env",
    [
        {"TOOWL_RUNTIME_DIR": "/a", "XDG_RUNTIME_DIR": "/b"},
        {"RUNTIME_DIRECTORY": "/a:/c", "XDG_RUNTIME_DIR": "/b"},
        {"XDG_RUNTIME_DIR": "/b", "TOOWL_RUNTIME_DIR": ""},
        {},
    ],
)
def test_where_the_daemon_listens_in_short(
    monkeypatch: pytest.MonkeyPatch, run_folder: Path, env: dict[str, str]
) -> None:
    for variable in ("TOOWL_RUNTIME_DIR", "RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in env.items():
        monkeypatch.setenv(variable, value)
    assert daemon_socket() == os.fspath(resolve().daemon_socket)
    (run_folder / "toowl-me").mkdir()
    assert daemon_socket() == os.fspath(resolve().daemon_socket)
