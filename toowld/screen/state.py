"""What a terminal shows and is set to, as plain values. PURE.

Made from a model's snapshot (`decode`), turned into bytes for a real terminal (`render`) or into a picture. Knows
nothing of the library that computes it.

A row is kept as runs of cells that look alike, because that is how it is written, and because ten thousand rows of
scrollback as single cells would take seconds.
"""

from __future__ import annotations

import enum
from typing import NamedTuple

from toowld.classes import field, frozen
from toowld.wire.messages import Size

#: A number of the palette, or red, green, blue; None: the terminal's own.
Colour = int | tuple[int, int, int] | None


class Attribute(enum.IntFlag):
    """How text looks besides its colours. The kind of underline is `Style.underline`."""

    BOLD = 1
    ITALIC = 2
    FAINT = 4
    BLINK = 8
    INVERSE = 16
    INVISIBLE = 32
    STRIKETHROUGH = 64
    OVERLINE = 128


class Style(NamedTuple):
    """Colours and attributes. ``underline``: 0 none, 1 single, 2 double, 3 curly, 4 dotted, 5 dashed."""

    fg: Colour = None
    bg: Colour = None
    underline_colour: Colour = None
    attributes: int = 0
    underline: int = 0


PLAIN = Style()


class Link(NamedTuple):
    """A hyperlink (OSC 8). ``id``: empty where the program gave none; then ``implicit`` tells its links apart."""

    uri: bytes
    id: bytes = b""
    implicit: int = 0


class Run(NamedTuple):
    """Cells that look alike, beside each other.

    ``text`` has either one character for each of ``cells``, or is a single one that takes them all (wide, or with
    combining characters), or is empty: then nothing was ever printed there, or it was erased.
    """

    text: str
    cells: int
    style: Style = PLAIN
    link: Link | None = None
    protected: bool = False


class Row(NamedTuple):
    """One row; cells behind the last run are empty.

    ``wraps``: the line goes on in the next row. ``head``: because the wide character that came did not fit here.
    """

    runs: tuple[Run, ...] = ()
    wraps: bool = False
    head: bool = False

    @property
    def text(self) -> str:
        """What can be read in it."""
        return "".join(run.text or " " * run.cells for run in self.runs)


class CharacterSets(NamedTuple):
    """G0 to G3 (0 and 1: none, 2 British, 3 line drawing), and which of them is used."""

    sets: tuple[int, int, int, int] = (0, 0, 0, 0)
    left: int = 0
    right: int = 2
    single_shift: int = 0  #: 0: none, else the number of the set plus one


class Cursor(NamedTuple):
    """Where the next character goes, and how it will look. Both from 0."""

    x: int = 0
    y: int = 0
    pending_wrap: bool = False
    style: Style = PLAIN
    protected: bool = False
    charsets: CharacterSets = CharacterSets()
    origin: bool = False  #: of a saved cursor only
    link: Link | None = None  #: of the current cursor only


@frozen
class Grid:
    """The main screen, or the alternate one."""

    rows: tuple[Row, ...]
    cursor: Cursor
    saved: Cursor | None = None
    history: tuple[Row, ...] = ()  #: scrollback, oldest first
    keyboard: tuple[int, ...] = (0,)  #: the stack of keyboard flags (kitty), the last one counts
    protection: int = 0  #: which kind was used last: 0 none, 1 ISO, 2 DEC
    shape: int = 2  #: of the cursor, as DECSCUSR numbers its steady form


@frozen
class Margins:
    """The part of the screen that scrolls, from 0, both ends included."""

    top: int
    bottom: int
    left: int
    right: int


@frozen
class Terminal:
    """All of it.

    ``modes`` are the DEC private modes (ANSI modes as negative numbers) that are not as in a fresh terminal, with
    what they are. ``mouse`` and ``mouse_format``: of the modes that are set, the one that counts; 0: none.
    ``cursor_shape``: as DECSCUSR says it; 0: the terminal's own. ``unfinished``: the beginning of a sequence
    whose rest is to come.
    """

    size: Size
    main: Grid
    alternate: Grid | None  #: the screen that is shown, if it is this one
    margins: Margins
    tabs: tuple[int, ...]
    modes: dict[int, bool] = field(factory=dict)
    mouse: int = 0
    mouse_format: int = 0
    modify_other_keys: bool = False
    cursor_shape: int = 0
    colours: dict[int, tuple[int, int, int]] = field(factory=dict)  #: 10 text, 11 background, 12 cursor
    palette: dict[int, tuple[int, int, int]] = field(factory=dict)
    title: bytes = b""
    cwd: bytes = b""
    unfinished: bytes = b""

    @property
    def grid(self) -> Grid:
        """The screen that is shown."""
        return self.main if self.alternate is None else self.alternate

    def mode(self, number: int) -> bool:
        """Whether a mode is on that is off in a fresh terminal."""
        return self.modes.get(number, False)
