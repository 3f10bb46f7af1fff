"""A command in the shell of a session: typed at its prompt, followed to its end. PURE.

What is typed, and what of the output is the command's, `toowl.execution` knows. As output is numbered, it is typed
first, and what is printed is read from the place on that was noted before: nothing is missed in between.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toowl.api.plans import PAGE, RECORD_OUTPUT, Dial, Give, Line, Now, Output, Pause, Peek, Plan, Turn
from toowl.api.values import Ended, Executed, Lost, Piece
from toowl.execution import (
    CLEAR,
    CLEAR_KERNEL,
    EDITORS,
    FAMILIES,
    INTERRUPT,
    KERNEL_LINE,
    Extract,
    Text,
    line,
)
from toowld.errors import RefusedError, UsageError

if TYPE_CHECKING:
    from toowl.foreground import Foreground

#: A shell that was just started, or has just done something, gets as long to come to its prompt (seconds).
_GRACE = 3.0
_LOOK_EVERY = 0.05

#: After so much silence it is looked whether the shell is back at its prompt, as after Ctrl-C (seconds).
_SILENCE = 1.0

#: A prompt that was printed so long ago is all there (seconds).
_SETTLED = 0.2

#: Marks are looked for in so much of the end of the output: no prompt is as long (bytes).
_TAIL = 32 << 10

#: Exit statuses: as timeout(1) has it; and as a shell has it of what Ctrl-C ended.
_TIMED_OUT, _INTERRUPTED = 124, 130


class Execution:
    """One command in one session.

    Args:
        unique: 1 to 50 letters and digits that nobody else has.
        timeout: seconds; None: no limit.
        force: type it, even if the shell does not seem to be at its prompt.
        own: the id of the session that we are in.
        kept: where the output goes in place of being given.

    Attributes:
        label: what a user calls the session.
        cols: how wide its terminal is, as soon as that is known.
        typed: whether anything was.
        begun: whether the command runs, or has run.
        status: its exit status; 124 where it was not done in time (`timed_out`), as timeout(1) has it.
        told: whether its shell told that; else it only came back to its prompt.
    """

    def __init__(
        self,
        session: str,
        command: str,
        unique: str,
        *,
        timeout: float | None,
        force: bool,
        own: str | None,
        kept: bytearray | None = None,
    ) -> None:
        if not command.strip():
            raise UsageError("which command? such as: git status")
        if "\0" in command:
            raise UsageError("a command can't hold NUL: leave it out")
        self.label = session
        self.cols: int | None = None
        self.typed = self.begun = False
        self.status: int | None = None
        self.told = True
        self.timed_out = False
        self._session = session
        self._command = command
        self._unique = unique
        self._timeout = timeout
        self._force = force
        self._own = own
        self._kept = kept
        self._until: float | None = None
        self._line = Line()
        self._info: Mapping[str, Any] = {}

    def plan(self) -> Plan[None]:
        """Give the command's output (bytes), and `Lost`, to its end.

        Raises:
            RefusedError: it can't be typed there, or was not run. SessionNotFound: there is no such session.
        """
        if self._timeout is not None:
            self._until = (yield Now()) + self._timeout
        yield from self._look()
        if self._info["id"] == self._own:
            raise RefusedError(
                f'session "{self.label}": you are inside it, so its shell is not at its prompt: '
                "run the command itself"
            )
        while not (yield Turn(str(self._info["id"]))):
            if (yield from self._is_late()):
                raise RefusedError(
                    f'session "{self.label}": another toowl exec runs there: try again, or give it more time'
                )
            yield Pause(_LOOK_EVERY)
        status = yield from self._attempt(first=True)
        if status is None:
            yield from self._interrupt()
            status = yield from self._attempt(first=False)
        if status is None:
            raise RefusedError(
                f'session "{self.label}": its shell waits for more, and did not run that: see `toowl capture`'
            )
        self.status = status & 0xFF

    def _attempt(self, *, first: bool) -> Plan[int | None]:
        """Type it, and follow it to its end; None: it did not begin, as the shell waits for the rest of another."""
        unique = ("a" if first else "b") + self._unique
        there = yield from self._prompt()
        doing = self._info.get("prompt")
        # While a command of a shell that makes marks runs, that may be a shell without.
        marked = doing == "prompt" or (doing == "command" and there.name not in FAMILIES)
        family = FAMILIES.get(there.name or "")
        # fish draws its prompt anew while it is typed at, marks and all: there nothing tells.
        telling = first and doing == "prompt" and family != "fish" and not self._force
        if telling and Extract.continues((yield from self._tail())):
            return None  # quotes in what we type might end one that is open there
        word = None if marked else unique[:13]
        typed = line(self._command, family if marked else family or "sh", word)
        edited = marked or there.name in EDITORS
        if not edited and len(typed) > KERNEL_LINE:
            raise RefusedError(
                f'session "{self.label}": its shell reads lines of {KERNEL_LINE} bytes at most: put it into a script'
            )
        clear = b"" if self._force else CLEAR if edited else CLEAR_KERNEL
        output = Output(str(self._info["id"]), int(self._info["seq"]), unique)
        yield from self._type(clear + typed + b"\r")
        self.typed = True
        return (yield from self._follow(output, Extract(word, at_prompt=not self._force), word is None))

    # --- before -----------------------------------------------------------------------------------------

    def _look(self) -> Plan[None]:
        """Ask how the session is."""
        yield Dial()
        self._info = yield from self._line.ask("info", session=self._session)
        self.cols = self._info.get("cols")
        self.label = str(self._info.get("name") or self._info["id"])

    def _type(self, data: bytes) -> Plan[None]:
        yield Dial()
        yield from self._line.ask("send", session=self._info["id"], data=data)

    def _is_late(self) -> Plan[bool]:
        return self._until is not None and (yield Now()) >= self._until

    def _prompt(self) -> Plan[Foreground]:
        """Wait a moment for the shell to be at its prompt.

        Raises:
            RefusedError: it is not.
        """
        until = (yield Now()) + _GRACE
        while True:
            yield from self._look()
            if self._info.get("state") == "unreachable":
                raise RefusedError(
                    f'session "{self.label}" does not answer: `toowl reconnect {self.label}` tells more'
                )
            if self._info.get("state") != "running":
                raise RefusedError(
                    f'session "{self.label}" is not running: `toowl attach {self.label}` starts it again'
                )
            there: Foreground = yield Peek(int(self._info.get("pid") or 0))
            obstacle = yield from self._obstacle(there)
            if obstacle is None or self._force:
                return there
            if (yield Now()) >= until or (yield from self._is_late()):
                raise RefusedError(
                    f'session "{self.label}": {obstacle}: wait, look with `toowl capture`, or say --force'
                )
            yield Pause(_LOOK_EVERY)

    def _obstacle(self, there: Foreground) -> Plan[str | None]:
        """Why nothing can be typed into that shell now."""
        match self._info.get("prompt"):
            case "prompt":
                ready = Extract.waits((yield from self._tail()))
                return None if ready else "its shell is not yet at its prompt"
            case "command" if there.pid == self._info.get("pid") or not _prompts(there):
                return "a command runs there"
        if there.name is None:
            return "nobody knows what runs there"
        if there.name not in FAMILIES:
            return f"{there.name} runs there, no shell"
        if there.name in EDITORS and there.edits is False:
            return f"its {there.name} is not at its prompt"
        return None

    def _tail(self) -> Plan[bytes]:
        """The last of what was printed."""
        seq: int | None = max(int(self._info["seq"]) - _TAIL, 0)
        found = b""
        while seq is not None:
            page = yield from self._line.ask("read_log", session=self._info["id"], seq=seq, limit=PAGE)
            found += b"".join(payload for kind, _, _, _, payload in page["records"] if kind == RECORD_OUTPUT)
            seq = None if page["next"] == seq else page["next"]
        return found

    def _interrupt(self) -> Plan[None]:
        """Take away a command of several lines that somebody has begun, and what was typed into it: with Ctrl-C."""
        yield from self._look()
        before = self._info["seq"]
        yield from self._type(INTERRUPT)
        until = (yield Now()) + _GRACE
        while (yield Now()) < until:
            yield from self._look()
            if self._info["seq"] > before and (self._info.get("quiet") or 0.0) >= _SETTLED:
                break
            yield Pause(_LOOK_EVERY)

    # --- meanwhile --------------------------------------------------------------------------------------

    def _follow(self, output: Output, extract: Extract, marked: bool) -> Plan[int | None]:
        """Give what it prints; the exit status, None if it did not begin."""
        while True:
            until = (yield Now()) + _SILENCE
            if self._until is not None:
                until = min(until, self._until)
            item = yield from output.next(until)
            if isinstance(item, Piece):
                yield from self._give(extract.feed(item.data))
                self.begun = extract.begun
                if extract.over:
                    return self._over(extract)
            elif isinstance(item, Lost):
                yield Give(item)
            elif isinstance(item, Ended):
                yield from self._give(extract.rest())
                return item.status
            elif (yield from self._is_late()):
                yield from self._give(extract.rest())
                self.timed_out = True
                return _TIMED_OUT
            elif (yield Now()) >= until and _prompts((yield Peek(int(self._info.get("pid") or 0)))):
                if not extract.begun and not self._force:
                    return None
                if extract.begun and not marked:  # somebody may have stopped it
                    yield from self._give(extract.rest())
                    return _INTERRUPTED

    def _give(self, data: bytes) -> Plan[None]:
        if self._kept is not None:
            self._kept += data
        elif data:
            yield Give(data)

    def _over(self, extract: Extract) -> int:
        if not extract.begun:
            said = " ".join(Text(None).feed(extract.words + b"\n").decode(errors="replace").split())
            raise RefusedError(
                f'session "{self.label}": its shell did not run that{f" ({said})" if said else ""}'
            )
        self.told = extract.status is not None
        return 1 if extract.status is None else extract.status


def _prompts(there: Foreground) -> bool:
    """Whether that is surely a shell at its prompt."""
    return bool(there.edits) if there.name in EDITORS else there.name in FAMILIES and there.reads_lines


def execute(session: str, command: str, unique: str, **how: Any) -> Plan[Executed]:
    """All of it at once, the output as text. Arguments as of `Execution`."""
    kept = bytearray()
    execution = Execution(session, command, unique, kept=kept, **how)
    yield from execution.plan()
    assert execution.status is not None
    text = Text(execution.cols)
    output = (text.feed(bytes(kept)) + text.finish()).decode("utf-8", "replace")
    return Executed(output, execution.status, timed_out=execution.timed_out)
