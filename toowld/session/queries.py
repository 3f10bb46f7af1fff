"""What programs ask a terminal, found in their output, and what a terminal says to it, found in input. PURE.

Programs ask "what are you?", "where is the cursor?", "is this mode on?", and wait for the answer, often before they
draw anything. Owns the kinds of questions that are known: how each is asked, how its answer looks, and what is
answered where nobody's terminal is there. Who answers is not decided here.

Theory. An ESC always begins anew, so a query is found by one regular expression without knowing what surrounds it;
only what is cut at the end of a read has to wait for the next one. The same goes for answers, with one difference:
they come between what is typed, and a key must not wait. So nothing is held back that a key could begin with
(``ESC``, ``ESC [``).
"""

from __future__ import annotations

import enum
import re
from collections import Counter

from toowld.classes import frozen
from toowld.wire import Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class Kind(enum.Enum):
    """What is asked."""

    ATTRIBUTES = "what are you (DA1)"
    SECONDARY = "which version (DA2)"
    TERTIARY = "which unit (DA3)"
    STATUS = "are you well (DSR 5)"
    CURSOR = "where is the cursor (CPR)"
    PAGE_CURSOR = "where is the cursor, and on which page (DECXCPR)"
    MODE = "is this mode on (DECRQM)"
    VERSION = "what is your name (XTVERSION)"
    SCHEME = "light or dark"
    MEASURES = "how large (XTWINOPS)"
    KEYBOARD = "which keyboard flags (kitty)"
    COLOUR = "which colour (OSC 4, 10 to 19)"
    SETTING = "how is this set (DECRQSS)"
    CAPABILITY = "what can you do (XTGETTCAP)"
    CLIPBOARD = "what is in the clipboard (OSC 52)"
    GRAPHICS = "can you show this picture (kitty)"


@frozen
class Query:
    """One question. ``end``: the seq behind it."""

    kind: Kind
    text: bytes
    end: int


#: As a number: of ``b"\x1b" in data``, Python first tries whether the left side is one, and words an error.
ESC = 0x1B

# What is between the beginning of a string and its end, and that end.
_TEXT, _ST = rb"[^\x07\x18\x1a\x1b]", rb"(?:\x07|\x1b\\)"

_QUERIES: dict[Kind, bytes] = {
    Kind.ATTRIBUTES: rb"Z|\[0?c",
    Kind.SECONDARY: rb"\[>0?c",
    Kind.TERTIARY: rb"\[=0?c",
    Kind.STATUS: rb"\[5n",
    Kind.CURSOR: rb"\[6n",
    Kind.PAGE_CURSOR: rb"\[\?6n",
    Kind.MODE: rb"\[\??\d{1,5}\$p",
    Kind.VERSION: rb"\[>0?q",
    Kind.SCHEME: rb"\[\?996n",
    Kind.MEASURES: rb"\[1[4-689]t",
    Kind.KEYBOARD: rb"\[\?u",
    Kind.COLOUR: rb"\](?:1\d|4;\d{1,3});\?" + _ST,
    Kind.SETTING: rb"P\$q" + _TEXT + rb"{0,8}" + _ST,
    Kind.CAPABILITY: rb"P\+q[\da-fA-F;]{0,400}" + _ST,
    Kind.CLIPBOARD: rb"\]52;[a-z\d]{0,8};\?" + _ST,
    Kind.GRAPHICS: rb"_G(?:" + _TEXT + rb"{0,99},)?a=q" + _TEXT + rb"{0,400}" + _ST,
}
_REPLIES: dict[Kind, bytes] = {
    Kind.ATTRIBUTES: rb"\[\?[\d;]*c",
    Kind.SECONDARY: rb"\[>[\d;]*c",
    Kind.TERTIARY: rb"P!\|" + _TEXT + rb"*" + _ST,
    Kind.STATUS: rb"\[[03]n",
    Kind.CURSOR: rb"\[\d+;\d+R",
    Kind.PAGE_CURSOR: rb"\[\?\d+;\d+(?:;\d+)?R",
    Kind.MODE: rb"\[\??\d+;\d\$y",
    Kind.VERSION: rb"P>\|" + _TEXT + rb"*" + _ST,
    Kind.SCHEME: rb"\[\?997;\dn",
    Kind.MEASURES: rb"\[[45689];\d+;\d+t",
    Kind.KEYBOARD: rb"\[\?\d+u",
    Kind.COLOUR: rb"\](?:1\d|4;\d+);" + _TEXT + rb"*" + _ST,
    Kind.SETTING: rb"P[01]\$r" + _TEXT + rb"*" + _ST,
    Kind.CAPABILITY: rb"P[01]\+r" + _TEXT + rb"*" + _ST,
    Kind.CLIPBOARD: rb"\]52;" + _TEXT + rb"*" + _ST,
    Kind.GRAPHICS: rb"_G" + _TEXT + rb"*" + _ST,
}


