"""What a program tells its terminal about itself, found in its output: title, bell, folder, prompt. PURE.

Owns which sequences say that, and where they are in the output; what is made of them is left to whoever feeds the
scanner, except for what lists show of a session (`Marked`), and when they are told of it (`News`).

- OSC 0 and OSC 2: the window's title (xterm's ctlseqs).
- BEL, where it does not end a string.
- OSC 7: the shell's folder, as a URL.
- OSC 133: where a prompt (``A``), what is typed at it (``B``) and a command's output (``C``) begin, and that the
  command is done (``D``, with its exit status). FinalTerm's, as in the specification "semantic prompts" of Per
  Bothner; iTerm2, kitty, fish and others have them.

Theory. As in `toowld.session.queries`: an ESC always begins anew, so one regular expression finds a mark without
knowing what surrounds it, and only what is cut at the end of a read waits for the next one. With one addition: in a
string (of a picture, say) a BEL is no bell, however long it is; so of a string that goes on, its beginning is kept.
All of a flood is looked at, as a mark must not be missed: text costs nothing, escapes a search for two bytes.
"""

from __future__ import annotations

import enum
import re

from toowld.classes import define
from toowld.session.queries import ESC, begun_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

#: Of a mark's text so much is known: a folder's URL with every byte of the longest path quoted (PATH_MAX) fits.
MAX_TEXT = 3 * 4096 + 256

#: News of marks are that far apart at least (seconds), however many a program prints.
NEWS_INTERVAL = 0.05

#: Lists show no more of a title (characters): all sessions go into one frame.
MAX_TITLE = 256


class MarkKind(enum.Enum):
    """What is told. The values are what stands between ``ESC ]`` and the text, as far as that is always the same."""

    TITLE = b"2"
    CWD = b"7"
    PROMPT = b"133;A"
    INPUT = b"133;B"
    OUTPUT = b"133;C"
    DONE = b"133;D"


@define
class Mark:
    """One mark. Not frozen, for the reason that `toowld.session.events` gives: a flood may have thousands.

    Attributes:
        seq: of its first byte.
        end: the seq behind it.
        text: the title or URL; of a prompt's marks the parameters (``aid=…``), of `MarkKind.DONE` the status first.
    """

    kind: MarkKind
    seq: int
    end: int
    text: bytes = b""

    @property
    def exit_code(self) -> int | None:
        """Of `MarkKind.DONE`, if it says so."""
        status = self.text.partition(b";")[0]
        return int(status) if _STATUS.fullmatch(status) else None


_BEL = 0x07
_OSC = b"\x1b]"

_STATUS = re.compile(rb"-?\d{1,10}")
_TEXT = rb"[^\x07\x18\x1a\x1b]"
_MARK = re.compile(rb"\x1b\](?:([027]);|(133;[ABCD])(?:;|(?=[\x07\x1b])))(" + _TEXT + rb"*+)(?:\x07|\x1b\\)")
#: Strings, so that what is left has only those BELs that ring. Only OSC may end with one.
_STRING = re.compile(rb"\x1b(?:\]" + _TEXT + rb"*+\x07?|[PX^_][^\x18\x1a\x1b]*+)")
_STRING_BEGUN = re.compile(rb"\x1b(?:\]" + _TEXT + rb"*+|[PX^_][^\x18\x1a\x1b]*+)?\x1b?")
_KINDS = {kind.value: kind for kind in MarkKind} | {b"0": MarkKind.TITLE}
#: ``ESC ]``, what names a mark, and its text.
_MAX_BEGUN = 16 + MAX_TEXT


class MarkScanner:
    """Finds marks in one stream of output, however it was cut into reads.

    Attributes:
        bells: how often it rang so far.
    """

    def __init__(self) -> None:
        self.bells = 0
        self._begun = b""  # of a string that goes on; not all of one that is longer than any mark
        self._begun_seq = 0

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {"bells": self.bells, "begun": self._begun, "begun_seq": self._begun_seq}

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> MarkScanner:
        """The opposite of `freeze`."""
        scanner = cls()
        scanner.bells = state["bells"]
        scanner._begun = state["begun"]
        scanner._begun_seq = state["begun_seq"]
        return scanner

    def feed(self, data: bytes, seq: int) -> Sequence[Mark]:
        """The marks that end in ``data``, which begins at ``seq``."""
        if not self._begun and ESC not in data and _BEL not in data:
            return ()
        if not self._begun:
            self._begun_seq = seq
        buffer = self._begun + data
        start = seq - len(self._begun)  # right for all places but the beginning of what is not kept whole
        if b"\x07" in data:
            self.bells += _STRING.sub(b"", buffer).count(b"\x07")
        # Colours have none: a look at each ESC was a tenth of what a flood of them took. One byte is found sooner.
        first = buffer.find(_OSC) if b"]" in buffer else -1
        found = [
            Mark(
                _KINDS[match[1] or match[2]],
                start + match.start() if match.start() else self._begun_seq,
                start + match.end(),
                match[3][:MAX_TEXT],
            )
            for match in (_MARK.finditer(buffer, first) if first >= 0 else ())
        ]
        at = begun_at(buffer, 0, _STRING_BEGUN)
        if at:
            self._begun_seq = start + at
        self._begun = _abridged(buffer[at:])
        return found


