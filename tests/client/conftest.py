"""Fixtures for what users see."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.client.outer import Outer
from tests.harness import Sandbox, need_program


@pytest.fixture
def outers(sandbox: Sandbox) -> Iterator[list[Outer]]:
    need_program("tmux")
    sandbox.env["LC_ALL"] = "C.UTF-8"
    made: list[Outer] = []
    yield made
    for outer in made:
        outer.close()
