"""A session's screen in the form that was asked for: what ``capture`` and ``snapshot`` share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toowl import drawing, markup
from toowl.commands._text import safe
from toowl.history import History
from toowld.screen.state import Row, Terminal

#: The forms, and the names of files that want them.
FORMATS = {"text": "txt", "ansi": "ans", "html": "html", "svg": "svg", "json": "json"}


def shot(history: History, form: str, *, scrollback: bool = False, last: int | None = None) -> bytes:
    """What a session shows.

    Args:
        form: one of `FORMATS`.
        scrollback: with what a terminal would have above the screen.
        last: only so many lines, from the end.

    Raises:
        ScreenError: that can't be told here.
    """
    terminal = history.screen()
    rows = drawing.rows_of(terminal, scrollback=scrollback, last=last)
    title = safe(terminal.title.decode("utf-8", "replace")) or history.label
    makers: dict[str, Callable[[], str]] = {
        "text": lambda: drawing.text(rows),
        "ansi": lambda: drawing.ansi(rows),
        "json": lambda: drawing.as_json(terminal, rows),
        "html": lambda: markup.html(terminal, rows, title=title),
        "svg": lambda: markup.svg(
            terminal, rows, title=title, cursor_row=None if scrollback else _cursor(terminal, rows)
        ),
    }
    return makers[form]().encode("utf-8", "replace")


def _cursor(terminal: Terminal, rows: Sequence[Row]) -> int | None:
    """In which of the last rows of the screen the cursor is; None if in none, or if it is hidden."""
    whole = len(drawing.rows_of(terminal, scrollback=False, last=None))
    row = terminal.grid.cursor.y - (whole - len(rows))
    return row if terminal.modes.get(25, True) and 0 <= row < len(rows) else None
