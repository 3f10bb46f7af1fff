"""Each test of the host runs on both loops, unless it says otherwise, and leaves no descriptor and no child."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.host.lender import RAW, Lender, User, attach, ready
from tests.host.rig import Driver, Rig, driven, open_fds


@pytest.fixture(params=["epoll", "asyncio"])
def driver(request: pytest.FixtureRequest) -> Iterator[Driver]:
    gc.collect()
    before = open_fds()
    with driven(request.param) as driver:
        yield driver
    del driver
    gc.collect()
    left = {fd: name for fd, name in open_fds().items() if before.get(fd) != name}
    assert not left, f"left open: {left}"
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@pytest.fixture
def rig(driver: Driver, tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(driver, tmp_path)
    try:
        yield rig
    finally:
        rig.close()


@pytest.fixture
def user(driver: Driver) -> Iterator[User]:
    user = User(driver)
    try:
        yield user
    finally:
        user.close()


@pytest.fixture
def lender(rig: Rig, user: User) -> Lender:
    """A client of a session that prints what is typed."""
    rig.shell(f"{RAW} exec cat")
    return ready(attach(rig, user))
