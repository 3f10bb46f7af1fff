"""Nothing is left switched on: whatever a session printed, a terminal is as fresh after what `Modes` undoes."""

from __future__ import annotations

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.screen.streams import FRAGMENT, OLD_FRAGMENT
from toowl.modes import Modes
from toowld.screen.model import Model
from toowld.screen.render import render
from toowld.screen.state import PLAIN, Cursor, Terminal
from toowld.wire.messages import Size

_SIZE = Size(rows=10, cols=24)
_STREAM = st.one_of(st.lists(FRAGMENT, max_size=40), st.lists(OLD_FRAGMENT, max_size=40))
#: Blinking is part of the cursor's shape. Mouse wheel as cursor keys: which is usual differs, so it is left alone.
_LEFT_ALONE = {12, 1007}


def left(terminal: Terminal) -> dict[str, object]:
    """What is not as in a fresh terminal."""
    with Model(terminal.size) as model:
        fresh = model.state()
    cursor = terminal.main.cursor
    # A charset that was chosen to be ASCII is no other than none; a shift for one character is gone with that.
    g0, g1, g2, g3 = (0 if chosen == 1 else chosen for chosen in cursor.charsets.sets)
    charsets = cursor.charsets._replace(sets=(g0, g1, g2, g3), single_shift=0)
    found = {
        "alternate": terminal.alternate is not None,
        "margins": terminal.margins != fresh.margins,
        # In the last column there is one or not: a tab ends there anyway.
        "tabs": ({*terminal.tabs} ^ {*fresh.tabs}) - {terminal.size.cols - 1},
        "modes": {mode: on for mode, on in terminal.modes.items() if mode not in _LEFT_ALONE},
        "mouse": terminal.mouse,
        "other keys": terminal.modify_other_keys,
        "shape": terminal.cursor_shape,
        "colours": terminal.colours | terminal.palette,
        "keyboard": terminal.main.keyboard[-1],
        "pen": cursor.style != PLAIN or cursor.link is not None,
        "charsets": charsets != Cursor().charsets,
    }
    return {what: value for what, value in found.items() if value}


@settings(max_examples=300)
@given(_STREAM)
@example([b"\x1b(0", b"\x1b[?1049h", b"\x1b8"])  # what the main screen's cursor has comes back with it
@example([b"\x1b[31m", b"\x1b[?1049h", b"\x1b[m"])
@example([b"\x0e\x1b)0", b"\x1b[?1049h", b"\x0f"])
def test_a_picture_leaves_nothing(stream: list[bytes]) -> None:
    with Model(_SIZE) as session, Model(_SIZE) as terminal:
        session.feed(b"".join(stream))
        painted = render(session.state())
        terminal.feed(painted)
        modes = Modes()
        modes.feed(painted)
        terminal.feed(modes.reset())
        assert left(terminal.state()) == {}


def test_tab_stops_are_where_they_were() -> None:
    for changed in (b"\x1b[3g", b"\x1b[1;20H\x1bH", b"\x1b[9G\x1b[0g"):
        with Model(Size(rows=24, cols=132)) as terminal:
            terminal.feed(changed)
            assert list(left(terminal.state())) == ["tabs"]
            modes = Modes()
            modes.feed(changed)
            terminal.feed(modes.reset())
            assert left(terminal.state()) == {}
