"""What the clients give: sessions, events, pieces of output, screens, how a wait ended. PURE."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toowld.classes import field, frozen

if TYPE_CHECKING:
    from toowld.screen.state import Terminal
    from toowld.wire import Size


@frozen
class Session:
    """A session, as it was when it was asked for.

    Attributes:
        state: "awaiting", "starting", "running", "unreachable" or "ended"; ``display`` is what people are shown.
        seq: the end of its output, as an offset in all that it ever printed.
        info: all that the daemon tells of it (INFO, in docs/protocol.md).
    """

    id: str
    name: str | None
    state: str
    display: str
    tags: Mapping[str, str]
    command: str
    cwd: str
    clients: int
    seq: int
    exit_code: int | None
    exit_signal: int | None
    info: Mapping[str, Any]

    @classmethod
    def of(cls, info: Mapping[str, Any]) -> Session:
        """From the daemon's answer; an older one tells less."""
        return cls(
            id=info["id"],
            name=info.get("name"),
            state=info["state"],
            display=info["display"],
            tags=info.get("tags") or {},
            command=_text(info.get("command")),
            cwd=_text(info.get("cwd")),
            clients=info.get("clients", 0),
            seq=info.get("seq", 0),
            exit_code=info.get("exit_code"),
            exit_signal=info.get("exit_signal"),
            info=info,
        )

    @property
    def running(self) -> bool:
        """Whether its program runs, as far as is known."""
        return self.state in ("starting", "running", "unreachable")


def _text(value: Any) -> str:
    """Text that may not be UTF-8."""
    return value.decode("utf-8", "surrogateescape") if isinstance(value, bytes) else str(value or "")


@frozen
class Happened:
    """An event (docs/protocol.md lists them).

    Attributes:
        event: its name; "missed" stands for ``data["count"]`` events that can't be had any more (None: nobody knows).
        run, number: where it stands; give both as ``run`` and ``since`` to go on behind it.
        at: seconds since the epoch; ``session``: its id, ``name``: its name; ``version``: of its record, never sinks.
    """

    event: str
    run: str
    number: int
    at: float | None = None
    session: str | None = None
    name: str | None = None
    version: int | None = None
    data: Mapping[str, Any] = field(factory=dict)


@frozen
class Piece:
    """Output, as it was printed. ``seq``: the offset of its first byte in all of the session's output."""

    seq: int
    data: bytes

    @property
    def end(self) -> int:
        """The seq behind it."""
        return self.seq + len(self.data)


@frozen
class Lost:
    """Output from ``seq`` up to ``end`` that is not held any more."""

    seq: int
    end: int


@frozen
class Ended:
    """The program is gone. ``reason``: "exited", "lost" or "failed"; ``seq``: the end of its output."""

    seq: int
    reason: str
    code: int | None
    signal: int | None

    @property
    def status(self) -> int:
        """As a shell tells it: the exit code, or 128 and the signal; 1 where nobody knows."""
        if self.signal is not None:
            return 128 + self.signal
        return 1 if self.code is None else self.code


@frozen
class Screen:
    """What a session shows, as text, as `toowl capture` prints it.

    Attributes:
        lines: one for each row, without blanks at its end.
        cursor: row and column, from 0; ``cursor_visible``: whether the program shows it.
        size: of the terminal.
        alternate: whether it is the alternate screen, as full-screen programs use it.
        title: that the program gave its terminal, as it is: it may hold anything.
        seq: the end of the output that made it so.
    """

    lines: tuple[str, ...]
    cursor: tuple[int, int]
    cursor_visible: bool
    size: Size
    alternate: bool
    title: str
    seq: int

    @classmethod
    def of(cls, terminal: Terminal, seq: int) -> Screen:
        """From the state of a model."""
        cursor = terminal.grid.cursor
        return cls(
            lines=tuple(row.text.rstrip() for row in terminal.grid.rows),
            cursor=(cursor.y, cursor.x),
            cursor_visible=terminal.modes.get(25, True),
            size=terminal.size,
            alternate=terminal.alternate is not None,
            title=terminal.title.decode("utf-8", "replace"),
            seq=seq,
        )

    @property
    def text(self) -> str:
        """All lines, each with a newline, without the empty ones at the end."""
        shown = "\n".join(self.lines).rstrip("\n")
        return f"{shown}\n" if shown else ""


@frozen
class Waited:
    """How a wait ended; true if what was waited for came.

    Attributes:
        reason: "met", "timeout", or "ended": the program ended before.
        ended: how, if it did.
        line: the line that matched.
        seq: the end of the output that was looked at.
    """

    reason: str
    ended: Ended | None = None
    line: str | None = None
    seq: int | None = None

    def __bool__(self) -> bool:
        return self.reason == "met"


@frozen
class Completed:
    """A command that was run in a session, with all that it printed and is still held."""

    session: Session
    output: bytes
    ended: Ended

    @property
    def status(self) -> int:
        """See `Ended.status`."""
        return self.ended.status


@frozen
class Executed:
    """A command that a session's shell was made to run.

    Attributes:
        output: what it printed, as text.
        status: its exit status; 124 where it was not done in time (``timed_out``), and goes on.
    """

    output: str
    status: int
    timed_out: bool = False
