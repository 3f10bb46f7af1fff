"""Work beside the loop, and a session whose disk is slow."""

from __future__ import annotations

import _thread
import os
import threading

import pytest

from tests.host.rig import Driver, Rig
from toowld.host.aside import Aside


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


def test_a_slow_disk_holds_up_nothing_but_the_end(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    go, begun, synced = threading.Event(), threading.Event(), []
    real = os.fdatasync

    def slow(fd: int) -> None:
        begun.set()
        assert go.wait(20)
        real(fd)
        synced.append(os.fstat(fd).st_size)

    monkeypatch.setattr(os, "fdatasync", slow)
    peer = rig.attach()
    rig.shell("stty raw -echo; printf ready; exec cat")
    peer.expect_output(b"ready")
    peer.close()
    rig.until(lambda: not rig.session.attachments)
    rig.until(begun.is_set, "the sync of the last detach")
    peer = rig.attach()
    peer.enter(b"while it syncs")
    peer.expect_output(b"while it syncs")
    assert not synced and rig.log.dirty
    go.set()
    rig.until(lambda: synced)
