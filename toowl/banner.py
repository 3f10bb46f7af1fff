r"""One line of ours on the bottom line of somebody else's screen, and away again. PURE.

While a session can't be reached its last screen stays, and this line says so. It must leave no trace. What stands
on the bottom line can't be read back from a terminal, so on the normal screen room is made first: IND and RI
(down and up again) scroll the screen by one line if the cursor is on the last one, and do nothing otherwise. Below
the cursor of a shell nothing stands, so the line that is written and erased later is an empty one. A program on the
alternate screen owns every line; it is asked to draw itself again afterwards. With scroll margins IND and RI
don't cancel out, so there the bottom line is taken as it is.

The cursor, colours, charset and origin mode are saved (DECSC) and restored (DECRC). The text is short of the right
margin, so that nothing wraps.
"""

from __future__ import annotations

_SAVE = b"\x1b7"
_RESTORE = b"\x1b8"
_MAKE_ROOM = b"\x1bD\x1bM"
#: No origin mode, ASCII, plain: then down to the last line and clear it.
_BOTTOM = b"\x1b[?6l\x1b(B\x0f\x1b[m\x1b[9999H\x1b[2K"


def text(what: str, pending: int, refused: int, cols: int) -> str:
    """What is wrong, and what became of what was typed."""
    parts = [what]
    if pending:
        parts.append(f"{byte_count(pending)} typed, not delivered yet")
    if refused:
        parts.append(f"{byte_count(refused)} REFUSED: too much")
    parts.append("Ctrl-\\ d: leave")
    line = f"[{'; '.join(parts)}]"
    return line if len(line) < cols - 1 else line[: max(cols - 2, 0)]


def byte_count(count: int) -> str:
    """A number of bytes in words."""
    return "1 byte" if count == 1 else f"{count} bytes"


def draw(line: str, *, make_room: bool) -> bytes:
    """Show ``line``, or show it in place of the one before."""
    return (
        (_MAKE_ROOM if make_room else b"")
        + _SAVE
        + _BOTTOM
        + b"\x1b[7m"
        + line.encode(errors="replace")
        + _RESTORE
    )


def erase() -> bytes:
    """Take the line away."""
    return _SAVE + _BOTTOM + _RESTORE
