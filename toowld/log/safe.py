"""Where output may begin after a gap. PURE.

A gap can hide the beginning of an escape sequence, or of a string of megabytes (a picture, the clipboard). What is
left of it must not be printed as text. Whoever reads on has told the terminal to forget what it was in the
middle of (CAN); the rest is decided here, from the bytes after the gap alone:

- ESC begins a new sequence in whatever state a terminal is (DEC VT500), so output can begin *at* one. Only
  ``ESC \\`` ends a string instead, and output can begin behind it.
- Before the next ESC, a newline is the end of a line, and output begins behind it. A sequence has none, but a string
  may (sixel): then the next ESC is that of its ``ESC \\``, which so must be looked for first.
- Where neither comes for `LOOK_AHEAD`, it is a single huge line: output begins behind a BEL, which may end a
  string, else behind what may be the end of a short sequence, at the beginning of a character.
"""

from __future__ import annotations

import re

#: So much output is looked at. Strings that are longer and without any ESC exist (a picture of megabytes in one OSC
#: 1337), but so do lines of text; what is skipped here, nobody gets.
LOOK_AHEAD = 1 << 20

_ESC = b"\x1b"
_ST = b"\x1b\\"

#: What a sequence that is no string can look like from anywhere behind its ESC to its end (ECMA-48).
_TAIL = re.compile(rb"\[?[ -?]{0,64}[@-~]?")


class SafeStart:
    """Give it the pieces of output after a gap until it is `decided` or there are no more; then ask `skip`."""

    def __init__(self) -> None:
        self.data = bytearray()
        self._escape = -1

    @property
    def decided(self) -> bool:
        """Whether more output would change nothing."""
        return 0 <= self._escape < len(self.data) - 1 or len(self.data) >= LOOK_AHEAD

    def feed(self, piece: bytes) -> None:
        """Look at what follows."""
        if self._escape < 0 and (found := piece.find(_ESC)) >= 0:
            self._escape = len(self.data) + found
        self.data += piece

    def skip(self) -> int:
        """How many bytes to leave out."""
        data, escape = self.data, self._escape
        newline = data.find(b"\n", 0, escape if escape >= 0 else len(data))
        if escape >= 0 and data.startswith(_ST, escape):
            return escape + len(_ST)
        if newline >= 0:
            return newline + 1
        if escape >= 0:
            return escape
        if (bell := data.find(b"\x07")) >= 0:
            return bell + 1
        tail = _TAIL.match(data)
        assert tail is not None  # it may be empty
        at = tail.end()
        while at < min(3, len(data)) and data[at] & 0xC0 == 0x80:
            at += 1
        return at
