"""Two terminals compared as people and programs would: cell by cell, cursor, settings.

Left out of it is what nobody sees and nothing depends on, each with its reason here, so that a test that fails
means a difference.
"""

from __future__ import annotations

from typing import Any

from toowld.classes import fields
from toowld.screen.model import Model
from toowld.screen.render import MOUSE, MOUSE_FORMATS, render
from toowld.screen.state import CharacterSets, Cursor, Grid, Link, Row, Style, Terminal
from toowld.wire.messages import Size

Cell = tuple[str, Any]


def hop(terminal: Terminal, size: Size | None = None) -> Model:
    """A second terminal that was painted with the first one's state, on top of what a user had there."""
    model = Model(size or terminal.size)
    model.feed(b"user@host:~$ echo earlier\r\nearlier\r\nuser@host:~$ toowl attach work\r\n")
    model.feed(render(terminal, size))
    return model


def differences(one: Terminal, other: Terminal, *, wraps: bool = False) -> list[str]:
    """What is not the same. ``wraps``: also where a line goes on in the next row."""
    found = []
    for field in fields(Terminal):
        if field.name in ("main", "alternate"):
            continue
        left, right = getattr(one, field.name), getattr(other, field.name)
        if field.name == "modes":
            left, right = _modes(one), _modes(other)
        if left != right:
            found.append(f"{field.name}: {left!r} != {right!r}")
    if (one.alternate is None) != (other.alternate is None):
        return [*found, f"alternate: {one.alternate is not None} != {other.alternate is not None}"]
    found += _grid("main", one.main, other.main, wraps, shown=one.alternate is None)
    if one.alternate is not None and other.alternate is not None:
        found += _grid("alternate", one.alternate, other.alternate, wraps, shown=True)
    return found


def _modes(terminal: Terminal) -> dict[int, bool]:
    """Without those of which only one counts: which that is, is compared by itself."""
    # Blinking belongs to the shape of the cursor, where the program chose one.
    alternatives = (*MOUSE, *MOUSE_FORMATS, *((12,) if terminal.cursor_shape else ()))
    return {mode: on for mode, on in terminal.modes.items() if mode not in alternatives}


def _grid(name: str, one: Grid, other: Grid, wraps: bool, *, shown: bool) -> list[str]:
    found = []
    # What the user's terminal had before stands above.
    older = other.history[len(other.history) - len(one.history) :]
    for part, left_rows, right_rows in (("row", one.rows, other.rows), ("history", one.history, older)):
        if len(left_rows) != len(right_rows):
            found.append(f"{name} {part}: {len(left_rows)} != {len(right_rows)} of them")
        for y, (left, right) in enumerate(zip(left_rows, right_rows, strict=False)):
            if cells(left) != cells(right):
                found.append(f"{name} {part} {y}: {cells(left)!r} != {cells(right)!r}")
            elif wraps and left.wraps != right.wraps:
                found.append(f"{name} {part} {y} wraps: {left.wraps} != {right.wraps}")
    for what, mine, theirs in (
        ("cursor", _cursor(one, one.cursor, shown), _cursor(other, other.cursor, shown)),
        ("saved", one.saved and _cursor(one, one.saved), other.saved and _cursor(other, other.saved)),
        ("keyboard", one.keyboard, other.keyboard),
    ):
        if mine != theirs:
            found.append(f"{name} {what}: {mine!r} != {theirs!r}")
    return found


def cells(row: Row) -> list[Cell]:
    """Each cell with how it looks; without the empty ones at the end."""
    found: list[Cell] = []
    for run in row.runs:
        if not run.text:
            # What a cell that shows nothing would look like if it did.
            found += [("", Style(bg=run.style.bg))] * run.cells
        elif len(run.text) == run.cells:
            found += [(char, (run.style, _link(run.link), run.protected)) for char in run.text]
        else:
            found += [(run.text, (run.style, _link(run.link), run.protected))] + [("", None)] * (
                run.cells - 1
            )
    while found and found[-1] == ("", Style()):
        found.pop()
    return found


def _link(link: Link | None) -> Link | None:
    """Links without an id are numbered by each terminal for itself."""
    return link and link._replace(implicit=0)


def _cursor(grid: Grid, cursor: Cursor, shown: bool = False) -> Cursor:
    # "No set" and ASCII are the same set. Waiting behind a cell that was erased since can't be brought about. A
    # shift of the one next character is not something that anybody saves.
    g0_to_g3, left, right, single = cursor.charsets
    g0, g1, g2, g3 = (0 if chosen == 1 else chosen for chosen in g0_to_g3)
    sets = CharacterSets((g0, g1, g2, g3), left, right, single if shown and cursor is grid.cursor else 0)
    blank = cursor.pending_wrap and _blank_at(grid.rows[cursor.y], cursor.x)
    return cursor._replace(
        link=_link(cursor.link), charsets=sets, pending_wrap=cursor.pending_wrap and not blank
    )


def waits_behind_nothing(terminal: Terminal) -> bool:
    """The cursor waits behind the last cell of a line for the next character, and that cell was erased since."""
    cursor = terminal.grid.cursor
    return cursor.pending_wrap and _blank_at(terminal.grid.rows[cursor.y], cursor.x)


def _blank_at(row: Row, column: int) -> bool:
    found = cells(row)
    return column >= len(found) or (not found[column][0] and found[column][1] is not None)
