"""What a client knows about its attachment: what it has shown, what it has typed. PURE.

Messages of the session come in by `receive`, what the user types by `type`; frames for the session collect in
`outbox`, output for the terminal in `screen`. Whoever does the I/O takes from both. Everything that a later
connection needs to go on exactly here is in this object: `seq`, up to which output was received, and
`unacknowledged`, the input that may have to be sent again.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass

from toowl.replay import QueryFilter
from toowld import errors, wire

#: Unacknowledged input in flight. Enough to keep a fast link busy; the session accepts 1 MiB.
INPUT_WINDOW = 256 << 10
#: One `Input`.
_PIECE = 64 << 10
#: Input kept for a session that takes none. Only beyond it do we stop reading the terminal, and with that
#: stop seeing the detach chord; nobody types that much, and hardly anybody pastes it.
_BACKLOG = 16 << 20


class Phase(enum.Enum):
    """``OPEN`` until one side wants to leave, ``DETACHING`` until the session knows, then ``OVER``."""

    OPEN = enum.auto()
    DETACHING = enum.auto()
    OVER = enum.auto()


@dataclass(frozen=True, slots=True)
class Lost:
    """In place of output that is no longer held."""

    size: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an attachment ended: what to tell the user, and the exit status; or an error instead."""

    status: int
    message: str = ""
    error: errors.ToowlError | None = None


class Attachment:
    """One client's bond to one session."""

    def __init__(self, attached: wire.Attached, *, session: str, read_only: bool = False) -> None:
        """``session``: what the user called it, in case that the session has no name."""
        about = attached.about
        name = str(about.get("name") or about.get("id") or session)
        self.name = "".join(char if char.isprintable() else "?" for char in name)
        self.read_only = read_only or about.get("read_only") is True
        self.phase = Phase.OPEN
        self.outcome: Outcome | None = None
        self.seq = attached.seq
        self.screen: deque[bytes | Lost] = deque()
        self.screen_bytes = 0
        self.outbox = bytearray()
        self.unacknowledged: deque[tuple[int, bytes]] = deque()
        self._live = attached.live
        self._queries = QueryFilter()
        self._input_seq = attached.input_seq
        self._in_flight = 0
        self._typed = bytearray()

    # -- from the session ---------------------------------------------------------------------------------

    def receive(self, message: wire.Message) -> None:
        """Take one message of the session.

        Raises:
            ToowlError: the session reports one.
        """
        match message:
            case wire.Output(seq, data):
                self._output(seq, data)
            case wire.Gap(_, end):
                self._gap(end)
            case wire.Live():
                self._show(self._queries.flush())
            case wire.InputAck(seq):
                self._acknowledged(seq)
            case wire.Ended():
                self._over(_ending(self.name, message))
            case wire.Detached(reason):
                self._over(self._left(reason))
            case wire.Ping(token):
                self.outbox += wire.encode(wire.Pong(token))
            case wire.Failure(_, code, text):
                raise errors.from_wire(code, text)

    def hung_up(self) -> None:
        """The connection is gone."""
        if self.phase is Phase.DETACHING:
            self._over(self._left("client"))
        else:
            text = (
                f"lost the connection to session {self.name}: see `toowl ls`, then `toowl attach {self.name}`"
            )
            self._over(Outcome(1, error=errors.CustodianLost(text)))

    def _output(self, seq: int, data: bytes) -> None:
        if seq > self.seq:  # nothing is ever skipped silently, not even by a peer with a bug
            self._gap(seq)
        data = data[self.seq - seq :]
        seq = self.seq
        self.seq += len(data)
        if seq < self._live:
            replayed = data[: self._live - seq]
            data = data[len(replayed) :]
            self._show(self._queries.feed(replayed))
            if self.seq >= self._live:
                self._show(self._queries.flush())
        self._show(data)

    def _gap(self, end: int) -> None:
        size = end - self.seq
        if size <= 0:
            return
        self._queries = QueryFilter()  # the rest of what it holds back will never come
        self.seq = end
        if self.phase is Phase.OPEN:
            self.screen.append(Lost(size))

    def _show(self, data: bytes) -> None:
        if data and self.phase is Phase.OPEN:
            self.screen.append(data)
            self.screen_bytes += len(data)

    def _acknowledged(self, seq: int) -> None:
        waiting = self.unacknowledged
        while waiting and waiting[0][0] < seq:
            start, data = waiting.popleft()
            rest = data[seq - start :]
            self._in_flight -= len(data) - len(rest)
            if rest:
                waiting.appendleft((seq, rest))
        self._pump()

    def _over(self, outcome: Outcome) -> None:
        if self.phase is not Phase.OVER:
            self.phase = Phase.OVER
            self.outcome = outcome

    # -- from the user ------------------------------------------------------------------------------------

    def type(self, data: bytes) -> None:
        """The user typed ``data``."""
        if self.phase is Phase.OPEN and not self.read_only:
            self._typed += data
            self._pump()

    @property
    def takes_input(self) -> bool:
        """Whether the terminal should be read."""
        return len(self._typed) < _BACKLOG

    def resize(self, size: wire.Size) -> None:
        """The user's terminal has this size now."""
        if self.phase is Phase.OPEN:
            self.outbox += wire.encode(wire.Resize(rows=size.rows, cols=size.cols))

    def detach(self) -> None:
        """The user wants to leave. Nothing more is shown; `outcome` stands once the session has answered."""
        if self.phase is Phase.OPEN:
            self.phase = Phase.DETACHING
            self.screen.clear()
            self.screen_bytes = 0
            self.outbox += wire.encode(wire.Detach())

    def leave(self, status: int = 0) -> None:
        """Don't wait for the session's answer any longer."""
        left = self._left("client")
        self._over(Outcome(status, left.message))

    def _left(self, reason: str) -> Outcome:
        if reason == "protocol":
            text = f"session {self.name} ended this attachment for a breach of protocol: attach again"
            return Outcome(1, error=errors.LocalProtocolError(text))
        why = "" if reason in ("client", "requested") else f": {reason}"
        if self._typed:
            why += f"; {len(self._typed)} bytes of input were not taken"
        return Outcome(0, f"[detached from {self.name}{why}]")

    def _pump(self) -> None:
        """Send as much input as may be in flight."""
        while self._typed and (room := INPUT_WINDOW - self._in_flight) > 0:
            piece = bytes(self._typed[: min(room, _PIECE)])
            del self._typed[: len(piece)]
            self.unacknowledged.append((self._input_seq, piece))
            self.outbox += wire.encode(wire.Input(self._input_seq, piece))
            self._input_seq += len(piece)
            self._in_flight += len(piece)


def _ending(name: str, ended: wire.Ended) -> Outcome:
    if ended.reason == "lost":
        return Outcome(1, f"[{name} lost: its custodian is gone]")
    if ended.signal is not None:
        return Outcome(128 + ended.signal, f"[{name} killed by signal {ended.signal}]")
    if ended.code is not None:
        return Outcome(ended.code, f"[{name} exited with status {ended.code}]")
    return Outcome(0 if ended.reason == "exited" else 1, f"[{name} {ended.reason}]")
