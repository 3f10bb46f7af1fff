"""Which process a pid names, whatever that is called and however many descriptors are left."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness import wait_for
from toowld.daemon import process


@pytest.fixture(params=["sleep", "a) Z 1 (b", "\udcff\n0 "], ids=["plain", "like the fields", "no text"])
def other(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A child of ours, by several names."""
    program = tmp_path / request.param
    program.symlink_to("/usr/bin/sleep")
    with subprocess.Popen([program, "999"], executable=program) as started:
        wait_for(lambda: process.read(started.pid, "comm") == os.fsencode(f"{request.param}\n"))
        yield started
        started.kill()


def test_when_it_was_started(other: subprocess.Popen[bytes]) -> None:
    ours, theirs = process.started_at(os.getpid()), process.started_at(other.pid)
    assert ours is not None and theirs is not None
    assert 0 < ours <= theirs <= time.clock_gettime(time.CLOCK_BOOTTIME)
    assert process.is_alive(other.pid, theirs) and not process.is_alive(other.pid, theirs - 60)


def test_a_zombie_is_still_that_process_and_does_not_live(other: subprocess.Popen[bytes]) -> None:
    started = process.started_at(other.pid)
    other.kill()
    os.waitid(os.P_PID, other.pid, os.WEXITED | os.WNOWAIT)
    assert process.is_same(other.pid, started) and not process.is_alive(other.pid, started)
    other.wait()
    assert not process.is_same(other.pid, started) and process.started_at(other.pid) is None


def test_children(other: subprocess.Popen[bytes]) -> None:
    assert other.pid in process.children(os.getpid(), process.started_at(os.getpid()))
    assert process.children(other.pid, process.started_at(other.pid)) == []
    assert process.children(os.getpid(), 0.0) == []


def test_without_a_descriptor_nobody_is_taken_for_gone() -> None:
    """A custodian that is taken for gone gets a successor."""
    me, limits = process.started_at(os.getpid()), resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        with pytest.raises(OSError) as caught:
            process.is_alive(os.getpid(), me)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert caught.value.errno == errno.EMFILE
