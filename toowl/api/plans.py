"""What is asked of the daemon and of sessions, step by step. PURE.

A plan is a generator: it yields a step, gets what came of it (or the error), and returns the result. Whoever carries
it out decides whether that blocks (`toowl.api.sync`) or not (`toowl.api.aio`). Each plan has a connection of its own,
which it makes with `Dial`; so several can go on at once, and each survives a restart of the daemon by itself.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar

from toowl.api.values import Completed, Ended, Happened, Lost, Piece, Screen, Session
from toowld import wire
from toowld.classes import frozen
from toowld.errors import (
    AttachRefused,
    CustodianError,
    DaemonUnreachable,
    RefusedError,
    SessionNotFound,
    from_wire,
)
from toowld.log.text import TextLines

#: How long an answer may take (seconds).
ANSWER = 10.0
#: Pause between two attempts to reach a daemon that is gone (seconds).
RETRY = 0.2
#: Of a log so much is read at once (bytes), and what its records are (docs/protocol.md).
PAGE, RECORD_OUTPUT, _RECORD_RESIZE = 256 << 10, 1, 2


@frozen
class Dial:
    """Hang up, and connect: to the daemon, or where none answers to the custodian of ``session`` (an id)."""

    session: str | None = None


@frozen
class Post:
    """Send a request. Brings its id."""

    method: str
    params: Mapping[str, Any]


@frozen
class Hear:
    """Wait for the next message, up to a moment. Brings it, or None."""

    until: float | None


@frozen
class Pause:
    """Wait (seconds)."""

    seconds: float


@frozen
class Now:
    """Brings the monotonic time (seconds)."""


@frozen
class Look:
    """Make a model of a session's screen from its log (`toowl.history`), with or without a daemon.

    Brings it: `Followed`.
    """

    session: str


@frozen
class Peek:
    """Ask the kernel who has the terminal of the session whose child is ``pid``. Brings it: `Foreground`."""

    pid: int


@frozen
class Turn:
    """Try to be the one that has the shell of a session (an id) run a command, to the end of this plan.

    Brings whether we are.
    """

    session: str


@frozen
class Give:
    """Hand an item to whoever iterates over this plan."""

    item: Any


Step = Dial | Post | Hear | Pause | Now | Look | Peek | Turn | Give
_T = TypeVar("_T")
Plan = Generator[Step, Any, _T]


class Line:
    """Questions and answers on the plan's connection; events that come in between are kept."""

    def __init__(self) -> None:
        self.heard: deque[wire.Event] = deque()

    def ask(self, method: str, /, timeout: float | None = ANSWER, **params: Any) -> Plan[dict[str, Any]]:
        """Ask, and wait for the answer.

        Raises:
            ToowlError: the one that the answer names. DaemonUnreachable: none came.
        """
        number = yield Post(method, params)
        until = None if timeout is None else (yield Now()) + timeout
        while True:
            message = yield Hear(until)
            match message:
                case None:
                    raise DaemonUnreachable("toowld does not answer: see `toowld doctor`")
                case wire.Response(id, result) if id == number:
                    return dict(result)
                case wire.Failure(id, code, text) if id in (number, 0):
                    raise from_wire(code, text)
                case wire.Event():
                    self.heard.append(message)

    def next_event(self, until: float | None) -> Plan[wire.Event | None]:
        """The next event; None when the time is over."""
        while not self.heard:
            message = yield Hear(until)
            if message is None:
                return None
            if isinstance(message, wire.Event):
                return message
        return self.heard.popleft()


def ask(method: str, /, timeout: float | None = ANSWER, **params: Any) -> Plan[dict[str, Any]]:
    """One question, on a connection of its own."""
    yield Dial()
    return (yield from Line().ask(method, timeout, **params))


def sessions() -> Plan[list[Session]]:
    """All of them, last active first."""
    answer = yield from ask("list")
    return [Session.of(info) for info in answer["sessions"]]


