"""The messages as values."""

from __future__ import annotations

import pytest

from toowld.classes import fields
from toowld.wire import DEFAULT_SIZE, Hello, Size
from toowld.wire.messages import BY_TAG


def test_each_tag_belongs_to_one_message() -> None:
    assert all(tag == cls.TAG for tag, cls in BY_TAG.items())
    assert len({cls.__name__ for cls in BY_TAG.values()}) == len(BY_TAG)


def test_fields_with_defaults_stand_last() -> None:
    """A newer field is added at the end with a default; Python enforces it, this says so."""
    for cls in BY_TAG.values():
        optional = [not one.required for one in fields(cls)]
        assert optional == sorted(optional)


def test_two_hellos_share_no_map() -> None:
    assert Hello().about is not Hello().about


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (24, 80), (0xFFFF, 0xFFFF)])
def test_sizes_that_a_terminal_can_have(rows: int, cols: int) -> None:
    size = Size(rows=rows, cols=cols)
    assert (size.rows, size.cols) == (rows, cols)


@pytest.mark.parametrize(("rows", "cols"), [(0, 80), (24, 0), (-1, 80), (24, 0x10000), (0x10000, 80)])
def test_sizes_that_no_terminal_has(rows: int, cols: int) -> None:
    with pytest.raises(ValueError, match=f"{cols}x{rows}"):
        Size(rows=rows, cols=cols)


def test_the_default_is_that_of_a_vt100() -> None:
    assert Size(rows=24, cols=80) == DEFAULT_SIZE