def _any_of(patterns: dict[Kind, bytes]) -> re.Pattern[bytes]:
    parts = (b"(?P<" + kind.name.encode() + b">" + pattern + b")" for kind, pattern in patterns.items())
    return re.compile(rb"\x1b(?:" + b"|".join(parts) + b")")


#: What may be a query. This is what all output is searched for, so it is made to fail early: first at colours, places
#: and erasing, which are nearly all escapes that there are. `_QUERY` alone takes five times as long.
_LIKELY = re.compile(rb"\x1b(?!\[[\d;]*+[A-Km])(?:\[[?>=]?+\d*+\$?+[cnpqtu]|Z|\][145]|P[$+]|_G)")
_QUERY = _any_of(_QUERIES)
_REPLY = _any_of(_REPLIES)
#: What a terminal reports unasked, in the modes 1004 and 2048.
_REPORT = re.compile(rb"\x1b\[(?:[IO]|48;[\d;:]*t)")
#: The end of a read that may become a query.
_QUERY_BEGUN = re.compile(
    rb"\x1b(?:\[[?>=]?\d{0,5}\$?|\](?:1?|1\d(?:;\??)?|4(?:;\d{0,3}(?:;\??)?)?|52?(?:;[a-z\d]{0,8}(?:;\??)?)?)"
    rb"|P(?:\$(?:q" + _TEXT + rb"{0,8})?|\+(?:q[\da-fA-F;]{0,400})?)?"
    rb"|_(?:G" + _TEXT + rb"{0,500})?)?\x1b?"
)
#: The end of a read that may become an answer, and is not the beginning of a key.
_REPLY_BEGUN = re.compile(
    rb"\x1b(?:\[(?:[?>][\d;]*\$?|\d[\d;]*\$?)"
    rb"|\][\d;]" + _TEXT + rb"*|P[!>01]" + _TEXT + rb"*|_G" + _TEXT + rb"*)\x1b?"
)
#: Output with escapes that is looked through, bytes a second: up to 6 ms for each MB, 5 % of a processor at most.
#: Chosen by experiment: without a limit a detached flood of nothing but escapes took three times as long.
_RATE = 8 << 20
#: After a pause so much is looked through at any rate: many times what a program prints between its question and its
#: waiting. And of a flood the last bytes of each read: all of what an idle program printed last.
_BURST, _FLOOD_END = 1 << 20, 512
#: No longer answer is held back, however many reads it takes (a clipboard): then it is let through.
_LONGEST_REPLY = 64 << 10


def only_reports(data: bytes) -> bool:
    """Whether all of this is what a terminal says by itself: answers, and who has its focus, and its size.

    Some report the latter also when that is switched on, as it is with every picture of a session.
    """
    return not _REPORT.sub(b"", _REPLY.sub(b"", data))


class QueryScanner:
    """Finds queries in one stream of output, however it was cut into reads.

    A program that waits for an answer prints nothing meanwhile. So of a flood only the ends of reads are looked at:
    escapes by the million must not take more time here than everything else that is done with them.

    Args:
        begun: the end of what another one was fed (`QueryScanner.begun`), whose place this takes.
    """

    def __init__(self, begun: bytes = b"") -> None:
        self._begun = begun
        self._budget = float(_BURST)  # bytes that may be looked at now
        self._fed_at = 0.0

    @property
    def begun(self) -> bytes:
        """The end of what was fed, if that may become a query."""
        return self._begun

    def feed(self, data: bytes, seq: int, now: float) -> list[Query]:
        """The queries that end in ``data``, which begins at ``seq``. ``now``: monotonic seconds."""
        if not self._begun and ESC not in data:
            return []
        self._budget = min(self._budget + (now - self._fed_at) * _RATE, _BURST)
        self._fed_at = now
        if (skip := len(data) - max(int(self._budget), _FLOOD_END)) > 0:
            data = data[skip:]
            seq += skip
            self._begun = b""
        self._budget = max(self._budget - len(data), 0.0)
        start = seq - len(self._begun)
        buffer = self._begun + data
        self._begun = b""
        found = [
            Query(Kind[match.lastgroup or ""], match[0], start + match.end())
            for likely in _LIKELY.finditer(buffer)
            if (match := _QUERY.match(buffer, likely.start()))
        ]
        done = found[-1].end - start if found else 0
        self._begun = buffer[begun_at(buffer, done, _QUERY_BEGUN) :]
        return found


