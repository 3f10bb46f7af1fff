"""Takes the terminal queries out of output that is shown again. PURE.

A program asks the terminal something ("where is the cursor?", "which colours have you?") and the terminal types the
answer. When its output is replayed later the terminal would answer again, and the answer would be typed into
whatever runs now, a shell for example. So queries are removed from replay. Everything else passes byte for byte.

Theory. An ESC always begins anew, so a query can be found by a regular expression without knowing what stands before
it. Two things need care. A query may be cut at the end of a chunk: what may still become one is held back until
more comes, or until `flush`, when the live output takes over and finishes it itself. And a query may have cut off an
unfinished sequence before it; with the query gone, that one would swallow what follows (and could even become a
query), so it is ended in the query's place.
"""

from __future__ import annotations

import re
from functools import partial

#: Real queries are short; a capability request with dozens of names comes to some hundred bytes.
_LONGEST = 4096

# C0 controls inside a control sequence are carried out, and the sequence goes on. CAN, SUB and ESC end it.
_C0 = rb"[\x00-\x17\x19\x1c-\x1f]"
_N = rb"[0-9;:\x00-\x17\x19\x1c-\x1f]*"
_TEXT = rb"[^\x07\x18\x1a\x1b]"
# A string ends at BEL or ST. Many terminals act on it at any other ESC, too, which then begins the next sequence.
_END = rb"(?:\x07|\x1b\\|(?=\x1b[^\\]))"

_CONTROL = (
    rb"[>=]?" + _N + rb"c",  # DA1, DA2, DA3
    rb"\??" + _N + rb"n",  # DSR, cursor position, colour scheme …
    rb"\??" + _N + rb"\$p",  # DECRQM
    rb">" + _N + rb"q",  # XTVERSION
    rb"\?" + _N + rb"[ugmS]",  # kitty keyboard flags; xterm's key formats, key modifiers, graphics
    rb"0*(?:1[1345689]|2[01])(?:;" + _N + rb")?t",  # state, place, sizes, titles of the window
    _N + rb"x",  # DECREQTPARM
    _N + rb"\*y",  # DECRQCRA
    _N + rb"\$[wu]",  # DECRQPSR, DECRQTSR
    rb"&u",  # DECRQUPSS
    _N + rb"[#'|]?\|",  # XTREPORTSGR, DECRQLP
    rb"#R",  # XTREPORTCOLORS
)
# Compiled when first needed, and then found in the cache of `re`: most attachments come without.
_QUERY = partial(
    re.compile,
    rb"\x1b"
    + _C0
    + rb"*(?:Z|\[(?:"
    + rb"|".join(_CONTROL)
    + rb")|(?P<string>[\]P_]"
    + _TEXT
    + rb"{0,%d})" % _LONGEST
    + _END
    + rb")",
)
#: Strings that ask. Colours, pointer shape, font and clipboard have "?" in place of a value.
_ASKS = partial(
    re.compile,
    rb"\](?:0*(?:4|5|1\d|52);(?:" + _TEXT + rb"*;)?\?(?:;" + _TEXT + rb"*)?"
    rb"|50;\?" + _TEXT + rb"*|21;" + _TEXT + rb"*=\?" + _TEXT + rb"*|22;\?" + _TEXT + rb"*"
    rb"|6[01](?:;" + _TEXT + rb"*)?|99;[^;]*\bp=\?" + _TEXT + rb"*|5522;[^;]*type=read" + _TEXT + rb"*"
    rb"|1337;(?:ReportCellSize|ReportVariable=|Capabilities)" + _TEXT + rb"*)"
    rb"|P[0-9;]*[$+][qQ]" + _TEXT + rb"*"  # DECRQSS, XTGETTCAP, XTGETXRES
    rb"|_G(?:[^;]*,)?a=q\b" + _TEXT + rb"*",  # kitty graphics
)
#: The end of a chunk that may become a query. Data that comes in large pieces (titles, clipboard, pictures)
#: is told apart by its beginning, so that it is not held back.
_UNFINISHED = partial(
    re.compile,
    rb"\x1b(?:"
    + _C0
    + rb"*|"
    + _C0
    + rb"*\[[>=?]?"
    + _N
    + rb"[$*&#']?|"
    + _C0
    + rb"*(?:"
    + rb"\](?:[0-9]{0,6}|0*(?:4|5|1\d|21|22|50|6[01]|99);"
    + _TEXT
    + rb"{0,%d}" % _LONGEST
    + rb"|0*52;[a-z0-9]*(?:;(?:\?;?)?)?|5522;[^;\x07\x18\x1a\x1b]{0,256}(?:;"
    + _TEXT
    + rb"{0,256})?|1337;(?:[RC][A-Za-z]*(?:=[\w.+/=]{0,256})?)?)"
    + rb"|P[0-9;]*(?:[$+](?:[qQ]"
    + _TEXT
    + rb"{0,%d})?)?" % _LONGEST
    + rb"|_(?:G"
    + _TEXT
    + rb"{0,256})?)\x1b?)\Z",
)
#: A sequence that ends where it is cut off.
_OPEN = partial(re.compile, rb"\x1b(?:" + _C0 + rb"|[ -/])*(?:\[[\x00-\x17\x19\x1c-\x3f]*)?\Z")
_STRING = partial(re.compile, rb"\x1b" + _C0 + rb"*[\]PX^_]" + _TEXT + rb"*\Z")
_NO_CONTROL = re.compile(rb"[^\x00-\x17\x19\x1c-\x1f]")
_STRING_END = re.compile(rb"[\x07\x18\x1a\x1b]")