def session(method: str, /, **params: Any) -> Plan[Session]:
    """A question whose answer is a session."""
    return Session.of((yield from ask(method, 60.0, **params)))


def kill(name: str, force: bool) -> Plan[Session]:
    """End its program, and wait for that."""
    return Session.of((yield from ask("kill", 60.0, session=name, force=force)))


# --- events ---------------------------------------------------------------------------------------------


class Events:
    """A subscription that goes on when the daemon is another one."""

    def __init__(
        self,
        sessions: Sequence[str] | None = None,
        names: Sequence[str] | None = None,
        since: int | None = None,
        run: str | None = None,
        *,
        idle: float | None = None,
        input: bool = False,
    ) -> None:
        self.line = Line()
        self._params: dict[str, Any] = {
            "sessions": None if sessions is None else list(sessions),
            "names": None if names is None else list(names),
            "idle": idle,
            "input": input,
        }
        self._since, self._run = since, run

    def open(self) -> Plan[None]:
        """Subscribe."""
        yield Dial()
        self.line.heard.clear()
        answer = yield from self.line.ask("subscribe", **self._params, since=self._since, run=self._run)
        if self._since is None:
            self._since, self._run = answer["number"], answer["run"]

    def again(self, until: float | None) -> Plan[bool]:
        """Subscribe anew, as soon as a daemon is there; whether one was in time."""
        while until is None or (yield Now()) < until:
            try:
                yield from self.open()
            except DaemonUnreachable:
                yield Pause(RETRY)
            else:
                return True
        return False

    def next(self, until: float | None) -> Plan[Happened | None]:
        """The next event; None when the time is over."""
        while True:
            try:
                event = yield from self.line.next_event(until)
            except DaemonUnreachable:
                if not (yield from self.again(until)):
                    return None
                continue
            return None if event is None else self._taken(event)

    def _taken(self, event: wire.Event) -> Happened:
        data = dict(event.data)
        self._run, self._since = data.pop("run"), data.pop("number")
        at, session, name, version = (data.pop(key, None) for key in ("at", "session", "name", "version"))
        return Happened(event.name, str(self._run), int(self._since or 0), at, session, name, version, data)


def events(
    sessions: Sequence[str] | None,
    names: Sequence[str] | None,
    since: int | None,
    run: str | None,
    *,
    idle: float | None,
    input: bool,
) -> Plan[None]:
    """Give events, for ever."""
    stream = Events(sessions, names, since, run, idle=idle, input=input)
    yield from stream.open()
    while True:
        yield Give((yield from stream.next(None)))


# --- output ---------------------------------------------------------------------------------------------


