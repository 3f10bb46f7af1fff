"""The rows in the library's snapshots: tables of styles and links, and cells in words of 1, 2, 4 or 8 bytes. PURE.

Ten thousand rows are read for one attach, so rows of plain text (one or two bytes for each cell: nothing but
characters) are decoded as a whole, and of the others only cells that begin to look different cost something.
"""

from __future__ import annotations

import functools
import re
import struct
from itertools import groupby

from toowld.screen.state import PLAIN, Colour, Link, Row, Run, Style

_HEAD = struct.Struct("<HHHHHHII")
_ROW = struct.Struct("<BH")
_SUFFIX = struct.Struct("<HHH")
_STYLE = struct.Struct("<12BHH")

# A cell: kind 2 bits, content 24, style 16, width 2, protected 1, linked 1, meaning 2, link 16.
_STYLE_SHIFT, _WIDTH_SHIFT, _LINK_SHIFT = 26, 42, 48
_PROTECTED = 1 << 44
_CONTENT = (1 << _STYLE_SHIFT) - 1
#: What makes cells look alike: neither what is in them, nor whether that is a prompt.
_LOOK = ~(_CONTENT | 7 << 45) & (1 << 64) - 1
_GRAPHEME, _PALETTE, _RGB = 1, 2, 3
_WIDE, _TAIL, _HEAD_SPACER = 1, 2, 3

_CELLS = re.compile("\0+|[^\0]+")
#: Words that are the same, by their size in bits.
_SAME = {bits: re.compile(rb"(?s)(.{%d})\1*" % (bits >> 3)) for bits in (32, 64)}

_Tables = tuple[dict[int, Style], dict[int, Link]]


def page(data: memoryview) -> list[Row]:
    """The rows of a PAGE."""
    _, row_count, style_count, link_count, *_ = _HEAD.unpack_from(data)
    at = _HEAD.size
    styles: dict[int, Style] = {0: PLAIN}
    for _ in range(style_count):
        styles[int.from_bytes(data[at : at + 2], "little")] = style(data[at + 2 : at + 18])
        at += 18
    links: dict[int, Link] = {}
    for _ in range(link_count):
        number = int.from_bytes(data[at : at + 2], "little")
        found, at = link(data, at + 2)
        if found is not None:
            links[number] = found
    rows = []
    for _ in range(row_count):
        flags, count = _ROW.unpack_from(data, at)
        rows.append((flags, count, at + _ROW.size))
        at += _ROW.size + (count << (flags >> 4 & 3))
    suffixes = _suffixes(data, at)
    return [
        _row(data, flags, count, at, (styles, links), suffixes.get(number, {}))
        for number, (flags, count, at) in enumerate(rows)
    ]


def _suffixes(data: memoryview, at: int) -> dict[int, dict[int, str]]:
    """What is combined with the character in a cell: row, column, characters."""
    found: dict[int, dict[int, str]] = {}
    (entries,) = struct.unpack_from("<I", data, at)
    at += 4
    for _ in range(entries):
        row, column, count = _SUFFIX.unpack_from(data, at)
        at += _SUFFIX.size
        found.setdefault(row, {})[column] = str(data[at : at + 4 * count], "utf-32-le")
        at += 4 * count
    return found


def _row(data: memoryview, flags: int, count: int, at: int, tables: _Tables, suffixes: dict[int, str]) -> Row:
    width = flags >> 4 & 3
    cells = data[at : at + (count << width)]
    if width < 2:
        text = str(cells, ("latin-1", "utf-16-le")[width])
        if text and "\0" not in text:  # nearly all
            return Row((Run(text, len(text)),), wraps=bool(flags & 1))
        runs = tuple(Run("" if run[0] == "\0" else run, len(run)) for run in _CELLS.findall(text))
        return Row(runs, wraps=bool(flags & 1))
    found = _alike(int.from_bytes(cells, "little"), count, 8 << width, tables)
    if found is not None:
        return Row(found, wraps=bool(flags & 1))
    words = struct.unpack(f"<{count}{'IQ'[width - 2]}", cells)
    head = bool(count) and words[-1] >> _WIDTH_SHIFT & 3 == _HEAD_SPACER
    runs = tuple(_runs(words[: count - head], tables, suffixes))
    return Row(runs, wraps=bool(flags & 1), head=head)