class ReplyFilter:
    """Takes answers that are not wanted out of what one terminal sends."""

    def __init__(self) -> None:
        self._unwanted: Counter[Kind] = Counter()
        self._begun = b""

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        unwanted = {kind.name: count for kind, count in self._unwanted.items()}
        return {"unwanted": unwanted, "begun": self._begun}

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> ReplyFilter:
        """The opposite of `freeze`."""
        replies = cls()
        replies._unwanted.update({Kind[name]: count for name, count in state["unwanted"].items()})
        replies._begun = state["begun"]
        return replies

    @property
    def expected(self) -> bool:
        """Whether what is typed has to be looked at."""
        return bool(self._unwanted or self._begun)

    def expect(self, kind: Kind) -> None:
        """One answer of that kind will come, and somebody else's counts."""
        self._unwanted[kind] += 1

    def forget(self) -> None:
        """The terminal was not shown what it was asked."""
        self._unwanted.clear()

    def feed(self, data: bytes) -> bytes:
        """What is to be typed."""
        if not (self._unwanted or self._begun):
            return data
        buffer = self._begun + data
        self._begun = b""
        pieces = []
        at = 0
        for match in _REPLY.finditer(buffer):
            kind = Kind[match.lastgroup or ""]
            if self._unwanted[kind] > 0:
                self._unwanted[kind] -= 1
                pieces.append(buffer[at : match.start()])
                at = match.end()
        self._unwanted = +self._unwanted
        end = begun_at(buffer, at, _REPLY_BEGUN) if self._unwanted else len(buffer)
        if len(buffer) - end <= _LONGEST_REPLY:
            self._begun = buffer[end:]
            buffer = buffer[:end]
        return b"".join([*pieces, buffer[at:]])


def begun_at(buffer: bytes, done: int, beginning: re.Pattern[bytes]) -> int:
    """Where that begins which may go on in the next read; the length of ``buffer`` if nothing does."""
    last = buffer.rfind(b"\x1b", done)
    if last < 0:
        return len(buffer)
    if last == len(buffer) - 1:  # perhaps the first half of ST
        before = buffer.rfind(b"\x1b", done, last)
        if before >= 0 and beginning.fullmatch(buffer, before):
            return before
    return last if beginning.fullmatch(buffer, last) else len(buffer)


# --- where no terminal is there ---------------------------------------------------------------------------

#: Only the screen itself tells these.
OF_THE_SCREEN = frozenset(
    (Kind.CURSOR, Kind.PAGE_CURSOR, Kind.MODE, Kind.KEYBOARD, Kind.COLOUR, Kind.SETTING)
)

_FIXED: dict[Kind, bytes] = {
    # A VT220 with colours, as all terminals of today are: what more the one can that is attached next, nobody knows.
    Kind.ATTRIBUTES: b"\x1b[?62;22c",
    Kind.SECONDARY: b"\x1b[>1;0;0c",
    Kind.TERTIARY: b"\x1bP!|00000000\x1b\\",
    Kind.STATUS: b"\x1b[0n",
    Kind.VERSION: b"\x1bP>|toowl\x1b\\",
    Kind.SCHEME: b"\x1b[?997;1n",  # dark, as the colours below
    Kind.CAPABILITY: b"\x1bP0+r\x1b\\",  # unknown: the program goes by its terminfo
    # Where nobody can tell what is on the screen:
    Kind.CURSOR: b"\x1b[1;1R",  # some programs give up without an answer
    Kind.PAGE_CURSOR: b"\x1b[?1;1R",
    Kind.SETTING: b"\x1bP0$r\x1b\\",
}
#: Of a pixel's height and width, what most terminals' characters have.
_CELL = (16, 8)
_LIGHT, _DARK = b"rgb:ffff/ffff/ffff", b"rgb:0000/0000/0000"


def answer(query: Query, size: Size) -> bytes:
    """What is said where nobody knows better; empty: nothing, as a terminal does that does not know the question."""
    text = query.text
    match query.kind:
        case Kind.MODE:  # a mode that is not known is not used
            return b"\x1b[" + text[2:-2] + b";0$y"
        case Kind.MEASURES:
            return _measures(int(text[2:4]), size)
        case Kind.COLOUR if text[2:4] in (b"10", b"12"):
            return text[:5] + _LIGHT + b"\x1b\\"
        case Kind.COLOUR if text[2:4] == b"11":
            return text[:5] + _DARK + b"\x1b\\"
    return _FIXED.get(query.kind, b"")


def _measures(which: int, size: Size) -> bytes:
    rows, cols = size.rows, size.cols
    if which == 16:
        return b"\x1b[6;%d;%dt" % _CELL
    if which in (18, 19):
        return b"\x1b[%d;%d;%dt" % (which - 10, rows, cols)
    return b"\x1b[%d;%d;%dt" % (which - 10, rows * _CELL[0], cols * _CELL[1])
