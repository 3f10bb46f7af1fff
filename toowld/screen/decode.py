"""The library's snapshots, read. PURE.

libghostty-vt tells by its functions only what is visible now. Its snapshot has everything: the main screen behind the
alternate one, the saved cursors, tab stops, margins, character sets, stacks of keyboard flags, the scrollback. So
that is what we read, in one pass, instead of asking for each cell.

The format (version 1; described in the library's sources, ``src/terminal/snapshot``): a magic and a version, then
records of tag, length, CRC and payload. TERMINAL, for each screen a SCREEN and its PAGEs, CONTINUATION, READY, for
each screen a HISTORY and its PAGEs (newest first), FINISH. Little-endian throughout. The CRC is not looked at here:
what was on a disk has one of ours around it, and the rest comes from the library in the same process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from toowld.errors import ScreenError
from toowld.screen.pages import link, page, string, style
from toowld.screen.state import CharacterSets, Cursor, Grid, Margins, Row, Terminal
from toowld.wire.messages import Size

_MAGIC = b"GHOSTSNP"
_VERSION = 1
_TERMINAL, _SCREEN, _PAGE, _HISTORY, _CONTINUATION = 1, 2, 3, 4, 7
_ALTERNATE = 1

_HEADER = struct.Struct("<HII")
_TERMINAL_HEAD = struct.Struct("<HHII4HBHHI10BQQQ8s8s8sQQ")
_SCREEN_HEAD = struct.Struct("<HHQHHBB16sIHBB8sBBB")
_SAVED = struct.Struct("<HH16sBH")

#: The bits of the three words of modes: which mode each is. Negative: an ANSI mode. None: which screen is shown, what
#: changes the width of the screen, and what no terminal has switchable.
MODE_BITS: tuple[int | None, ...] = (
    -2, -4, -12, -20,
    1, None, 4, 5, 6, 7, 8, 9, 12, 25, None, 45, None, 66, 67, 69,
    1000, 1002, 1003, 1004, 1005, 1006, 1007, 1015, 1016,
    1035, 1036, 1039, 1045, None, None, None,
    2004, 2026, 2027, 2031, 2033, 2048, 5522,
)  # fmt: skip
_MOUSE = (0, 9, 1000, 1002, 1003)
_MOUSE_FORMAT = (0, 1005, 1006, 1015, 1016)
#: Bar, block, underline, hollow block: as DECSCUSR numbers their steady form.
_SHAPES = (6, 2, 4, 2)


def decode(snapshot: bytes, *, history: int) -> Terminal:
    """The state that a snapshot of the library holds.

    Args:
        history: of the scrollback, so many lines at most, the newest.

    Raises:
        ScreenError: it is not whole, or of another version.
    """
    try:
        return _decode(snapshot, history)
    except (struct.error, IndexError, KeyError, ValueError, StopIteration) as error:
        raise ScreenError(f"this is no snapshot of a terminal: {error}") from error


def _decode(snapshot: bytes, lines: int) -> Terminal:
    if snapshot[:8] != _MAGIC or int.from_bytes(snapshot[8:10], "little") != _VERSION:
        raise ScreenError("this is no snapshot of a terminal that we know the form of")
    records = _records(snapshot)
    tag, head = next(records)
    if tag != _TERMINAL:
        raise ScreenError("a snapshot has to begin with the terminal")
    rows, alternate_shown = struct.unpack_from("<H", head, 2)[0], struct.unpack_from("<H", head, 21)[0]
    screens: dict[int, bytes] = {}
    pages: dict[int, list[Row]] = {}
    older: dict[int, list[list[Row]]] = {}
    key = 0
    past = False
    lacking = 0
    unfinished = b""
    for tag, payload in records:
        if tag == _SCREEN:
            key = int.from_bytes(payload[:2], "little")
            screens[key] = bytes(payload)
            pages[key] = []
        elif tag == _HISTORY:
            key = int.from_bytes(payload[:2], "little")
            # The first page of a screen may begin with some rows of its scrollback.
            older[key] = [pages[key][:-rows]]
            lacking = lines - len(older[key][0])
            past = True
        elif tag == _CONTINUATION:
            unfinished = bytes(payload)
        elif tag == _PAGE and not past:
            pages[key] += page(payload)
        elif tag == _PAGE and lacking > 0:
            older[key].append(page(payload))
            lacking -= len(older[key][-1])
    grids = {}
    for key, screen in screens.items():
        parts = older.get(key) or [pages[key][:-rows]]
        history = [row for part in reversed(parts) for row in part]
        grids[key] = _screen(screen, pages[key][-rows:], history[max(len(history) - lines, 0) :])
    return _terminal(head, grids[0], grids[_ALTERNATE] if alternate_shown else None, unfinished)


def _records(snapshot: bytes) -> Iterator[tuple[int, memoryview]]:
    view = memoryview(snapshot)
    at = 10
    while at < len(view):
        tag, length, _ = _HEADER.unpack_from(view, at)
        at += _HEADER.size
        if at + length > len(view):
            raise ScreenError("this snapshot is cut off")
        yield tag, view[at : at + length]
        at += length


# -- the terminal -----------------------------------------------------------------------------------------


def _terminal(data: memoryview, main: Grid, alternate: Grid | None, unfinished: bytes) -> Terminal:
    (
        cols, rows, _, _, top, bottom, left, right, _, _, _, _,
        own_cursor, _, _, _, other_keys, mouse, mouse_format, _, _, _,
        current, _, default, background, foreground, cursor_colour, _, _,
    ) = _TERMINAL_HEAD.unpack_from(data)  # fmt: skip
    at = _TERMINAL_HEAD.size
    tab_bytes = (cols + 7) // 8
    stops = int.from_bytes(data[at : at + tab_bytes], "little")
    at += tab_bytes + 256 * 3
    mask = int.from_bytes(data[at : at + 32], "little")
    at += 32
    palette = {}
    for index in range(256):
        if mask >> index & 1:
            palette[index] = (data[at], data[at + 1], data[at + 2])
            at += 3
    cwd, at = string(data, at)
    title, at = string(data, at)
    blinks = bool(current >> MODE_BITS.index(12) & 1)
    return Terminal(
        size=Size(rows=rows, cols=cols),
        main=main,
        alternate=alternate,
        margins=Margins(top, bottom, left, right),
        tabs=tuple(column for column in range(cols) if stops >> column & 1),
        modes={
            mode: bool(current >> bit & 1)
            for bit, mode in enumerate(MODE_BITS)
            if mode is not None and (current ^ default) >> bit & 1
        },
        mouse=_MOUSE[mouse],
        mouse_format=_MOUSE_FORMAT[mouse_format],
        modify_other_keys=bool(other_keys),
        cursor_shape=0 if own_cursor else (alternate or main).shape - blinks,
        colours={
            number: (spec[5], spec[6], spec[7])
            for number, spec in ((10, foreground), (11, background), (12, cursor_colour))
            if spec[4]
        },
        palette=palette,
        title=title,
        cwd=cwd,
        unfinished=unfinished,
    )


# -- a screen ---------------------------------------------------------------------------------------------


def _screen(data: bytes, rows: list[Row], history: list[Row]) -> Grid:
    (
        _, _, _, x, y, shape, flags, pen, _, charsets, protection, depth, keyboard, _, _, saved_present,
    ) = _SCREEN_HEAD.unpack_from(data)  # fmt: skip
    at = _SCREEN_HEAD.size
    saved = None
    if saved_present:
        saved_x, saved_y, saved_pen, saved_flags, saved_charsets = _SAVED.unpack_from(data, at)
        at += _SAVED.size
        saved = Cursor(
            saved_x,
            saved_y,
            pending_wrap=bool(saved_flags & 2),
            style=style(saved_pen),
            protected=bool(saved_flags & 1),
            charsets=_charsets(saved_charsets),
            origin=bool(saved_flags & 4),
        )
    cursor = Cursor(
        x,
        y,
        pending_wrap=bool(flags & 1),
        style=style(pen),
        protected=bool(flags & 2),
        charsets=_charsets(charsets),
        link=link(memoryview(data), at)[0],
    )
    return Grid(
        tuple(rows),
        cursor,
        saved,
        tuple(history),
        keyboard=tuple(keyboard[: depth + 1]),
        protection=protection,
        shape=_SHAPES[shape],
    )


def _charsets(raw: int) -> CharacterSets:
    return CharacterSets(
        (raw & 3, raw >> 2 & 3, raw >> 4 & 3, raw >> 6 & 3), raw >> 8 & 3, raw >> 10 & 3, raw >> 12 & 7
    )
