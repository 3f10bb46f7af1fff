r"""Output as plain lines, for ``toowl capture`` and searches. PURE.

Not a terminal: escape sequences are removed, and of a line only what stays in that line is followed (``\r``,
backspace, tab, erasing, moving left and right), which is what shells, prompts and progress bars do. What a
full-screen program draws on the alternate screen is left out once the program has left it, as it is
from the scrollback of any terminal.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Iterable, Iterator

_TOKEN = re.compile(
    r"(?P<text>[^\x00-\x1f\x7f-\x9f]+)"
    r"|(?P<control>[\x00-\x1a\x1c-\x1f\x7f-\x9f])"
    r"|\x1b\[(?P<params>[0-?]*)[ -/]*(?P<final>[@-~])"
    r"|\x1b(?P<string>[\]PX^_])"
    r"|\x1b[ -/]*(?P<simple>[0-Z\\`-~])"
    r"|(?P<partial>\x1b(?:\[[0-?]*[ -/]*|[ -/]*)\Z)"
    r"|(?P<broken>\x1b(?:\[[0-?]*[ -/]*)?)"
)

#: A whole line in which nothing happens but colours: the most of all output, worth a short cut.
_PLAIN_LINE = re.compile(r"((?:[^\x00-\x1f\x7f-\x9f]++|\x1b\[[0-9;:]*+m)*+)\r*+\n")
_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")

#: What ends a string (OSC, DCS, …). A newline ends only an OSC: none has one, and where binary data happened to look
#: like one, the rest of the scrollback must not be swallowed with it.
_END_OF_OSC = re.compile(r"\x07|\x1b\\|\x9c|[\x18\x1a\n]")
_END_OF_STRING = re.compile(r"\x07|\x1b\\|\x9c|[\x18\x1a]")

_ALTERNATE = {"?47", "?1047", "?1049"}

_TAB = 8

#: A longer "line" is binary data or an endless progress bar; it is broken here, so that memory stays bounded.
_LONGEST_LINE = 1 << 20

#: No cursor is moved further: a terminal clamps to its width.
_FARTHEST = 0xFFFF


class TextLines:
    """Takes output in any pieces, gives finished lines without their newline and trailing spaces.

    Args:
        cols: the terminal's width, if known: then a carriage return goes back to the beginning of the row
            on the screen, not of the whole line, which matters when a long command was edited.
        keep_alternate: keep what is on the alternate screen until it is known whether the program leaves it.
            Without, it is left out at once, and needs no memory, however long the program runs.
    """

    def __init__(self, cols: int | None = None, *, keep_alternate: bool = True) -> None:
        self._cols = cols
        self._keeping = keep_alternate
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""
        self._string_end: re.Pattern[str] | None = None
        self._cells: list[str] = []
        self._at = 0
        self._row = 0  # where the row on the screen begins that the cursor is in
        self._lines: list[str] = []
        self._alternate: list[str] | None = None

    def resize(self, cols: int) -> None:
        """The terminal is that wide from here on."""
        self._cols = cols

    @property
    def clean(self) -> bool:
        """Nothing is begun: what comes next is read as if it were the first."""
        return not (
            self._cells
            or self._at
            or self._rest
            or self._string_end is not None
            or self._alternate is not None
            or self._decoder.getstate()[0]
        )

    @property
    def unfinished(self) -> str:
        """The line that the cursor is in, as far as it is printed; with its trailing spaces.

        Empty on the alternate screen.
        """
        return "".join(self._cells) if self._alternate is None else ""

    def feed(self, data: bytes) -> list[str]:
        """The lines that ``data`` finishes."""
        self._take(self._decoder.decode(data))
        return self._given()

    def finish(self) -> list[str]:
        """What is left: the unfinished last line, if it is not empty, and an alternate screen never left."""
        self._take(self._decoder.decode(b"", final=True))
        if self._cells:
            self._end_line()
        if self._keeping:
            self._keep_alternate()
        return self._given()

    def _given(self) -> list[str]:
        if self._alternate is None:
            lines, self._lines = self._lines, []
        elif self._keeping:
            return []
        else:
            lines, self._alternate, self._lines = self._alternate, [], []
        return lines

    def _take(self, text: str) -> None:
        text = self._rest + text
        self._rest = ""
        at = 0
        while at < len(text):
            if self._string_end is not None:
                end = self._string_end.search(text, at)
                if end is None:
                    self._rest = "\x1b" if text.endswith("\x1b") else ""
                    return
                self._string_end = None
                at = end.start() if end.group() == "\n" else end.end()
                continue
            if not self._at and not self._cells and (plain := _PLAIN_LINE.match(text, at)):
                line = plain.group(1)
                self._lines.append((_COLOUR.sub("", line) if "\x1b" in line else line).rstrip(" "))
                at = plain.end()
                continue
            token = _TOKEN.match(text, at)
            assert token is not None, "the tokens cover all text"
            at = token.end()
            if token.lastgroup == "text":
                self._print(token.group())
            elif token.lastgroup == "control":
                self._control(token.group())
            elif token.lastgroup == "final":
                self._sequence(token.group("params"), token.group("final"))
            elif token.lastgroup == "string":
                self._string_end = _END_OF_OSC if token.group("string") == "]" else _END_OF_STRING
            elif token.lastgroup == "simple":
                self._escape(token.group("simple"))
            elif token.lastgroup == "partial":
                # Longer than any real sequence: it is none.
                self._rest = token.group() if len(token.group()) < 256 else ""

    def _print(self, text: str) -> None:
        cells = list(text) if text.isascii() else _cells_of(text, self._cells, self._at)
        count = len(cells)
        if self._at > len(self._cells):
            self._cells.extend(" " * (self._at - len(self._cells)))
        self._cells[self._at : self._at + count] = cells
        self._at += count
        if self._cols:
            # At the right edge the cursor waits in the last column; only the next character wraps.
            self._row += max(0, (self._at - self._row - 1) // self._cols) * self._cols
        if self._at >= _LONGEST_LINE:
            self._end_line()

    def _control(self, char: str) -> None:
        if char == "\n":
            self._end_line()
        elif char == "\r":
            self._at = self._row
        elif char == "\b":
            self._at = max(self._row, self._at - 1)
        elif char == "\t":
            column = self._at - self._row
            self._at += _TAB - column % _TAB

    def _sequence(self, params: str, final: str) -> None:
        first = params.split(";")[0]
        count = min(int(first), _FARTHEST) if first.isdecimal() and first.isascii() else 0
        if final == "K" or (final == "J" and count == 0):
            self._erase(count)
        elif final == "C":
            self._at += max(count, 1)
        elif final == "D":
            self._at = max(self._row, self._at - max(count, 1))
        elif final in "G`":
            self._at = self._row + max(count, 1) - 1
        elif final == "P":
            del self._cells[self._at : self._at + max(count, 1)]
        elif final == "@":
            self._cells[self._at : self._at] = " " * max(count, 1)
        elif final == "X":
            self._blank(self._at, min(self._at + max(count, 1), len(self._cells)))
        elif final in "hl" and params[:1] == "?" and _ALTERNATE & {f"?{p}" for p in params[1:].split(";")}:
            self._switch(final == "h")
        elif final in "Hfd":
            if self._cells:
                self._end_line()  # elsewhere on the screen: what is printed there is not of this line
            self._at = self._row = 0
        if max(self._at, len(self._cells)) >= _LONGEST_LINE:
            self._end_line()

    def _escape(self, final: str) -> None:
        if final == "c":  # full reset
            self._switch(False)
        elif final in "DE":
            self._end_line()

    def _erase(self, what: int) -> None:
        if what == 0:
            del self._cells[self._at :]
        elif what == 1:
            self._blank(self._row, min(self._at + 1, len(self._cells)))
        elif what == 2:
            del self._cells[self._row :]

    def _blank(self, start: int, end: int) -> None:
        if end > start:
            self._cells[start:end] = " " * (end - start)

    def _end_line(self) -> None:
        self._lines.append("".join(self._cells).rstrip(" "))
        self._cells.clear()
        self._at = self._row = 0

    def _switch(self, alternate: bool) -> None:
        """Enter or leave the alternate screen."""
        if alternate:
            # Entered twice: the first program was killed on it, and what came after that is worth keeping.
            if self._alternate is not None and self._cells:
                self._end_line()
            self._keep_alternate()
            if self._cells:
                self._end_line()
            self._at = self._row = 0
            self._alternate, self._lines = self._lines, []
        elif self._alternate is not None:
            self._lines, self._alternate = self._alternate, None
            self._cells.clear()
            self._at = self._row = 0

    def _keep_alternate(self) -> None:
        if self._alternate is not None:
            self._lines = self._alternate + self._lines
            self._alternate = None


def text_lines(pieces: Iterable[bytes], cols: int | None = None) -> Iterator[str]:
    """The lines of output that comes in ``pieces``."""
    lines = TextLines(cols)
    for piece in pieces:
        yield from lines.feed(piece)
    yield from lines.finish()


def _cells_of(text: str, before: list[str], at: int) -> list[str]:
    """One entry for each column: a wide character takes two, a combining one goes to the one before it."""
    cells: list[str] = []
    for char in text:
        if char < "\u0300":
            cells.append(char)
        elif unicodedata.combining(char) or char in "\u200d\ufe0e\ufe0f":
            if cells:
                target, place = cells, len(cells) - 1
            else:
                target, place = before, min(at, len(before)) - 1
            while place > 0 and not target[place]:
                place -= 1  # the second column of a wide character
            if place >= 0:
                target[place] += char
            else:
                cells.append(char)
        elif unicodedata.east_asian_width(char) in "WF":
            cells += (char, "")
        else:
            cells.append(char)
    return cells