def _abridged(begun: bytes) -> bytes:
    """What has to be known of the beginning of a string to go on."""
    most = _MAX_BEGUN if begun[1:2] == b"]" else 2
    if len(begun) <= most:
        return begun
    return begun[:most] + (b"\x1b" if begun.endswith(b"\x1b") else b"")


class Marked:
    """What lists show of a session by its marks.

    Attributes:
        title: of its window; None: none was set.
        cwd_url: its shell's folder, as that tells it; it may be on another host.
        prompt: "prompt": its shell waits for a command; "command": one runs; None: its shell does not tell.
        exit_code: of the last command, if that is known.
        commands: how many are done.
    """

    def __init__(self) -> None:
        self.title: str | None = None
        self.cwd_url: str | None = None
        self.prompt: str | None = None
        self.exit_code: int | None = None
        self.commands = 0
        self._scanner = MarkScanner()

    def freeze(self) -> dict[str, Any]:
        """As plain values, for `thaw`."""
        return {**self.describe(), "scanner": self._scanner.freeze()}

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Marked:
        """The opposite of `freeze`."""
        marked = cls()
        marked.title = state["title"]
        marked.cwd_url = state["cwd_url"]
        marked.prompt = state["prompt"]
        marked.exit_code = state["last_exit"]
        marked.commands = state["commands"]
        marked._scanner = MarkScanner.thaw(state["scanner"])
        return marked

    def describe(self) -> dict[str, Any]:
        """For `INFO` (docs/protocol.md)."""
        return {
            "title": self.title,
            "bells": self._scanner.bells,
            "cwd_url": self.cwd_url,
            "prompt": self.prompt,
            "last_exit": self.exit_code,
            "commands": self.commands,
        }

    def look(self, data: bytes, seq: int) -> bool:
        """Take output in, which begins at ``seq``; whether anything is different now."""
        bells = self._scanner.bells
        marks = self._scanner.feed(data, seq)
        changed = self._scanner.bells != bells
        if marks:
            before = (self.title, self.cwd_url, self.prompt, self.exit_code, self.commands)
            for mark in marks:
                self._take(mark)
            changed |= before != (self.title, self.cwd_url, self.prompt, self.exit_code, self.commands)
        return changed

    def _take(self, mark: Mark) -> None:
        match mark.kind:
            case MarkKind.TITLE:
                self.title = mark.text.decode(errors="replace")[:MAX_TITLE]
            case MarkKind.CWD:
                if len(mark.text) < MAX_TEXT:  # of a longer one the end is not known
                    self.cwd_url = mark.text.decode(errors="replace")
            case MarkKind.PROMPT | MarkKind.INPUT:
                self.prompt = "prompt"
            case MarkKind.OUTPUT:
                self.prompt = "command"
            case MarkKind.DONE:
                # Many shells say this before each prompt, also where no command ran, as after an empty line.
                self.commands += self.prompt == "command"
                self.exit_code = mark.exit_code
                self.prompt = "prompt"


class News:
    """When lists are told that a session is `Marked` otherwise: at once, but not all the time.

    Args:
        deadline: when to call `due` (monotonic seconds); None: there is nothing to tell.
    """

    def __init__(self, deadline: float | None = None) -> None:
        self.deadline = deadline
        self._told_at = -NEWS_INTERVAL

    def came(self, now: float) -> bool:
        """There are some. Whether they are to be told now."""
        if self.deadline is not None:
            return False
        self.deadline = max(now, self._told_at + NEWS_INTERVAL)
        return self.due(now)

    def due(self, now: float) -> bool:
        """Whether those that wait are to be told now."""
        if self.deadline is None or now < self.deadline:
            return False
        self.deadline = None
        self._told_at = now
        return True

    def forget(self) -> None:
        """Other news tell all."""
        self.deadline = None
