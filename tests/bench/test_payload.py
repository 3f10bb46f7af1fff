"""What the sessions print."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bench import payload


@pytest.mark.parametrize("make", [payload.text, payload.colour, payload.redraw])
@pytest.mark.parametrize("size", [200_000, 5_000_000])
def test_about_as_much_as_was_asked_for_and_the_same_each_time(
    make: Callable[[int], bytes], size: int
) -> None:
    made = make(size)
    assert size * 0.6 < len(made) < size * 1.2
    assert made == make(size)


@pytest.mark.parametrize("make", [payload.text, payload.colour, payload.redraw])
def test_the_marker_can_only_be_the_end(make: Callable[[int], bytes]) -> None:
    assert not set(payload.MARKER.encode()[:2]) & set(make(2_000_000))


def test_a_frame_fits_the_screen() -> None:
    frame = payload.redraw(1).decode()
    rows = [int(row) for row in re.findall(r"\x1b\[(\d+);1H", frame)]
    assert rows == list(range(2, payload.ROWS - 1))
    lines = re.sub(r"\x1b\[[\d;]*[mHKJ]", "\n", frame).split("\n")
    assert max(len(line) for line in lines) <= payload.COLS
