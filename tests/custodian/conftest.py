"""A sandbox with custodians in it, for all that is tested of them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.custodian.world import World
from tests.harness import Sandbox


@pytest.fixture
def world(sandbox: Sandbox) -> Iterator[World]:
    world = World(sandbox)
    try:
        yield world
    finally:
        world.close()
        sandbox.assert_clean()
