"""The model: bounded, and the same after a snapshot, at every byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.screen.oracle import differences
from tests.screen.streams import FRAGMENT
from toowld.errors import ScreenError
from toowld.screen.decode import decode
from toowld.screen.model import SCROLLBACK_LINES, Model
from toowld.wire.messages import Size

_SIZE = Size(rows=10, cols=24)


@settings(max_examples=150)
@given(st.lists(FRAGMENT, max_size=40), st.lists(FRAGMENT, max_size=40))
def test_a_snapshot_goes_on_exactly(before: list[bytes], after: list[bytes]) -> None:
    with Model(_SIZE) as first:
        first.feed(b"".join(before))
        with Model.restore(first.snapshot()) as second:
            for model in (first, second):
                model.feed(b"".join(after))
            assert differences(first.state(), second.state(), wraps=True) == []


def test_scrollback_is_kept_as_promised_and_no_more() -> None:
    with Model(Size(rows=24, cols=200)) as model:
        for n in range(30):
            model.feed(b"".join(b"\x1b[3%dm%060d\x1b[m %d\r\n" % (n % 8, n, m) for m in range(1000)))
        kept = len(model.state().main.history)
        assert SCROLLBACK_LINES * 0.95 <= kept <= SCROLLBACK_LINES + 24


def test_less_of_the_scrollback_can_be_asked_for() -> None:
    with Model(_SIZE) as model:
        model.feed(b"".join(b"%d\r\n" % n for n in range(3000)))
        whole = model.state().main
        for lines in (0, 1, 30, 299, 2000, len(whole.history), 1 << 40):
            part = model.state(history=lines).main
            assert part.history == whole.history[max(len(whole.history) - lines, 0) :]
            assert part.rows == whole.rows


def test_a_size_that_nobody_has_takes_no_gigabytes() -> None:
    with Model(Size(rows=65535, cols=65535)) as model:
        size = model.state(history=0).size
        assert size.rows * size.cols <= 1_000_000
        model.resize(Size(rows=60000, cols=60000))
        size = model.state(history=0).size
        assert size.rows * size.cols <= 1_000_000


def test_in_the_middle_of_a_picture_there_is_no_snapshot() -> None:
    with Model(_SIZE) as model:
        model.feed(b"text\x1bPq" + b"?" * (1 << 20))
        with pytest.raises(ScreenError):
            model.snapshot()
        model.feed(b"\x1b\\")
        assert model.state().main.rows[0].text == "text"


def test_a_damaged_snapshot_is_an_error_and_no_crash() -> None:
    with Model(_SIZE) as model:
        model.feed("some 漢字 text\x1b[31mred".encode())
        whole = model.snapshot()
    for end in range(0, len(whole), 7):
        with pytest.raises(ScreenError):
            Model.restore(whole[:end])
        with pytest.raises(ScreenError):
            decode(whole[:end], history=10)
    for at in range(0, len(whole), 11):
        damaged = whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :]
        with pytest.raises(ScreenError):
            Model.restore(damaged)


def test_a_wide_character_that_a_resize_cuts() -> None:
    """On an alternate screen, which is not wrapped anew: there is no snapshot until the program draws again.

    The library says so; whoever attaches meanwhile gets the output as it was printed.
    """
    with Model(_SIZE) as model:
        model.feed("\x1b[?1049h漢字".encode())
        model.resize(Size(rows=_SIZE.rows, cols=3))
        with pytest.raises(ScreenError):
            model.snapshot()
        model.feed(b"\x1b[H\x1b[2Jok")
        assert model.state().grid.rows[0].runs[-1].text.endswith("ok")
