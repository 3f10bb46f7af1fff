"""Work beside the loop, and a session whose disk is slow."""

from __future__ import annotations

import _thread
import os
import threading

import pytest

from tests.host.rig import Driver, Rig
from toowld.host.aside import Aside
from toowld.wire import Ended


def test_the_loop_goes_on_meanwhile(driver: Driver) -> None:
    go, done, threads = threading.Event(), [], []

    def work() -> None:
        threads.append(threading.get_ident())
        assert go.wait(20)

    Aside(driver.loop, work, lambda: done.append(threading.get_ident()))
    for _ in range(3):
        driver.turn()
    assert not done
    go.set()
    driver.until(lambda: done)
    assert done == [threading.get_ident()] != threads


def test_waiting_for_it(driver: Driver) -> None:
    done: list[str] = []
    Aside(driver.loop, lambda: done.append("work"), lambda: done.append("told")).wait()
    assert done == ["work", "told"]
    driver.turn()
    assert done == ["work", "told"]


def test_without_a_thread_it_is_done_at_once(driver: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_left(*args: object) -> int:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(_thread, "start_new_thread", none_left)
    done: list[str] = []
    Aside(driver.loop, lambda: done.append("work"), lambda: done.append("told"))
    assert done == ["work"]
    driver.until(lambda: len(done) == 2)


class Platter:
    """A disk on which every fdatasync takes until `go` is set."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.begun = threading.Event()
        self.synced: list[int] = []
        real = os.fdatasync

        def slow(fd: int) -> None:
            self.begun.set()
            assert self.go.wait(20)
            real(fd)
            self.synced.append(os.fstat(fd).st_size)

        patch.setattr(os, "fdatasync", slow)


@pytest.fixture
def platter(monkeypatch: pytest.MonkeyPatch) -> Platter:
    return Platter(monkeypatch)


def test_a_slow_disk_holds_up_no_session(rig: Rig, platter: Platter) -> None:
    peer = rig.attach()
    rig.shell("stty raw -echo; printf ready; exec cat")
    peer.expect_output(b"ready")
    peer.close()
    rig.until(lambda: not rig.session.attachments)
    rig.until(platter.begun.is_set, "the sync of the last detach")
    peer = rig.attach()
    peer.enter(b"while it syncs")
    peer.expect_output(b"while it syncs")
    assert not platter.synced and rig.log.dirty
    platter.go.set()
    rig.until(lambda: platter.synced)


@pytest.mark.parametrize("busy", [False, True], ids=["at rest", "while it syncs"])
def test_an_end_is_told_when_it_is_on_the_disk(rig: Rig, platter: Platter, busy: bool) -> None:
    """Whoever shares the loop does not wait for that."""
    peer = rig.attach()
    rig.shell("stty raw -echo; printf ready; read line; printf bye; exit 3")
    peer.expect_output(b"ready")
    if busy:  # an earlier sync knows nothing of the end
        rig.host._scrollback.begin_sync()
        rig.until(platter.begun.is_set)
    peer.enter(b"\n")
    rig.until(lambda: rig.session.ended)
    rig.until(platter.begun.is_set)
    for _ in range(5):
        rig.driver.turn()
    assert not peer.got(Ended) and not rig.finished
    platter.go.set()
    peer.expect_output(b"readybye")
    assert peer.expect(Ended).code == 3
    rig.until(lambda: rig.finished)
    assert platter.synced[-1] == next(rig.folder.glob("*.log")).stat().st_size


def test_an_end_is_told_when_we_end_too(rig: Rig, platter: Platter) -> None:
    """A shutdown waits for the disk, and then says goodbye as always."""
    peer = rig.attach()
    rig.shell("printf ready; exec sleep 99")
    peer.expect_output(b"ready")

    def release() -> None:
        assert platter.begun.wait(20)
        platter.go.set()

    releaser = threading.Thread(target=release)
    releaser.start()
    rig.host.abandon("lost")
    assert platter.synced[-1] == next(rig.folder.glob("*.log")).stat().st_size
    releaser.join()
    assert peer.expect(Ended).reason == "lost"
