"""Fixtures for what users see."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.client.lent import Lent
from tests.client.outer import Outer
from tests.client.scripted import ScriptedDaemon
from tests.harness import Sandbox, need_program


@pytest.fixture
def outers(sandbox: Sandbox) -> Iterator[list[Outer]]:
    need_program("tmux")
    sandbox.env["LC_ALL"] = "C.UTF-8"
    made: list[Outer] = []
    yield made
    for outer in made:
        outer.close()


@pytest.fixture
def daemon(sandbox: Sandbox) -> Iterator[ScriptedDaemon]:
    """Says what the test tells it to."""
    with ScriptedDaemon(sandbox.paths.daemon_socket) as scripted:
        yield scripted


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[Lent]:
    made = Lent(tmp_path / "log")
    try:
        yield made
    finally:
        made.close()