_ENQ = b"\x05"


def count_queries(data: bytes) -> int:
    """How many questions to the terminal are in this output."""
    return sum(
        found["string"] is None or bool(_ASKS().fullmatch(found["string"]))
        for found in _QUERY().finditer(data)
    )


class QueryFilter:
    """Removes queries from one stream of replayed output."""

    def __init__(self) -> None:
        self._held = b""
        self._in_string = False  # what was let out ends inside of a string …
        self._open = b""  # … or with this beginning of another sequence

    @property
    def held(self) -> int:
        """How many bytes are held back."""
        return len(self._held)

    def feed(self, data: bytes) -> bytes:
        """``data``, and what was held back before, without queries; an unfinished one is held back."""
        if b"\x1b" not in data and not (self._held or self._in_string or self._open):
            return data.replace(_ENQ, b"")
        buffer = self._held + data
        end = _unfinished(buffer)
        self._held = buffer[end:]
        return self._clean(buffer, end)

    def flush(self) -> bytes:
        """What is held back. What follows is live: a query that began before is asked by a program that waits."""
        held, self._held = self._held, b""
        self._follow(held)
        return held.replace(_ENQ, b"")

    def _clean(self, buffer: bytes, end: int) -> bytes:
        pieces = []
        at = 0
        for found in _QUERY().finditer(buffer, 0):
            if found.start() >= end:
                break
            string = found["string"]
            if string is not None and not _ASKS().fullmatch(string):
                continue
            before = buffer[at : found.start()]
            pieces += [before, self._close(before)]
            if string is None:
                pieces.append(_NO_CONTROL.sub(b"", found[0]))
            at = found.end()
        rest = buffer[at:end]
        self._follow(rest)
        return b"".join([*pieces, rest]).replace(_ENQ, b"")

    def _close(self, before: bytes) -> bytes:
        """What ends the sequence that ``before`` leaves unfinished."""
        self._follow(before)
        close = b"\x1b\\" if self._in_string else b"\x18" if self._open else b""
        self._in_string = False
        self._open = b""
        return close

    def _follow(self, data: bytes) -> None:
        """Note what the terminal is in the middle of after ``data``."""
        data = self._open + data
        self._open = b""
        last = data.rfind(b"\x1b")
        if last < 0:
            self._in_string = self._in_string and not _STRING_END.search(data)
            return
        self._in_string = bool(_STRING().match(data, last))
        if len(data) - last <= _LONGEST and _OPEN().match(data, last):
            self._open = data[last:]


def _unfinished(buffer: bytes) -> int:
    """Where in ``buffer`` that begins which may still become a query; its length if nothing does."""
    last = buffer.rfind(b"\x1b")
    if last < 0:
        return len(buffer)
    if last == len(buffer) - 1:  # perhaps the first half of ST
        before = buffer.rfind(b"\x1b", 0, last)
        if before >= 0 and _UNFINISHED().match(buffer, before):
            return before
    return last if _UNFINISHED().match(buffer, last) else len(buffer)
