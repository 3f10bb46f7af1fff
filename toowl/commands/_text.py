"""Text for people: safe to print, aligned, as wide as the terminal. PURE.

Names, folders and command lines come from whoever made the session, so they may hold anything: escape
sequences, newlines, right-to-left overrides. Nothing reaches a terminal from here that is not printable.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_ELLIPSIS = "…"
_GAP = "  "


def safe(text: str | bytes) -> str:
    """``text`` with everything that is not printable shown as an escape (``\\x1b``).

    Bytes are text that is not UTF-8 (`toowld.wire.text`).
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    if text.isprintable():  # of the whole, in C: the rule for nearly all
        return text
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8 (PEP 383)
        code -= 0xDC00
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}.get(char)
    if named is not None:
        return named
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def width(text: str) -> int:
    """How many cells printable text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(map(_char_width, text))


#: Of characters that were asked for; functools has a cache, and takes longer to import than a list takes.
_char_widths: dict[str, int] = {}


def _char_width(char: str) -> int:
    if char < "\u0300":  # below the first combining character nothing is wide or empty
        return 1
    if char not in _char_widths:
        from unicodedata import category, east_asian_width

        empty, wide = category(char) in ("Mn", "Me"), east_asian_width(char) in ("W", "F")
        _char_widths[char] = 0 if empty else 2 if wide else 1
    return _char_widths[char]


def shorten(text: str, room: int, *, keep_end: bool = False) -> str:
    """``text`` in at most ``room`` cells, with an ellipsis where something was left out."""
    if width(text) <= room:
        return text
    if room <= 1:
        return _ELLIPSIS[:room]
    if text.isascii():
        return _ELLIPSIS + text[1 - room :] if keep_end else text[: room - 1] + _ELLIPSIS
    kept, used = [], 1
    for char in reversed(text) if keep_end else text:
        used += _char_width(char)
        if used > room:
            break
        kept.append(char)
    if keep_end:
        # A combining character must not stand on the ellipsis.
        while kept and _char_width(kept[-1]) == 0:
            kept.pop()
        return _ELLIPSIS + "".join(reversed(kept))
    return "".join(kept) + _ELLIPSIS


def age(seconds: float) -> str:
    """A duration in one number: ``3s``, ``5m``, ``2h``, ``4d``. A clock that was set back makes ``0s``."""
    whole = max(0, int(seconds))
    for limit, unit, letter in ((60, 1, "s"), (3600, 60, "m"), (86400, 3600, "h")):
        if whole < limit:
            return f"{whole // unit}{letter}"
    return f"{whole // 86400}d"


def size(count: float) -> str:
    """A number of bytes as people say it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024 or unit == "GiB":
            break
        count /= 1024
    return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"


def fold_home(path: str, home: str) -> str:
    """``path`` with ``~`` for the home folder."""
    home = home.rstrip("/")
    if home and (path == home or path.startswith(home + "/")):
        return "~" + path[len(home) :]
    return path


#: How far a column may be shortened to make a table fit.
_NARROWEST = 8


def table(
    rows: Sequence[Sequence[str]],
    room: int | None,
    *,
    shrink: Sequence[int] = (),
    keep_end: Sequence[int] = (),
) -> list[str]:
    """Lines with aligned columns.

    Args:
        rows: the cells; safe text only.
        room: cells per line; None for as many as it takes.
        shrink: columns that may be shortened to fit, those to be shortened first at the front.
        keep_end: columns of which the end says more than the beginning.
    """
    columns = len(rows[0])
    widths = [_widest(column) for column in zip(*rows, strict=True)]
    if room is not None:
        excess = sum(widths) + len(_GAP) * (columns - 1) - room
        for column in shrink:
            if excess <= 0:
                break
            least = min(widths[column], max(_NARROWEST, width(rows[0][column])))
            cut = min(excess, widths[column] - least)
            widths[column] -= cut
            excess -= cut
    ends = [column in keep_end for column in range(columns)]
    whole = sum(widths) + len(_GAP) * (columns - 1)
    aligned = _GAP.join(f"%-{cells}s" for cells in widths)
    lines = []
    for row in rows:
        line = aligned % tuple(row)  # what most need, seven times as fast as the rest
        if len(line) != whole or not line.isascii():
            line = _GAP.join(map(_cell, row, widths, ends))
        line = line.rstrip()
        # The columns that may not shrink can still be too wide for a tiny terminal.
        lines.append(line if room is None or whole <= room else shorten(line, room))
    return lines


def _widest(column: Sequence[str]) -> int:
    """Cells of the widest text."""
    if "".join(column).isascii():
        return max(map(len, column))
    return max(map(width, set(column)))  # of those that are not ASCII, most are one of a few states


def _cell(text: str, room: int, keep_end: bool) -> str:
    """``text`` in exactly ``room`` cells."""
    if text.isascii() and len(text) <= room:
        return text.ljust(room)
    short = shorten(text, room, keep_end=keep_end)
    return short + " " * (room - width(short))
