r"""A terminal's state as bytes for a real terminal. PURE.

`render` paints on a terminal that is as a shell leaves it: the cursor on a line of its own, nothing switched on. Then
the terminal shows what the session shows, and is set as the session has set it; the session's output can go on right
behind. Nothing is asked of the terminal, and nothing set that the session did not set, so what undoes a session's
own output (`toowl.modes`) undoes this too.

How it is done. The main screen is printed as lines, scrollback first: that many lines push all that was on the
terminal before, and the scrollback, into its own scrollback, and the last ones stay: the screen. No clearing, no
jumping, and lines that were wrapped by the terminal are wrapped by it again (so that it can wrap them anew
in another width, and copies them as one). If the alternate screen is shown, the main one is finished first, with
the cursor that a program will find when it comes back. What would disturb the painting comes last, in the order in
which one setting moves what another has set: tab stops, saved cursor, margins, origin, cursor, modes.

Exact as far as terminals agree: where they don't on the width of a character (emoji), the cursor is placed anew.
"""

from __future__ import annotations

from toowld.screen.paint import Painter
from toowld.screen.sgr import clean
from toowld.screen.state import Cursor, Grid, Row, Run, Terminal
from toowld.wire.messages import Size

_ORIGIN, _WRAP, _SIDE_MARGINS, _VISIBLE, _KEYPAD, _CLUSTERS, _SYNCHRONIZED = 6, 7, 69, 25, 66, 2027, 2026
#: What the terminal reports of the mouse, and how: of each only one counts, the one that was set last.
MOUSE = (9, 1000, 1002, 1003)
MOUSE_FORMATS = (1005, 1006, 1015, 1016)
#: Insert mode, newline mode. Others (a locked keyboard, local echo) no terminal should be left with.
_ANSI = (-4, -20)
#: Modes that only have to be set, in any order. Not among them: what has its own place here; what clears the
#: screen or resizes it (3); what only the program in the session ever sees (12, see DECSCUSR).
PLAIN_MODES = (1, 5, 45, 67, 1004, 1007, 1035, 1036, 1039, 1045, 2004, 2031, 2033, 2048, 5522)

_DESIGNATE = (b"(", b")", b"*", b"+")
_SETS = {1: b"B", 2: b"A", 3: b"0"}
_SHIFT_LEFT = (b"\x0f", b"\x0e", b"\x1bn", b"\x1bo")
_SHIFT_RIGHT = {1: b"\x1b~", 2: b"\x1b}", 3: b"\x1b|"}
_FRESH = Cursor().charsets


def render(terminal: Terminal, size: Size | None = None) -> bytes:
    """The bytes that make a fresh terminal show and be this.

    Args:
        size: of the real terminal; None: the same. The picture in another size is cut off or has space around it;
            a session that shall fill it is better resized before.
    """
    return _Renderer(terminal, size or terminal.size).render()


