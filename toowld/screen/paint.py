"""Rows of cells as bytes for a terminal: the writing half of `render`. PURE."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from toowld.screen import sgr
from toowld.screen.state import PLAIN, Link, Row, Run, Style
from toowld.wire.messages import Size

#: From here on (arrows, signs, emoji) terminals disagree on how wide characters are, and on what belongs together.
_UNSURE = "\u2190"


class Painter:
    """Writes rows, and knows what text looks like just now.

    Args:
        size: of the terminal; rows are cut off there.
        wraps: the terminal is as wide as what is shown: it may wrap long lines itself.
    """

    def __init__(self, size: Size, *, wraps: bool) -> None:
        self.out: list[bytes] = []
        self.protection = 0  #: the kind that cells are protected by; see `Grid`
        self._size = size
        self._wraps = wraps
        self._style: Style = PLAIN
        self._link: Link | None = None
        self._protected = False

    # -- rows ---------------------------------------------------------------------------------------------

    def lines(self, rows: Sequence[Row]) -> None:
        """Print rows below each other, from the beginning of a line on; the last one stays the cursor's."""
        for row, following in pairwise(rows):
            linked = self._links(row, following)
            self.row(row, to_end=linked)
            if not linked or not self._begins_clean(following):
                self.plain()
                self.out.append(b"\r\n")
        self.row(rows[-1])
        self.plain()

    def screen(self, rows: Sequence[Row]) -> None:
        """Paint rows on a clear screen."""
        linked = False
        for y, row in enumerate(rows):
            if row.runs and not linked:
                self.go(0, y)
            linked = y + 1 < len(rows) and self._links(row, rows[y + 1])
            self.row(row, to_end=linked)
        self.plain()

    def _links(self, row: Row, following: Row) -> bool:
        """Whether the terminal goes to the next row by itself, and notes that the line goes on there."""
        if not (self._wraps and row.wraps and row.runs and following.runs and following.runs[0].text):
            return False
        cells = sum(run.cells for run in row.runs)
        if row.head:
            return cells == self._size.cols - 1 and following.runs[0].cells == 2
        return cells == self._size.cols and bool(row.runs[-1].text)

    def _begins_clean(self, row: Row) -> bool:
        """Whether nothing is left of the background that a line gets which the terminal begins while printing."""
        return row.runs[0].style.bg is None or _full(row, self._size.cols)

    def row(self, row: Row, *, to_end: bool = False) -> None:
        """The cells of one row, from where the cursor is. ``to_end``: the cursor shall be behind the last one."""
        x = 0
        for number, run in enumerate(row.runs):
            if x + run.cells > self._size.cols:
                run = _cut(run, self._size.cols - x)
            if not run.cells:
                return
            x += run.cells
            if run.text:
                self.cell(run)
                if _unsure(run) and x < self._size.cols:
                    self.out.append(b"\x1b[%dG" % (x + 1))
            else:
                self._blank(run, last=number == len(row.runs) - 1 and not to_end)

    def _blank(self, run: Run, *, last: bool) -> None:
        if run.style.bg is None and last:
            return
        self.pen(Style(bg=run.style.bg), None)
        if run.style.bg is not None:
            self.out.append(b"\x1b[%dX" % run.cells)
        if not last:
            self.out.append(b"\x1b[%dC" % run.cells)

    def cell(self, run: Run) -> None:
        """Print the text of a run."""
        self.protect(run.protected)
        self.pen(run.style, run.link)
        self.out.append(run.text.encode("utf-8", "replace"))

    # -- the pen ------------------------------------------------------------------------------------------

    def pen(self, style: Style, link: Link | None) -> None:
        """What comes looks like this, and leads there."""
        if style != self._style:
            self.out.append(sgr.style(style))
            self._style = style
        if link != self._link:
            self.out.append(sgr.link(link))
            self._link = link

    def protect(self, on: bool) -> None:
        """What comes is protected from some kinds of erasing."""
        if on != self._protected:
            self._protected = on
            if self.protection == 1:
                self.out.append(b"\x1bV" if on else b"\x1bW")
            else:
                self.out.append(b'\x1b[%d"q' % on)

    def plain(self) -> None:
        """What comes looks like nothing in particular."""
        self.protect(False)
        self.pen(PLAIN, None)

    def go(self, x: int, y: int) -> None:
        """To that cell."""
        self.out.append(b"\x1b[%d;%dH" % (max(y, 0) + 1, max(x, 0) + 1))


def _full(row: Row, cols: int) -> bool:
    return all(run.text for run in row.runs) and sum(run.cells for run in row.runs) == cols


def _cut(run: Run, cells: int) -> Run:
    """The beginning of a run, as far as there is room."""
    if run.text and len(run.text) != run.cells:
        return run._replace(text="", cells=0)  # half of a wide character is nothing
    return run._replace(text=run.text[:cells], cells=cells)


def _unsure(run: Run) -> bool:
    """Whether the cursor may be elsewhere after this than we believe."""
    return len(run.text) != run.cells or (not run.text.isascii() and max(run.text) >= _UNSURE)
