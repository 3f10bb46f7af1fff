"""A command that is typed into a shell: the line to type, and what of the output is the command's. PURE.

Where the shell marks its prompts and outputs (OSC 133, `toowl.shells`), the marks tell. Where it does not, the line
prints marks of its own: an OSC with a number that no terminal knows and a word that nobody else has. The echo of the
line can't be taken for them, as ESC and BEL are typed as escapes there.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from toowld.errors import RefusedError
from toowld.log.text import TextLines

#: Shells that commands can be typed into, by the name of their process, and how they read.
FAMILIES = {
    "bash": "sh", "zsh": "zsh", "sh": "sh", "dash": "sh", "ash": "sh", "busybox": "sh", "ksh": "sh", "mksh": "sh",
    "ksh93": "sh", "yash": "sh", "rbash": "sh", "fish": "fish",
}  # fmt: skip

#: Those whose own editor reads a line. The others leave that to the kernel, which takes 4095 bytes (N_TTY_BUF_SIZE).
EDITORS = {"bash", "zsh", "fish", "ksh", "mksh", "ksh93", "rbash"}
KERNEL_LINE = 4000

#: Takes away what somebody began to type there: to the end of the line, then all before it. It can be yanked back.
CLEAR = b"\x05\x15"
#: The kernel knows the second only (VKILL, termios(3)).
CLEAR_KERNEL = b"\x15"

#: Takes away all of a command of several lines (VINTR).
INTERRUPT = b"\x03"

#: Not in ECMA-48, nor in any list of what terminals know.
_OSC = "7379"

#: Can be typed as it is: complete as one line in any shell, and nothing in it means something to its editor.
_WORD = r"(?:[\w@%+=:,./~?^*$-]|'[^'!\\\x00-\x1f\x7f]*'|\"[^\"`$!\\\x00-\x1f\x7f]*\")+"
_SIMPLE = re.compile(rf"{_WORD}(?: *(?:\|\||&&|[|;]|[0-9]?>{{1,2}}) *{_WORD}| +[0-9]>&[0-9]| +{_WORD})*")
_KEYWORDS = {
    "if", "then", "else", "elif", "fi", "for", "while", "until", "do", "done", "case", "esac", "in", "select",
    "function", "time", "coproc", "begin", "end", "switch", "not", "and", "or", "foreach", "repeat", "nocorrect",
}  # fmt: skip


def line(command: str, family: str | None, word: str | None) -> bytes:
    """What to type, without Enter.

    Args:
        family: of `FAMILIES`; None: nobody knows what reads it.
        word: for marks of its own; None: the shell makes marks.

    Raises:
        RefusedError: that can't be typed into a shell that is not known.
    """
    if word is not None:
        marks = [rf"printf '\033]{_OSC};{word};C\007'", rf"printf '\033]{_OSC};{word};D;%s\007'"]
        status = "$status" if family == "fish" else '"$?"'
        # A blank before it: for most, such a line does not go into the history.
        return f" {marks[0]}; {_evaluated(command, family)}; {marks[1]} {status}".encode(
            "utf-8", "surrogateescape"
        )
    simple = _SIMPLE.fullmatch(command) and not _KEYWORDS & set(re.findall(r"\w+", command))
    if not simple and family is None:
        raise RefusedError(
            "only a simple command can be typed into a shell that is not on this machine, or not known: "
            "put it into a script there"
        )
    return (command if simple else f" {_evaluated(command, family)}").encode("utf-8", "surrogateescape")


def _evaluated(command: str, family: str | None) -> str:
    """``command`` as one line that is whole in any case, even if the command is not: then that is an error at once.

    A shell's editor acts on controls, and on ``!`` in many places; so these are written otherwise.
    """
    # So that an error in it is not the end of the whole line, which a plain sh gives up with a special built-in.
    evaluate = "command eval" if family == "sh" else "eval"
    if not re.search(r"[\x00-\x1f\x7f!]", command):
        quoted = _in_fish(command) if family == "fish" else shlex.quote(command)
        return f"{evaluate} {quoted}"
    escaped = re.sub(r"[\x00-\x1f\x7f!'\\]", lambda found: f"\\0{ord(found[0]):03o}", command)
    if family == "fish":
        return f"eval (printf '%b' {_in_fish(escaped)} | string collect)"
    return f"{evaluate} \"$(printf '%b' '{escaped}')\""


def _in_fish(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


class Extract:
    """Takes what the session prints after the line was typed, gives what the command prints.

    Attributes:
        begun: the command runs, or has run.
        over: it is done, or never began.
        status: of the command; None: nobody has told.
        words: if it never began, what the shell said instead.
    """

    def __init__(self, word: str | None, *, at_prompt: bool = True) -> None:
        """
        Args:
            word: as in `line`.
            at_prompt: the shell was at its prompt: when it comes back to one, it has not run the command.
        """
        self.begun = self.over = False
        self.status: int | None = None
        self.words = b""
        self._word = word
        self._at_prompt = at_prompt
        number = "133" if word is None else f"{_OSC};{word}"
        self._mark = re.compile(rf"\x1b\]{number};([ACD])(?:;([^\x07\x1b]*))?(?:\x07|\x1b\\)".encode("ascii"))
        self._buffer = b""

    def feed(self, data: bytes) -> bytes:
        """What of it is output of the command, as far as that is known."""
        self._buffer += data
        given = b""
        while not self.over and (mark := self._mark.search(self._buffer)):
            before, self._buffer = self._buffer[: mark.start()], self._buffer[mark.end() :]
            given += self._take(mark[1], mark[2] or b"", before)
        if self.over:
            return given
        keep = _begun_at(self._buffer)
        if self.begun:
            given, self._buffer = given + self._buffer[:keep], self._buffer[keep:]
        return given

    def _take(self, kind: bytes, text: bytes, before: bytes) -> bytes:
        if not self.begun:
            self.words += before
            if kind == b"C":
                self.begun = True
            elif kind == b"A" and self._at_prompt and b"\n" in self.words:
                self.over = True
                self.words = self.words.partition(b"\n")[2]
            return b""
        if kind == b"C":  # of a shell within
            return before
        self.over = True
        status = text.partition(b";")[0]
        if kind == b"D" and re.fullmatch(rb"\d{1,9}", status):
            self.status = int(status)
        return before if self._word is not None else _EOL_MARK.sub(b"", before)

    @staticmethod
    def waits(printed: bytes) -> bool:
        """Whether a shell that marks its prompts has printed all of one at the end of that, and so reads a line."""
        kinds = re.findall(rb"\x1b\]133;([A-D])(?=[;\x07\x1b])", printed)
        return not kinds or kinds[-1] == b"B" or (kinds[-1] == b"A" and b"B" not in kinds)

    @staticmethod
    def continues(printed: bytes) -> bool:
        """Whether a shell that marks its prompts seems to read a further line of a command: one was ended since."""
        _, mark, since = printed.rpartition(b"\x1b]133;B")
        return bool(mark) and b"\n" in since

    def rest(self) -> bytes:
        """What was held back, as more might have come: now nothing does."""
        rest, self._buffer = self._buffer if self.begun and not self.over else b"", b""
        return rest


class Text:
    """A command's output as text: without colours, titles and the like; tabs and blanks as they were.

    Where a program moves the cursor, as for a progress bar, a line is what a terminal shows of it in the end.

    Args:
        cols: how wide the terminal is.
    """

    def __init__(self, cols: int | None) -> None:
        self._lines = TextLines(cols, keep_alternate=False)
        self._rest = b""

    def feed(self, data: bytes) -> bytes:
        """What is finished of it."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        return b"".join(self._line(one) for one in lines)

    def finish(self) -> bytes:
        """What is left, without a newline if there was none."""
        rest, self._rest = self._rest, b""
        if self._lines.clean and (plain := _plain(rest)) is not None:
            return plain
        return _joined([*self._lines.feed(rest), *self._lines.finish()])

    def _line(self, line: bytes) -> bytes:
        if self._lines.clean and (plain := _plain(line)) is not None:
            return plain + b"\n"
        return _joined(self._lines.feed(line + b"\n"))


