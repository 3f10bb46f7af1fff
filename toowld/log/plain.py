r"""Text out of whole blocks of output, many times faster than character by character. PURE.

`TextLines` says what the lines are; here is the same result for the most of all output, by a few substitutions over
a whole block. What makes that right: at the end of a line (``\n``, or the cursor is moved to another place of the
screen) nothing is left over, so each piece between two such ends can be looked at alone; and in a piece in which
nothing is overwritten, the text is what remains when the escape sequences are gone. Pieces in which something
may be overwritten, or moved to the right, are marked and left to `TextLines`.

That also tells which pieces need no look at all in a search: where nothing is overwritten, a literal without spaces
that is not in the remaining text is not in the line; and where something is, each of its characters must at least
have been printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from toowld.classes import frozen

#: What ends a piece, in output. The bytes of all of them are ASCII, so they are the same in bytes and in text.
PIECE_END = re.compile(rb"\n|\x1b(?:\[[0-?]*[ -/]*[Hfd]|[ -/]*[DE])")

# The marks in plain text. Controls of the output with these codes are removed before.
OVERWRITTEN = "\x01"  #: something before may be replaced
SPACED = "\x02"  #: the cursor jumps to the right, or the line is erased: spaces
MOVED = "\x03"  #: the piece ends with a move of the cursor: no line if it is empty
_MOVE = MOVED + "\n"

#: Every sequence that changes nothing in a line: the tokens of `text`, less those that it acts on. All begin with
#: ESC, so that the search for them is fast. A string with ESC or (other than an OSC) newline in it is not among them.
_NOISE = re.compile(
    r"\x1b(?:"
    r"\[[0-?]*+[ -/]*+(?:[ABEFIL-OQ-WYZ\\\]^_abceg-~]|(?![@-~]))"
    r"|\][^\x07\x18\x1a\x1b\x9c\n]*+(?:\x07|\x1b\\|[\x9c\x18\x1a]|(?=\n))"
    r"|[PX^_][^\x07\x18\x1a\x1b\x9c\n]*+(?:\x07|\x1b\\|[\x9c\x18\x1a])"
    r"|[0-CF-OQ-WYZ\\`-~]|[ -/]++[0-CF-Z\\`-~]"
    r"|(?![ -/]*[0-Z\\`-~]|[\[\]^_]))"
)
_CONTROLS = re.compile(r"[\x00-\x07\x0b\x0c\x0e-\x1a\x1c-\x1f\x7f-\x9f]+")
_C0 = bytes(code for code in (*range(0x20), 0x7F) if code not in b"\b\t\n\r\x1b")
_C1 = re.compile(rb"\xc2[\x80-\x9f]")
_MOVES = re.compile(r"\x1b\[[0-?]*[ -/]*[Hfd]")
_ENDS = re.compile(r"\x1b[ -/]*[DE]")
_BACK = re.compile(r"\x1b\[[0-?]*[ -/]*[DG`PX@]")
_RIGHT = re.compile(r"\x1b\[(?:[0-?]*[ -/]*C|[0-?]*[1-9][0-?]*[ -/]*K)")
_ERASE = re.compile(r"\x1b\[[0-?]*[ -/]*[JK]")  # behind the last character: nothing
_RETURNS = re.compile(r"\r+\n")


def plain(text: str) -> str | None:
    r"""``text`` with ``\n`` at the end of each piece, and marks; None if it has to be read character by character.

    ``text`` must begin and end where a piece does, and hold no switch to the alternate screen.
    """
    escapes = "\x1b" in text
    if escapes:
        text = _NOISE.sub("", text)
    if _has_controls(text):
        text = _CONTROLS.sub("", text)
    if escapes and "\x1b" in text:
        text = _ENDS.sub("\n", _MOVES.sub(_MOVE, text))
    if "\r" in text:
        text = text.replace("\r\n", "\n")
        if "\r" in text:
            text = _RETURNS.sub("\n", text).replace("\r", OVERWRITTEN)
    text = text.replace("\b", OVERWRITTEN).replace("\t", SPACED)
    if escapes and "\x1b" in text:
        text = _BACK.sub(OVERWRITTEN, text)
        text = _ERASE.sub("", _RIGHT.sub(SPACED, text))
        if "\x1b" in text:
            return None
    return text


def without_noise(data: bytes) -> bytes:
    """A piece of output without the sequences that change nothing in it: less for `TextLines` to go through."""
    return _NOISE.sub("", data.decode("utf-8", "replace")).encode() if b"\x1b" in data else data


def _has_controls(text: str) -> bool:
    """Whether `_CONTROLS` finds anything: told twenty times faster, and mostly it does not."""
    data = text.encode()
    return len(data.translate(None, _C0)) != len(data) or _C1.search(data) is not None


#: Characters outside of ASCII that Python's ``re.IGNORECASE`` takes for i, k or s.
_ASCII_FOLDS = "\u0130\u0131\u017f\u212a"


@frozen
class Needle:
    """A piece of text that is in whatever a pattern matches: ASCII, no spaces. In lower case with ``fold``."""

    text: str
    fold: bool = False

    def candidates(self, block: str, pieces: list[str]) -> Iterable[int]:
        """Which of the ``pieces`` of a ``block`` of plain text may hold it."""
        if self.fold:
            if not block.isascii() and any(char in block for char in _ASCII_FOLDS):
                return range(len(pieces))
            block = block.lower()
        overwritten = OVERWRITTEN in block
        if not overwritten and self.text not in block:
            return ()
        if self.fold:
            pieces = block.split("\n")[: len(pieces)]
        text = self.text
        if not overwritten:
            return [index for index, piece in enumerate(pieces) if text in piece]
        chars = set(text)
        return [
            index
            for index, piece in enumerate(pieces)
            if text in piece or (OVERWRITTEN in piece and all(char in piece for char in chars))
        ]
