"""A session's screen in a terminal of another size: cropped or padded, painted by differences. PURE.

The output itself would be garbage there: lines wrap elsewhere, and what scrolls is not what the program believes. So
the state of a model in the session's size is painted: the part around the cursor where the terminal is smaller; dots
where it is larger, as tmux has them. What the session has set (mouse, keyboard, colours, title) is set too.

It paints on a screen that nobody else writes to, but for the last line, which is painted each time.
"""

from __future__ import annotations

from collections.abc import Iterator

from toowld.screen.paint import Painter
from toowld.screen.render import PLAIN_MODES
from toowld.screen.sgr import clean
from toowld.screen.state import Row, Run, Terminal
from toowld.wire.messages import Size

#: The program is told of another size than this terminal has; the session's own is what counts.
_NOT_PASSED_ON = 2048
_KEYPAD, _VISIBLE = 66, 25


class Window:
    """What one terminal shows of a session.

    Args:
        size: of the terminal.
    """

    def __init__(self, size: Size) -> None:
        self._size = size
        self._rows: list[bytes] = []
        self._cursor = b""
        self._set: dict[object, tuple[bytes, bytes]] = {}

    def resize(self, size: Size) -> None:
        """The terminal has this size now, and shows nothing."""
        self._size = size
        self._rows = []
        self._cursor = b""

    def paint(self, terminal: Terminal) -> bytes:
        """The bytes after which the terminal shows this; empty if it does already."""
        cursor = terminal.grid.cursor
        left, top = max(cursor.x - self._size.cols + 1, 0), max(cursor.y - self._size.rows + 1, 0)
        rows = [self._row(terminal, top + y, left) for y in range(self._size.rows)]
        settings = dict(_settings(terminal))
        visible = b"h" if terminal.modes.get(_VISIBLE, True) else b"l"
        place = b"\x1b[%d;%dH\x1b[?25%s" % (cursor.y - top + 1, cursor.x - left + 1, visible)
        if (rows, settings, place) == (self._rows, self._set, self._cursor):
            return b""
        out = [b"\x1b[?2026h\x1b[?25l"]
        for y, row in enumerate(rows):
            if y >= len(self._rows) or row != self._rows[y] or y == len(rows) - 1:
                out.append(b"\x1b[%d;1H%s" % (y + 1, row))
        out += [undo for key, (_, undo) in self._set.items() if key not in settings]
        out += [do for key, (do, undo) in settings.items() if self._set.get(key) != (do, undo)]
        out += [place, b"\x1b[?2026l"]
        self._rows, self._set, self._cursor = rows, settings, place
        return b"".join(out)

    def _row(self, terminal: Terminal, y: int, left: int) -> bytes:
        paint = Painter(Size(rows=1, cols=self._size.cols), wraps=False)
        paint.out.append(b"\x1b[m\x1b[K")
        dots = self._size.cols
        if y < len(terminal.grid.rows):
            paint.row(_from(terminal.grid.rows[y], left))
            paint.plain()
            dots = max(self._size.cols - terminal.size.cols + left, 0)
        if dots:
            paint.out.append(b"\x1b[%dG\x1b[2m%s\x1b[m" % (self._size.cols - dots + 1, b"." * dots))
        return b"".join(paint.out)


def _from(row: Row, left: int) -> Row:
    """A row without its first cells."""
    runs: list[Run] = []
    for run in row.runs:
        skip = min(left, run.cells)
        left -= skip
        if skip == run.cells:
            continue
        if skip:  # half of a wide character is nothing
            text = run.text[skip:] if len(run.text) == run.cells else ""
            run = run._replace(text=text, cells=run.cells - skip)
        runs.append(run)
    return row._replace(runs=tuple(runs))


def _settings(terminal: Terminal) -> Iterator[tuple[object, tuple[bytes, bytes]]]:
    """What is set, by what it concerns: what sets it, and what undoes that."""
    for mode in PLAIN_MODES:
        if mode in terminal.modes and mode != _NOT_PASSED_ON:
            on, off = (b"h", b"l") if terminal.modes[mode] else (b"l", b"h")
            yield mode, (b"\x1b[?%d%s" % (mode, on), b"\x1b[?%d%s" % (mode, off))
    for mode in (terminal.mouse, terminal.mouse_format):
        if mode:
            yield mode, (b"\x1b[?%dh" % mode, b"\x1b[?%dl" % mode)
    if terminal.mode(_KEYPAD):
        yield _KEYPAD, (b"\x1b=", b"\x1b>")
    if flags := terminal.grid.keyboard[-1]:
        yield "keyboard", (b"\x1b[=%d;1u" % flags, b"\x1b[=0;1u")
    if terminal.modify_other_keys:
        yield "keys", (b"\x1b[>4;2m", b"\x1b[>4m")
    if terminal.cursor_shape:
        yield "cursor", (b"\x1b[%d q" % terminal.cursor_shape, b"\x1b[0 q")
    for number, colour in terminal.colours.items():
        rgb = b"\x1b]%d;rgb:%02x/%02x/%02x\x1b\\" % (number, *colour)
        yield ("colour", number), (rgb, b"\x1b]%d\x1b\\" % (number + 100))
    for index, colour in terminal.palette.items():
        rgb = b"\x1b]4;%d;rgb:%02x/%02x/%02x\x1b\\" % (index, *colour)
        yield ("palette", index), (rgb, b"\x1b]104;%d\x1b\\" % index)
    if terminal.title:
        yield "title", (b"\x1b]2;%s\x1b\\" % clean(terminal.title), b"")