class Output:
    """A session's output from some place on, each byte once, whatever becomes of the connection.

    Args:
        seq: of the first byte that is wanted; 0: all that is held.
        client_id: 1 to 64 characters, unique.
        lead: hold the program back while we do not keep up, as a terminal does. Else what we miss may be lost.

    Attributes:
        size: of the session's terminal now; None as long as it was not told.
    """

    def __init__(self, session_id: str, seq: int, client_id: str, *, lead: bool = False) -> None:
        self.seq = seq
        self.live = False
        self.size: wire.Size | None = None
        self._reached = False
        self._id = session_id
        self._client_id = client_id
        self._lead = lead
        self._request: int | None = None

    def next(self, until: float | None) -> Plan[Piece | Lost | Ended | None]:
        """The next piece; None when the time is over, and once, where `live` is true then, at the present end.

        Raises:
            SessionNotFound: it was forgotten. RefusedError: somebody detached us.
        """
        while True:
            try:
                if self._request is None:
                    yield from self._attach()
                message = yield Hear(until)
            except (DaemonUnreachable, CustodianError, AttachRefused) as error:
                self._request = None
                if until is not None and (yield Now()) >= until:
                    return None
                if not self._reached and isinstance(error, DaemonUnreachable):
                    raise
                yield Pause(RETRY)
                continue
            match message:
                case None:
                    return None
                case wire.Output(seq, data) if seq + len(data) > self.seq:
                    piece = Piece(max(seq, self.seq), data[max(self.seq - seq, 0) :])
                    self.seq = piece.end
                    return piece
                case wire.Gap(start, end) if end > self.seq:
                    lost = Lost(max(start, self.seq), end)
                    self.seq = end
                    return lost
                case wire.Attached(seq, about=about):
                    self.size = _size(about)
                    self._reached = True
                    self.seq = min(self.seq, seq)  # less: the session lost what we have seen
                case wire.Resize(rows, cols):
                    self.size = wire.Size(rows=rows, cols=cols)
                case wire.Live() if not self.live:
                    self.live = True
                    return None
                case wire.Ended(seq, reason, code, signal):
                    return Ended(seq, reason, code, signal)
                case wire.Detached(reason):
                    raise RefusedError(f"session {self._id}: following its output was ended: {reason}")
                case wire.Failure(id, code, text) if id in (self._request, 0):
                    self._request = None
                    refusal = from_wire(code, text)
                    if not isinstance(refusal, CustodianError | AttachRefused):
                        raise refusal
                    yield Pause(RETRY)

    def _attach(self) -> Plan[None]:
        yield Dial(self._id)
        self._request = yield Post(
            "attach",
            {
                "session": self._id,
                "client_id": self._client_id,
                "read_only": not self._lead,
                "from_seq": self.seq,
                "respawn": False,
            },
        )


def _size(about: Mapping[str, Any]) -> wire.Size | None:
    try:
        return wire.Size(rows=about["rows"], cols=about["cols"])
    except (LookupError, TypeError, ValueError):
        return None


def read(name: str, seq: int, client_id: str, follow: bool) -> Plan[None]:
    """Give the output of a session; with ``follow`` until its program ends, and how that was."""
    info = yield from ask("info", session=name)
    output = Output(info["id"], seq, client_id)
    while True:
        item = yield from output.next(None)
        if item is None:
            if not follow:
                return
        elif isinstance(item, Ended) and not follow:
            return
        else:
            yield Give(item)
            if isinstance(item, Ended):
                return


def run(params: Mapping[str, Any], client_id: str) -> Plan[Completed]:
    """Run a command in a new session to its end."""
    yield Dial()
    info = yield from Line().ask("new", 60.0, **params)
    output = Output(info["id"], 0, client_id, lead=True)
    pieces = []
    while True:
        item = yield from output.next(None)
        if isinstance(item, Piece):
            pieces.append(item.data)
        elif isinstance(item, Ended):
            break
    with suppress(SessionNotFound):  # it may be forgotten at once, as its settings say
        info = yield from ask("info", session=info["id"])
    return Completed(Session.of(info), b"".join(pieces), item)


# --- text -----------------------------------------------------------------------------------------------


def capture(name: str, count: int | None) -> Plan[str]:
    """What a session printed, as text; the last ``count`` lines of it."""
    yield Dial()
    line = Line()
    info = yield from line.ask("info", session=name)
    text = TextLines(info.get("cols"))
    lines: deque[str] = deque(maxlen=count)
    seq: int | None = 0
    at = 0
    while seq is not None:
        page = yield from line.ask("read_log", session=info["id"], seq=seq, limit=PAGE)
        for kind, start, _, _, payload in page["records"]:
            if kind == RECORD_OUTPUT and start >= at:
                lines.extend(text.feed(payload))
                at = start + len(payload)
            elif kind == _RECORD_RESIZE and len(payload) == 4:
                text.resize(int.from_bytes(payload[2:], "big"))
        seq = None if page["next"] == seq else page["next"]
    lines.extend(text.finish())
    return "".join(f"{line}\n" for line in lines)


def screen(name: str) -> Plan[Screen]:
    """What a session shows."""
    followed = yield Look(name)
    return Screen.of(followed.model.state(history=0), followed.seq)
