"""`SocketFile`: whoever looks for the custodian finds it, whatever happened to the file."""

from __future__ import annotations

import os
import resource
import shutil
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import need_inotify
from tests.host.rig import Driver, driven, open_fds
from toowld.custodian import socketfile
from toowld.custodian.socketfile import SocketFile
from toowld.host.sockets import listen


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socketfile, "RETRY", 0.02)
    monkeypatch.setattr(socketfile, "FULL", 0.02)


@pytest.fixture
def driver() -> Iterator[Driver]:
    before = open_fds()
    with driven("epoll") as driver:
        yield driver
    assert open_fds() == before


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "toowl" / "custodians"
    folder.mkdir(parents=True, mode=0o700)
    return folder / "0badcafe.sock"


class Served:
    """A SocketFile that counts who came."""

    def __init__(self, driver: Driver, path: Path) -> None:
        self.driver = driver
        self.path = path
        self.connections: list[socket.socket] = []
        self.file = SocketFile(str(path), driver.loop, self.connections.append)

    def reach(self) -> None:
        """A client finds us by name, now or soon."""
        self.driver.until(self._connects, f"{self.path} to be there")

    def _connects(self) -> bool:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(self.path))
            except OSError:
                return False
            before = len(self.connections)
            self.driver.until(lambda: len(self.connections) > before)
        while self.connections:
            self.connections.pop().close()
        return True


@pytest.fixture
def served(driver: Driver, path: Path) -> Iterator[Served]:
    need_inotify()
    served = Served(driver, path)
    yield served
    served.file.close()


def test_clients_are_let_in(served: Served) -> None:
    served.reach()
    found = served.path.lstat()
    assert stat.S_IMODE(found.st_mode) == 0o600


def test_a_removed_file_comes_back(served: Served) -> None:
    for _ in range(3):
        served.path.unlink()
        served.reach()


def test_a_removed_folder_comes_back_for_us_only(served: Served) -> None:
    """Also the folder above, and not more open than the daemon would accept, whatever the umask."""
    before = os.umask(0)
    try:
        shutil.rmtree(served.path.parent.parent)
        served.reach()
    finally:
        os.umask(before)
    for folder in (served.path.parent, served.path.parent.parent):
        assert stat.S_IMODE(folder.lstat().st_mode) == 0o700


def test_a_folder_that_cannot_be_made_is_tried_until_it_can(served: Served) -> None:
    folder = served.path.parent
    shutil.rmtree(folder)
    folder.touch()  # in the way
    for _ in range(30):
        served.driver.turn()
    folder.unlink()
    served.reach()


def test_a_folder_that_is_moved_away_right_after_comes_back(served: Served) -> None:
    """What systemd-logind does at logout: it empties the folder, then takes it away as a mount.

    The second step touches no inode of ours, so nothing tells of it.
    """
    served.path.unlink()
    served.driver.until(served.path.exists)  # and not a turn more: it looks again so soon
    served.path.parent.rename(served.path.parent.with_name("gone"))
    served.reach()


def test_a_renamed_file_comes_back(served: Served) -> None:
    served.path.rename(served.path.with_name("other"))
    served.reach()


class Unwatched(Served):
    """All inotify instances of this user are taken, for a while."""

    def __init__(self, driver: Driver, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setattr(socketfile._libc, "inotify_init1", lambda flags: -1)
            super().__init__(driver, path)


@pytest.fixture
def unwatched(driver: Driver, path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Served]:
    served = Unwatched(driver, path, monkeypatch)
    yield served
    served.file.close()


def test_who_is_told_nothing_looks_when_asked(unwatched: Served) -> None:
    unwatched.path.unlink()
    unwatched.file.look()
    unwatched.reach()
    unwatched.path.unlink()  # there are instances again: from now on it is watched
    unwatched.reach()


def test_who_is_told_nothing_looks_by_himself_some_time(
    driver: Driver, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socketfile, "UNWATCHED", 0.02)
    served = Unwatched(driver, path, monkeypatch)
    served.path.unlink()
    served.reach()
    served.file.close()


def test_looking_after_close_makes_nothing(served: Served) -> None:
    served.file.close()
    served.file.look()
    assert not served.path.exists()


def test_touching_the_file_is_no_removal(served: Served) -> None:
    inode = served.path.lstat().st_ino
    os.utime(served.path)
    served.path.chmod(0o600)
    for _ in range(5):
        served.driver.turn()
    assert served.path.lstat().st_ino == inode
    served.reach()


def test_close_removes_the_file(served: Served) -> None:
    served.file.close()
    assert os.listdir(served.path.parent) == []  # noqa: PTH208


def test_close_leaves_a_successors_file(served: Served) -> None:
    with listen(str(served.path)) as successor:
        inode = served.path.lstat().st_ino
        served.file.close()
        assert served.path.lstat().st_ino == inode
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(served.path))
            successor.accept()[0].close()


def test_no_file_comes_back_after_close(served: Served) -> None:
    shutil.rmtree(served.path.parent)
    served.path.parent.touch()  # so that a retry is pending
    for _ in range(3):
        served.driver.turn()
    served.path.parent.unlink()
    served.file.close()
    for _ in range(30):
        served.driver.turn()
    assert not served.path.parent.exists()


def test_one_that_cannot_listen_leaves_nothing(driver: Driver, tmp_path: Path) -> None:
    before = open_fds()
    with pytest.raises(OSError):
        SocketFile(str(tmp_path / "missing" / "s"), driver.loop, lambda sock: None)
    assert open_fds() == before
    assert not driver.loop._readers


def test_no_descriptor_for_a_client_means_waiting_not_spinning(served: Served) -> None:
    """A client that can't be accepted stays "ready": without a pause this would take a whole processor."""
    calls = 0
    original = served.file._on_acceptable

    def counted() -> None:
        nonlocal calls
        calls += 1
        original()

    loop = served.driver.loop
    assert served.file._socket is not None
    loop.remove_reader(served.file._socket.fileno())
    served.file._on_acceptable = counted  # type: ignore[method-assign]
    loop.add_reader(served.file._socket.fileno(), counted)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(served.path))
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        lowest_free = min(set(range(1000)) - set(open_fds()))
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest_free, limits[1]))
        begun = loop.time()
        try:
            for _ in range(30):
                served.driver.turn()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert calls <= 2 + (loop.time() - begun) / socketfile.FULL
        served.driver.until(lambda: served.connections, "the client to be accepted in the end")
    served.connections.pop().close()
