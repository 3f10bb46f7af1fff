"""What the end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.box import Box, unavailable
from tests.e2e.box.package import install_package


@pytest.fixture(scope="module")
def box() -> Iterator[Box]:
    """A booted systemd with toowl installed in it, for all tests of a module."""
    if reason := unavailable():
        pytest.skip(reason)
    with Box() as booted:
        install_package(booted)
        yield booted
