"""A screen in a terminal of another size: what is painted there is what it would show of the session."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.screen.record import load
from toowld.screen.model import Model
from toowld.screen.state import Row
from toowld.screen.window import Window
from toowld.wire.messages import Size

SESSION = Size(rows=10, cols=30)
LARGER, SMALLER = Size(rows=14, cols=40), Size(rows=6, cols=12)


def cells(row: Row) -> list[str]:
    """What is in each cell; nothing in those that a character before takes too."""
    found: list[str] = []
    for run in row.runs:
        whole = len(run.text) == run.cells
        if not run.text:
            found += [" "] * run.cells
        else:
            found += list(run.text) if whole else [run.text, *[""] * (run.cells - 1)]
    return found


def texts(model: Model, size: Size) -> list[str]:
    """What can be read in each row of a terminal."""
    rows = [cells(row) for row in model.state(history=0).grid.rows]
    return ["".join(row + [" "] * (size.cols - len(row))) for row in rows]


def seen(session: Model, size: Size) -> list[str]:
    """What a terminal of this size is to show, by what the rule says."""
    state = session.state(history=0)
    cursor = state.grid.cursor
    left, top = max(cursor.x - size.cols + 1, 0), max(cursor.y - size.rows + 1, 0)
    rows = []
    for row in state.grid.rows[top:][: size.rows]:
        all_cells = cells(row) + [" "] * (state.size.cols - len(cells(row)))
        part = all_cells[left:][: size.cols]
        if part[0] == "":  # half of a wide character
            part[0] = " "
        if all_cells[left + len(part) :][:1] == [""]:
            part[-1] = " "
        rows.append("".join(part) + "." * (size.cols - len(part)))
    return rows + ["." * size.cols] * (size.rows - len(rows))


@pytest.mark.parametrize("size", [LARGER, SMALLER, Size(rows=14, cols=12), Size(rows=6, cols=40), SESSION])
@given(
    parts=st.lists(
        st.sampled_from(
            [b"text", b"\r\n", b"a long line of text that wraps ", b"\x1b[5;20H", b"\x1b[2J", b"\x1b[H", b"\x1b[L",
             b"\x1b[31;44m", b"\x1b[m", b"\x1b[3;6r", b"\x1b[r", b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[9;28H",
             "漢字".encode(), b"\x1b[K"]
        ),
        max_size=20,
    )
)  # fmt: skip
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
def test_the_picture_is_cut_off_or_padded(size: Size, parts: list[bytes]) -> None:
    """However it is cut into frames."""
    window = Window(size)
    with Model(SESSION) as session, Model(size) as terminal:
        for part in parts:
            session.feed(part)
            terminal.feed(window.paint(session.state(history=0)))
        terminal.feed(window.paint(session.state(history=0)))
        assert texts(terminal, size) == seen(session, size)
        assert window.paint(session.state(history=0)) == b""


def test_the_cursor_and_colours_are_where_they_are() -> None:
    with Model(SESSION) as session, Model(SMALLER) as terminal:
        session.feed(b"\x1b[8;25H\x1b[1;31mred")
        terminal.feed(Window(SMALLER).paint(session.state(history=0)))
        state = terminal.state(history=0)
        assert (state.grid.cursor.x, state.grid.cursor.y) == (11, 5)
        (run,) = (run for run in state.grid.rows[5].runs if run.text == "red")
        assert (run.style.fg, run.style.attributes) == (1, 1)


def test_half_of_a_wide_character_is_nothing() -> None:
    with Model(SESSION) as session, Model(SMALLER) as terminal:
        session.feed("漢字漢字漢字漢字".encode() + b"\x1b[1;14H")  # the cursor is in column 13: 2 are cut off
        terminal.feed(Window(SMALLER).paint(session.state(history=0)))
        assert texts(terminal, SMALLER)[0].rstrip(" ") == "字漢字漢字漢"
        session.feed(b"\x1b[1;13H")
        terminal.feed(Window(SMALLER).paint(session.state(history=0)))
        assert texts(terminal, SMALLER)[0].rstrip(" ") == " 字漢字漢字".rstrip(" ")


def test_what_the_session_sets_is_set_and_unset() -> None:
    setting = b"\x1b[?1h\x1b=\x1b[?2004h\x1b[?1002h\x1b[?1006h\x1b[>5u\x1b[>4;2m\x1b[5 q"
    setting += b"\x1b]11;#112233\x07\x1b]2;title\x07"
    window = Window(LARGER)
    with Model(SESSION) as session, Model(LARGER) as terminal:
        session.feed(setting)
        terminal.feed(window.paint(session.state(history=0)))
        state = terminal.state(history=0)
        assert state.mode(1) and state.mode(66) and state.mode(2004)
        assert (state.mouse, state.mouse_format, state.cursor_shape) == (1002, 1006, 5)
        assert state.grid.keyboard[-1] == 5 and state.modify_other_keys
        assert state.colours == {11: (0x11, 0x22, 0x33)}
        assert state.title == b"title"
        session.feed(b"\x1bc\x1b]111\x07")
        terminal.feed(window.paint(session.state(history=0)))
        state = terminal.state(history=0)
        assert not (state.mode(1) or state.mode(66) or state.mode(2004) or state.modify_other_keys)
        assert (state.mouse, state.mouse_format, state.cursor_shape) == (0, 0, 0)
        assert state.grid.keyboard[-1] == 0
        assert state.colours == {}


@pytest.mark.parametrize("size", [Size(rows=50, cols=200), Size(rows=12, cols=33)])
def test_a_recording(size: Size) -> None:
    window = Window(size)
    with Model(Size(rows=24, cols=80)) as session, Model(size) as terminal:
        for event in load("vim-resized"):
            if isinstance(event, Size):
                session.resize(event)
            else:
                session.feed(event)
            terminal.feed(window.paint(session.state(history=0)))
            assert texts(terminal, size) == seen(session, size)