def _alike(cells: int, count: int, bits: int, tables: _Tables) -> tuple[Run, ...] | None:
    """The runs of a row that has only plain characters, all of it by a few operations on one large number.

    None: there are cells of another kind in it. ``cells`` has a word of so many ``bits`` for each.
    """
    kinds, contents, look_bits = _masks(count, bits)
    if cells & kinds:
        return None
    size = bits >> 3
    text = (cells >> 2 & contents).to_bytes(count * size, "little").decode("utf-32-le")
    if bits == 64:
        text = text[::2]
    looks = (cells & look_bits).to_bytes(count * size, "little")
    styles, links = tables
    runs: list[Run] = []
    for same in _SAME[bits].finditer(looks):
        look = int.from_bytes(same[1], "little")
        width = look >> _WIDTH_SHIFT & 3
        if width == _TAIL:
            continue
        if width == _HEAD_SPACER:
            return None
        style = styles.get(look >> _STYLE_SHIFT & 0xFFFF, PLAIN)
        linked, protected = links.get(look >> _LINK_SHIFT), bool(look & _PROTECTED)
        part = text[same.start() // size : same.end() // size]
        if width == _WIDE:
            runs.append(Run(part, 2, style, linked, protected))
        elif "\0" not in part:
            runs.append(Run(part, len(part), style, linked, protected))
        else:
            for run in _CELLS.findall(part):
                runs.append(Run("" if run[0] == "\0" else run, len(run), style, linked, protected))
    return tuple(runs)


@functools.lru_cache(maxsize=1024)
def _masks(count: int, bits: int) -> tuple[int, int, int]:
    """Of so many words: their kinds, their contents (shifted to the end of each), what they look like."""
    lanes = int.from_bytes((1).to_bytes(bits >> 3, "little") * count, "little")
    return 3 * lanes, 0xFFFFFF * lanes, (_LOOK & (1 << bits) - 1) * lanes


def _sort(cell: tuple[int, int]) -> tuple[int, int]:
    """What cells have in common that can be one run. What a cell needs a run of its own for, is its column."""
    column, word = cell
    kind = word & 3
    if kind >= _PALETTE:
        return -2, word & ~(7 << 45)
    if not word & _CONTENT:
        return -3, word & _LOOK
    alone = kind == _GRAPHEME or word >> _WIDTH_SHIFT & 3
    return column if alone else -1, word & _LOOK


def _runs(words: tuple[int, ...], tables: _Tables, suffixes: dict[int, str]) -> list[Run]:
    runs = []
    styles, links = tables
    for _, group in groupby(enumerate(words), _sort):
        cells = list(group)
        column, first = cells[0]
        width = first >> _WIDTH_SHIFT & 3
        if width == _TAIL:
            continue  # the second half of a wide one
        look = styles.get(first >> _STYLE_SHIFT & 0xFFFF, PLAIN)
        content = first >> 2 & 0xFFFFFF
        count = len(cells)
        text = ""
        if first & 3 == _PALETTE:
            look = Style(bg=content & 0xFF)
        elif first & 3 == _RGB:
            look = Style(bg=(content & 0xFF, content >> 8 & 0xFF, content >> 16))
        elif content:
            text = "".join(chr(word >> 2 & 0xFFFFFF) for _, word in cells)
            if first & 3 == _GRAPHEME:
                text += suffixes.get(column, "")
            count = 2 if width == _WIDE else count
        linked = links.get(first >> _LINK_SHIFT)
        runs.append(Run(text, count, look, linked, bool(first & _PROTECTED)))
    return runs


def style(data: bytes | memoryview) -> Style:
    """Three colours of kind and three bytes, then the flags."""
    fields = _STYLE.unpack(data)
    flags = fields[12]
    return Style(
        _colour(fields[0:4]), _colour(fields[4:8]), _colour(fields[8:12]), flags & 0xFF, flags >> 8 & 7
    )


def _colour(fields: tuple[int, ...]) -> Colour:
    kind, first, second, third = fields
    return None if kind == 0 else first if kind == 1 else (first, second, third)


def link(data: memoryview, at: int) -> tuple[Link | None, int]:
    """A hyperlink at ``at``, and where it ends."""
    kind = data[at]
    at += 1
    if kind == 0:
        return None, at
    if kind == 1:
        (implicit,) = struct.unpack_from("<I", data, at)
        uri, at = string(data, at + 4)
        return Link(uri, implicit=implicit + 1), at
    identity, at = string(data, at)
    uri, at = string(data, at)
    return Link(uri, identity), at


def string(data: memoryview, at: int) -> tuple[bytes, int]:
    """Length and bytes at ``at``, and where they end."""
    (length,) = struct.unpack_from("<I", data, at)
    return bytes(data[at + 4 : at + 4 + length]), at + 4 + length