_QUIET = rb"\x1b(?:\[[0-9;:]*m|\[\?(?!47[hl]|104[79][hl])[0-9]+[hl]|\(B|[=>]|\][^\x07\x1b]*(?:\x07|\x1b\\))"
_PLAIN = re.compile(rb"(?:[^\x00-\x08\x0a-\x1f\x7f]|" + _QUIET + rb")*")
_SEQUENCE = re.compile(_QUIET)


def _plain(line: bytes) -> bytes | None:
    """A line without what is not text; None if more happens in it."""
    line = line.rstrip(b"\r")
    if b"\r" in line:  # before anything is printed, it does nothing
        line = _SEQUENCE.sub(b"", line).lstrip(b"\r")
    return _SEQUENCE.sub(b"", line) if _PLAIN.fullmatch(line) else None


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")


#: What zsh prints behind a command's output, before anybody else is asked: a mark where a newline was missing, erased
#: again where none was (its options PROMPT_SP and PROMPT_CR).
_EOL_MARK = re.compile(rb"\x1b\[1m\x1b\[7m[%#]\x1b\[27m\x1b\[1m\x1b\[0m *\r \r\Z")
_EOL_BEGUN = b"\x1b[1m\x1b[7m"
#: As much may be held back for it: it is as long as the terminal is wide.
_MOST_HELD = 4096


def _begun_at(data: bytes) -> int:
    """Where in ``data`` something may begin that has to be seen as a whole."""
    least = max(len(data) - _MOST_HELD, 0)
    string = data.rfind(b"\x1b]", least)
    if string >= 0 and re.search(rb"\x07|\x1b\\", data[string:]):
        string = -1
    mark = data.find(_EOL_BEGUN, max(data.rfind(b"\n"), least))
    begun = next(
        (len(data) - size for size in range(len(_EOL_BEGUN), 0, -1) if data.endswith(_EOL_BEGUN[:size])), -1
    )
    return min((at for at in (string, mark, begun) if at >= 0), default=len(data))