class _Renderer:
    def __init__(self, terminal: Terminal, size: Size) -> None:
        self._terminal = terminal
        self._size = size
        self._same = size == terminal.size
        self._paint = Painter(size, wraps=size.cols == terminal.size.cols)
        self._out = self._paint.out
        # A screen that is taller than the terminal is shown from its end; see `Painter.lines`.
        self._above = max(terminal.size.rows - size.rows, 0)

    def render(self) -> bytes:
        terminal = self._terminal
        self._out.append(b"\r\x1b[m\x1b[J")
        self._mode(_VISIBLE, False)
        if terminal.mode(_CLUSTERS):
            self._mode(_CLUSTERS, True)
        main = terminal.main
        self._paint.protection = main.protection
        below = max(self._size.rows - len(main.rows), 0)
        self._paint.lines((*main.history, *main.rows, *(Row() for _ in range(below))))
        grid = terminal.grid
        if terminal.alternate is not None:
            self._leave_main()
            self._paint.protection = grid.protection
            self._above = 0
            self._paint.screen(grid.rows[: self._size.rows])
        self._tabs()
        if grid.saved is not None:
            self._save(grid, grid.saved)
        self._margins()
        self._cursor(grid)
        self._keyboard(grid)
        self._colours()
        self._modes()
        self._strings()
        self._out.append(terminal.unfinished)
        return b"".join(self._out)

    # -- cursors ------------------------------------------------------------------------------------------

    def _leave_main(self) -> None:
        """Finish the main screen, and switch to the alternate one."""
        main = self._terminal.main
        self._keyboard(main)
        saved = main.saved
        if saved is not None and saved._replace(origin=False) == main.cursor._replace(link=None):
            # As programs do it: 1049 saves the cursor itself, and not every terminal brings one back that it did not.
            self._place(main, saved)
            self._out.append(b"\x1b[?1049h")
            self._unplace(saved)
            return
        if saved is not None:
            self._save(main, saved)
        self._place(main, main.cursor)
        self._out.append(b"\x1b[?1047h")
        self._unplace(main.cursor)

    def _save(self, grid: Grid, saved: Cursor) -> None:
        """Put what ESC 8 brings back into its place."""
        self._place(grid, saved)
        self._out.append(b"\x1b7")
        self._unplace(saved)

    def _place(self, grid: Grid, cursor: Cursor) -> None:
        if cursor.origin:
            self._out.append(b"\x1b[?6h")  # margins are not set yet, so it changes no place
        self._go(grid, cursor, 0, 0)
        self._pen(cursor)

    def _unplace(self, cursor: Cursor) -> None:
        """What comes is painted like any other."""
        if cursor.origin:
            self._out.append(b"\x1b[?6l")
        if cursor.charsets != _FRESH:
            self._out.append(b"\x0f\x1b(B\x1b)B\x1b*B\x1b+B\x1b}")
        self._paint.plain()

    def _cursor(self, grid: Grid) -> None:
        """The cursor as it is now; with origin mode its place counts from the margins."""
        cursor, margins = grid.cursor, self._terminal.margins
        if self._terminal.mode(_ORIGIN):
            self._out.append(b"\x1b[?6h")
            self._go(grid, cursor, margins.top, margins.left)
        else:
            self._go(grid, cursor, 0, 0)
        self._pen(cursor)
        if (single := cursor.charsets.single_shift) in (3, 4):
            self._out.append(b"\x1bN" if single == 3 else b"\x1bO")

    def _go(self, grid: Grid, cursor: Cursor, top: int, left: int) -> None:
        x, y = min(cursor.x, self._size.cols - 1), cursor.y - self._above
        run = _cell(grid.rows[cursor.y], cursor.x) if cursor.pending_wrap else None
        if run is None or x != cursor.x:
            self._paint.go(x - left, y - top)
            return
        # The cursor waits behind the last character for the next one: only printing brings it there.
        self._paint.go(x - left - run.cells + 1, y - top)
        self._paint.cell(run)

    def _pen(self, cursor: Cursor) -> None:
        self._paint.pen(cursor.style, cursor.link)
        self._paint.protect(cursor.protected)
        sets = cursor.charsets
        for designate, wanted in zip(_DESIGNATE, sets.sets, strict=True):
            if wanted:
                self._out.append(b"\x1b" + designate + _SETS[wanted])
        if sets.left != _FRESH.left:
            self._out.append(_SHIFT_LEFT[sets.left])
        if sets.right != _FRESH.right:
            self._out.append(_SHIFT_RIGHT.get(sets.right, b""))

    # -- settings -----------------------------------------------------------------------------------------

    def _tabs(self) -> None:
        cols = self._terminal.size.cols
        if self._terminal.tabs == tuple(range(8, cols, 8)):
            return
        self._out.append(b"\x1b[3g")
        for column in self._terminal.tabs:
            if column < self._size.cols:
                self._out.append(b"\x1b[%dG\x1bH" % (column + 1))

    def _margins(self) -> None:
        margins, terminal = self._terminal.margins, self._terminal
        if terminal.mode(_SIDE_MARGINS):
            self._mode(_SIDE_MARGINS, True)
        if not self._same:
            return  # a part of another screen than that of the terminal
        if (margins.top, margins.bottom) != (0, terminal.size.rows - 1):
            self._out.append(b"\x1b[%d;%dr" % (margins.top + 1, margins.bottom + 1))
        if terminal.mode(_SIDE_MARGINS) and (margins.left, margins.right) != (0, terminal.size.cols - 1):
            self._out.append(b"\x1b[%d;%ds" % (margins.left + 1, margins.right + 1))

    def _keyboard(self, grid: Grid) -> None:
        if grid.keyboard[0]:
            self._out.append(b"\x1b[=%d;1u" % grid.keyboard[0])
        for flags in grid.keyboard[1:]:
            self._out.append(b"\x1b[>%du" % flags)

    def _colours(self) -> None:
        for number, colour in self._terminal.colours.items():
            self._out.append(b"\x1b]%d;rgb:%02x/%02x/%02x\x1b\\" % (number, *colour))
        for index, colour in self._terminal.palette.items():
            self._out.append(b"\x1b]4;%d;rgb:%02x/%02x/%02x\x1b\\" % (index, *colour))

    def _modes(self) -> None:
        terminal = self._terminal
        for mode in (*_ANSI, *PLAIN_MODES, _WRAP):
            if mode in terminal.modes:
                self._mode(mode, terminal.modes[mode])
        if terminal.mode(_KEYPAD):
            self._out.append(b"\x1b=")
        if terminal.modify_other_keys:
            self._out.append(b"\x1b[>4;2m")
        for modes, last in ((MOUSE, terminal.mouse), (MOUSE_FORMATS, terminal.mouse_format)):
            on = [mode for mode in modes if terminal.mode(mode) and mode != last]
            for mode in [*on, last] if last else []:
                self._mode(mode, True)
        if terminal.cursor_shape:
            self._out.append(b"\x1b[%d q" % terminal.cursor_shape)
        if terminal.modes.get(_VISIBLE, True):
            self._mode(_VISIBLE, True)

    def _mode(self, mode: int, on: bool) -> None:
        self._out.append(b"\x1b[%s%d%s" % (b"" if mode < 0 else b"?", abs(mode), b"h" if on else b"l"))

    def _strings(self) -> None:
        terminal = self._terminal
        if terminal.title:
            self._out.append(b"\x1b]2;%s\x1b\\" % clean(terminal.title))
        if terminal.cwd:
            self._out.append(b"\x1b]7;%s\x1b\\" % clean(terminal.cwd))
        if terminal.mode(_SYNCHRONIZED):
            self._mode(_SYNCHRONIZED, True)  # the session is in the middle of an update


def _cell(row: Row, column: int) -> Run | None:
    """The character that ends at ``column``; None if there is none."""
    x = 0
    for run in row.runs:
        if x <= column < x + run.cells:
            if len(run.text) == run.cells:
                return run._replace(text=run.text[column - x], cells=1)
            return run if run.text and x + run.cells == column + 1 else None
        x += run.cells
    return None
