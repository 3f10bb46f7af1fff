"""What a session shows, written down: as text, with escape sequences, or as JSON. PURE.

Takes a `Terminal`, and which of its rows are wanted. Pictures are drawn by `toowl.markup`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from toowld.screen import sgr
from toowld.screen.state import PLAIN, Attribute, Colour, Link, Row, Run, Terminal

_UNDERLINES = ("none", "single", "double", "curly", "dotted", "dashed")


def rows_of(terminal: Terminal, *, scrollback: bool, last: int | None) -> tuple[Row, ...]:
    """The rows to be shown: of the screen, or of the scrollback too; empty ones at the end are left out.

    ``last``: only so many, from the end.
    """
    rows: tuple[Row, ...] = terminal.grid.rows
    if scrollback:
        behind = terminal.main.rows if terminal.alternate is not None else ()
        rows = (*terminal.main.history, *behind, *rows)
    end = len(rows)
    while end and not rows[end - 1].runs:
        end -= 1
    return rows[:end] if last is None else rows[max(end - last, 0) : end]


def text(rows: Sequence[Row]) -> str:
    """Plain text, a line for each row."""
    return "".join(f"{row.text.rstrip()}\n" for row in rows)


def ansi(rows: Sequence[Row]) -> str:
    """Text with colours, attributes and links, for `cat` and `less -R`: nothing in it moves the cursor."""
    out: list[bytes] = []
    for row in rows:
        style, link = PLAIN, None
        for run in row.runs:
            if run.style != style:
                out.append(sgr.style(run.style))
            if run.link != link:
                out.append(sgr.link(run.link))
            style, link = run.style, run.link
            out.append((run.text or " " * run.cells).encode("utf-8", "replace"))
        if link is not None:
            out.append(sgr.link(None))
        if style != PLAIN:
            out.append(sgr.style(PLAIN))
        out.append(b"\n")
    return b"".join(out).decode()


def as_json(terminal: Terminal, rows: Sequence[Row]) -> str:
    """One object: the rows with how they look, and what else is known of the terminal."""
    cursor = terminal.grid.cursor
    found = {
        "rows": terminal.size.rows,
        "cols": terminal.size.cols,
        "title": terminal.title.decode("utf-8", "replace"),
        "cwd": terminal.cwd.decode("utf-8", "replace"),
        "alternate_screen": terminal.alternate is not None,
        "cursor": {"row": cursor.y, "col": cursor.x, "visible": terminal.modes.get(25, True)},
        "modes": sorted(mode for mode, on in terminal.modes.items() if on and mode > 0),
        "lines": [_line(row) for row in rows],
    }
    return json.dumps(found, ensure_ascii=False) + "\n"


def _line(row: Row) -> dict[str, Any]:
    return {
        "text": row.text.rstrip(),
        "wraps": row.wraps,
        "runs": [_run(run) for run in row.runs],
    }


def _run(run: Run) -> dict[str, Any]:
    """Only what is not as usual, besides the text."""
    style = run.style
    found: dict[str, Any] = {"text": run.text or " " * run.cells, "cells": run.cells}
    for name, colour in (("fg", style.fg), ("bg", style.bg), ("underline_colour", style.underline_colour)):
        if colour is not None:
            found[name] = _colour(colour)
    for attribute in Attribute:
        if style.attributes & attribute and attribute.name:
            found[attribute.name.lower()] = True
    if style.underline:
        found["underline"] = _UNDERLINES[style.underline]
    if run.link is not None:
        found["link"] = uri(run.link)
    return found


def _colour(colour: Colour) -> int | str | None:
    return "#{:02x}{:02x}{:02x}".format(*colour) if isinstance(colour, tuple) else colour


def uri(link: Link) -> str:
    """Where a link leads."""
    return link.uri.decode("utf-8", "replace")
