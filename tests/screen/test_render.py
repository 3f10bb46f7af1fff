"""What is painted is what was there: random output, a second terminal, a third, and the same after more output."""

from __future__ import annotations

from itertools import accumulate

from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from tests.screen.oracle import cells, differences, hop, waits_behind_nothing
from tests.screen.streams import ENTERS_ALTERNATE, FRAGMENT, LATER, OLD_FRAGMENT
from toowld.screen.model import Model
from toowld.screen.render import render
from toowld.screen.state import Terminal
from toowld.wire.messages import Size

_SIZE = Size(rows=10, cols=24)
_STREAM = st.one_of(
    st.lists(FRAGMENT, max_size=15),
    st.lists(FRAGMENT, min_size=15, max_size=60),
    st.lists(OLD_FRAGMENT, min_size=5, max_size=60),
)


def _model(output: bytes, size: Size = _SIZE) -> Model:
    model = Model(size)
    model.feed(output)
    return model


@settings(max_examples=300)
@given(_STREAM)
def test_any_output_is_painted_exactly(stream: list[bytes]) -> None:
    state = _model(b"".join(stream)).state()
    second = hop(state).state()
    assert differences(state, second) == []
    # What was painted is painted again, though the first one's lines may have been wrapped where nobody could tell.
    assert differences(second, hop(second).state()) == []


@settings(max_examples=200)
@given(_STREAM, st.lists(LATER, max_size=40))
def test_what_comes_later_looks_the_same(stream: list[bytes], later: list[bytes]) -> None:
    first = _model(b"".join(stream))
    state = first.state()
    assume(not waits_behind_nothing(state))
    # What an alternate screen held, and wrote with, when it was left is not painted.
    left = state.alternate is None and any(piece in ENTERS_ALTERNATE for piece in stream)
    assume(not (left and any(piece in ENTERS_ALTERNATE for piece in later)))
    second = hop(state)
    for piece in later:
        first.feed(piece)
        second.feed(piece)
    # Not the scrollback: it had something above it in the second terminal, that may have been pulled down.
    assert differences(first.state(history=0), second.state(history=0)) == []


def _cuts(state: Terminal, cols: int) -> bool:
    """Whether a wide character is cut in two; see `test_model.test_a_wide_character_that_a_resize_cuts`."""
    rows = state.alternate.rows if state.alternate is not None else ()
    starts = [list(accumulate((run.cells for run in row.runs), initial=0)) for row in rows]
    return any(
        run.cells == 2 and start == cols - 1
        for row, begins in zip(rows, starts, strict=True)
        for run, start in zip(row.runs, begins, strict=False)
    )


@settings(max_examples=100)
@example([b"\x1b[?47h", "漢字".encode()], 1, 1)
@given(_STREAM, st.integers(1, 30), st.integers(1, 50))
def test_another_size_is_the_resized_terminal(stream: list[bytes], rows: int, cols: int) -> None:
    model = _model(b"".join(stream))
    assume(not _cuts(model.state(history=0), cols))
    model.resize(Size(rows=rows, cols=cols))
    state = model.state()
    assert differences(state, hop(state).state()) == []


@settings(max_examples=100)
@given(_STREAM, st.integers(1, 30), st.integers(1, 50))
def test_a_viewer_of_another_size_sees_a_part(stream: list[bytes], rows: int, cols: int) -> None:
    """Cut off or with space around it, and every cell where it was."""
    state = _model(b"".join(stream)).state(history=0)
    shown = hop(state, Size(rows=rows, cols=cols)).state(history=0).grid.rows
    height = len(state.grid.rows)
    top = max(height - rows, 0) if state.alternate is None else 0
    for y, row in enumerate(shown):
        wanted = cells(state.grid.rows[y + top])[:cols] if y + top < height else []
        if (
            cols < _SIZE.cols
            and len(wanted) == cols
            and (len(wanted[-1][0].encode()) > 2 or wanted[-1][0] == "")
        ):
            continue  # half of a wide character
        while wanted and not wanted[-1][0] and wanted[-1][1] is not None and wanted[-1][1].bg is None:
            wanted.pop()
        assert cells(row) == wanted


def test_scrollback_goes_into_the_scrollback_of_the_terminal() -> None:
    output = b"".join(b"line %d \x1b[3%dmcoloured\x1b[m\r\n" % (n, n % 8) for n in range(500))
    second = hop(_model(output).state()).state()
    history = [row.text for row in second.main.history]
    assert history[:3] == ["user@host:~$ echo earlier"[:24], "r", "earlier"]  # what the user had stays, above
    assert history[-491:] == [f"line {n} coloured" for n in range(491)]
    assert [row.text for row in second.main.rows] == [f"line {n} coloured" for n in range(491, 500)] + [""]


def test_a_line_that_was_wrapped_can_be_wrapped_anew() -> None:
    state = _model(b"0123456789" * 30 + "漢字".encode() * 40).state()
    second = hop(state)
    assert differences(state, second.state(), wraps=True) == []
    wide = Size(rows=10, cols=60)
    second.resize(wide)
    first = _model(b"0123456789" * 30 + "漢字".encode() * 40)
    first.resize(wide)
    wanted = [row.text for row in (*first.state().main.history, *first.state().main.rows) if row.runs]
    got = [row.text for row in (*second.state().main.history, *second.state().main.rows) if row.runs]
    assert got[-len(wanted) :] == wanted
    assert max(map(len, wanted)) > _SIZE.cols


def test_a_sequence_that_is_cut_goes_on() -> None:
    for whole in (b"\x1b[1;31mred", b"\x1b]0;the title\x07after", "é漢👍".encode(), b"\x1bP1$r0m\x1b\\after"):
        for cut in range(1, len(whole)):
            state = _model(b"before" + whole[:cut]).state()
            second = hop(state)
            second.feed(whole[cut:])
            assert differences(_model(b"before" + whole).state(), second.state()) == [], whole[:cut]


def test_a_program_that_leaves_the_alternate_screen_finds_the_main_one() -> None:
    for enter, leave in (
        (b"\x1b[?1049h", b"\x1b[?1049l"),
        (b"\x1b[?1047h", b"\x1b[?1047l"),
        (b"\x1b7\x1b[?47h", b"\x1b[?47l\x1b8"),
    ):
        first = _model(b"shell$ \x1b[32mvim\x1b[m\r\n  " + enter + b"\x1b[2J\x1b[5;5Hvim here\x1b[7m")
        second = hop(first.state())
        first.feed(leave)
        second.feed(leave)
        assert differences(first.state(), second.state()) == [], enter


def test_nothing_is_set_that_was_not_set() -> None:
    """A session that only printed text leaves no trace in the settings of a terminal."""
    painted = render(_model(b"plain text\r\n$ ").state())
    assert painted.replace(b"\x1b[?25l", b"").replace(b"\x1b[?25h", b"") == (
        b"\r\x1b[m\x1b[Jplain text\r\n$ " + b"\r\n" * 8 + b"\x1b[2;3H"
    )
