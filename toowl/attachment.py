"""What a client knows about its attachment: what it has shown, what it has typed. PURE.

Messages of the session come in by `receive`, what the user types by `type`; frames for the session collect in
`outbox`, output for the terminal in `screen`. Whoever does the I/O takes from both. Everything that a later
connection needs to go on exactly here is in this object: `seq`, up to which output was received, and
`unacknowledged`, the input that may have to be sent again.

Input is for the child that was there when it was typed. If another one runs when the session is reached again,
what the old one may have got in part is discarded, and the user told: half of a command must never run.
"""

from __future__ import annotations

import enum
from collections import deque

from toowl import outcomes
from toowl.banner import byte_count
from toowl.outcomes import Outcome
from toowl.picture import Picture
from toowl.replay import QueryFilter
from toowld import errors, wire
from toowld.classes import frozen
from toowld.wire.text import unpack_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: Unacknowledged input in flight. Enough to keep a fast link busy; the session accepts 1 MiB.
INPUT_WINDOW = 256 << 10
#: One `Input`. What a connection breaks off in the middle of is sent again as a whole: with large pieces a bad one
#: would never get a paste through.
_PIECE = 4 << 10
#: Input kept for a session that takes none. Only beyond it do we stop reading the terminal, and with that
#: stop seeing the detach chord; nobody types that much, and hardly anybody pastes it.
_BACKLOG = 16 << 20
#: Input kept while the session can't be reached. More than anybody types blindly.
AWAY_LIMIT = 256 << 10


class Phase(enum.Enum):
    """``OPEN`` until one side wants to leave, ``DETACHING`` until the session knows, then ``OVER``.

    ``AWAY`` instead of ``OPEN`` while there is no connection and another one may come.
    """

    OPEN = enum.auto()
    AWAY = enum.auto()
    DETACHING = enum.auto()
    OVER = enum.auto()


@frozen
class Lost:
    """In place of output that is no longer held."""

    size: int


@frozen
class Notice:
    """Between two pieces of output: something of ours that the user must know."""

    text: str


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
        self.screen: deque[bytes | Lost | Notice | Picture] = deque()
        self.screen_bytes = 0
        self.outbox = bytearray()
        self.unacknowledged: deque[tuple[int, bytes]] = deque()
        self.refused = 0  # bytes typed while away that were too many
        self._about = dict(about)
        self.session_size = _session_size(about)
        self._sink: Callable[[bytes], None] | None = None
        self.torn = False  # output is missing: what is shown from here on may be on a wrong screen
        self._sunk = 0  # output below this is in the sink already
        self._notices: list[Notice] = []  # shown once the output has caught up, or they would scroll away
        self._live = attached.live
        self._answered = 0
        self._queries = QueryFilter()
        self._input_seq = attached.input_seq
        self._in_flight = 0
        self._typed = bytearray()
        self._lent = False  # only the session knows where the input goes on

    def paint(self, picture: Picture) -> None:
        """Show this first: the session before the output that was asked for."""
        if self.phase in _SHOWN:
            self.screen.append(picture)
            self.screen_bytes += len(picture.data)
        self._show(self._queries.feed(picture.unfinished))

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
                self.screen.extend(self._notices)
                self._notices.clear()
            case wire.InputAck(seq):
                self._acknowledged(seq)
            case wire.Resize(rows, cols):
                self.session_size = _size(rows, cols)
            case wire.Ended():
                self._over(self._ended(message))
            case wire.Detached(reason):
                self._over(self._left(reason))
            case wire.Ping(token):
                self.outbox += wire.encode(wire.Pong(token))
            case wire.Failure(_, code, text):
                raise errors.from_wire(code, text)

    def hung_up(self, *, may_return: bool = False) -> None:
        """The connection is gone. ``may_return``: another one may come."""
        if self.phase is Phase.DETACHING:
            self._over(self._left("client"))
        elif may_return and self.phase is not Phase.OVER:
            self.phase = Phase.AWAY
            self.outbox.clear()
        elif not may_return:
            self._over(outcomes.hung_up(self.name))

    def resume(self, attached: wire.Attached, *, brief: bool = False) -> None:
        """Go on over a new connection, which was asked to continue at `seq`.

        Args:
            brief: whoever asked the terminal something meanwhile still waits for the answer.
        """
        self.phase = Phase.OPEN
        self.outbox.clear()
        self._lent = False
        before, self._about = self._about, dict(attached.about)
        self.session_size = _session_size(self._about)
        same_child = _same_child(before, self._about)
        began = self._about.get("child_seq")
        if attached.seq > self.seq:
            self._gap(attached.seq)
        elif attached.seq < self.seq:
            self.screen.append(Notice("the session lost some of its scrollback; it goes on here"))
            self.seq = attached.seq
            self._queries = QueryFilter()
            self._sunk = 0
            brief = False  # what comes was printed long ago
        elif not same_child and type(began) is int and began < self.seq:
            # The log lost its end (a full disk) and was written on: these numbers meant other bytes.
            self.screen.append(Lost(self.seq - began))
        self._live = attached.live
        self._answered = self._answered_from(attached) if brief else 0
        self._resume_input(attached.input_seq, same_child)

    def _answered_from(self, attached: wire.Attached) -> int:
        """From where on the session has seen to the questions in what it printed while this terminal was away."""
        answered = attached.about.get("answered")
        return answered if type(answered) is int else attached.live  # an older one leaves all to us

    def _resume_input(self, wanted: int, same_child: bool) -> None:
        known = self._input_seq - self._in_flight <= wanted <= self._input_seq
        if same_child and known:
            if self._input_seq - self._in_flight < wanted:
                # The session has more than we know of, and its acknowledgement is lost: ask for it again.
                self.outbox += wire.encode(wire.Input(wanted, b""))
            for start, data in self.unacknowledged:
                if rest := data[max(wanted - start, 0) :]:
                    self.outbox += wire.encode(wire.Input(start + len(data) - len(rest), rest))
            self._pump()
            return
        if self.pending:
            why = "the session does not know any more what it got of it"
            if not same_child:
                why = "typed for the program that ran here before"
            self._notices.append(Notice(f"discarded {byte_count(self.pending)} of input: {why}"))
        self.unacknowledged.clear()
        self._typed.clear()
        self._in_flight = 0
        self._input_seq = wanted

    def _output(self, seq: int, data: bytes) -> None:
        if seq > self.seq:  # nothing is ever skipped silently, not even by a peer with a bug
            self._gap(seq)
        data = data[self.seq - seq :]
        seq = self.seq
        self.seq += len(data)
        if seq < self._sunk:
            data = data[self._sunk - seq :]
            seq = self.seq - len(data)
        if seq < self._answered:  # whoever asked still waits for this terminal's answer
            asked = data[: self._answered - seq]
            data = data[len(asked) :]
            seq += len(asked)
            self._show(asked)
        if data and seq < self._live:
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
        if self.phase in _SHOWN:
            if self._sink is not None:
                self._sink(_ABORT)
            self.screen.append(Lost(size))
            self.torn = True

    def divert(self, sink: Callable[[bytes], None] | None, seq: int) -> None:
        """Give output from ``seq`` on to ``sink``, and what is before that to nobody; None: show it again."""
        self._sink = sink
        self._sunk = seq
        self._queries = QueryFilter()  # the rest of what it holds back is below that

    def _show(self, data: bytes) -> None:
        if data and self._sink is not None:
            self._sink(data)
        elif data and self.phase in _SHOWN:
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

    def renew(self) -> None:
        """It is over, but the user wants to go on with a new child, once the session can be reached."""
        self.phase = Phase.AWAY
        self.outcome = None

    # -- from the user ------------------------------------------------------------------------------------

    def type(self, data: bytes) -> bool:
        """The user typed ``data``. False if it was refused, because too much waits for the session to come back."""
        if self.read_only or self.phase not in _SHOWN:
            return True
        if self.refused or (self.phase is Phase.AWAY and self.pending + len(data) > AWAY_LIMIT):
            self._refuse(data)
            return False
        self._typed += data
        if self.phase is Phase.OPEN:
            self._pump()
        return True

    def _refuse(self, data: bytes) -> None:
        """Don't take ``data``; nor the beginning of the line, or of the paste, that it belongs to."""
        typed = self._typed
        keep = max(typed.rfind(b"\r"), typed.rfind(b"\n")) + 1
        paste = typed.rfind(_PASTE_BEGINS)
        if paste > typed.rfind(_PASTE_ENDS):
            keep = min(keep, paste)
        self.refused += len(typed) - keep + len(data)
        del typed[keep:]

    def take_again(self) -> None:
        """What was refused is over: tell how much it was, and take what comes.

        To be called when the session is back and nothing more is being typed: else the rest of a paste would
        run without its beginning.
        """
        if self.refused:
            text = f"refused {byte_count(self.refused)} that were typed while the session was away: too much"
            self.screen.append(Notice(text))
            self.refused = 0

    # -- while the terminal is lent -----------------------------------------------------------------------

    @property
    def log_folder(self) -> str | None:
        """Where the session's log is, if it takes terminals of its clients; None if it does not."""
        folder = unpack_text(self._about.get("lend"))
        return folder if isinstance(folder, str) and not self.read_only else None

    @property
    def settled(self) -> bool:
        """Whether all that came is shown, and all that was typed has arrived."""
        return (
            self.phase is Phase.OPEN
            and self.seq >= self._live
            and not (self.screen or self._notices or self.pending or self.refused or self.outbox)
        )

    @property
    def input_seq(self) -> int:
        """The offset of the next byte that is typed."""
        return self._input_seq

    def lend(self) -> None:
        """The session may have the terminal from now on. What is typed here waits until `resume_after_loan`."""
        self._lent = True

    def follow_loan(self, seq: int, input_seq: int) -> None:
        """As far as is known, output below ``seq`` is on the terminal, and input below ``input_seq`` was taken."""
        self.seq = max(self.seq, seq)
        self._input_seq = max(self._input_seq, input_seq)

    def resume_after_loan(self, seq: int, input_seq: int) -> None:
        """The session has said that it has the terminal no more, and where all goes on."""
        self.follow_loan(seq, input_seq)
        self._lent = False
        self._pump()

    def discard(self, count: int) -> None:
        """The session read ``count`` bytes from the terminal, and gives them back too late."""
        why = "the session had read it, and hung"
        self.screen.append(Notice(f"discarded {byte_count(count)} of input: {why}"))

    @property
    def pending(self) -> int:
        """Bytes typed that the session has not acknowledged."""
        return self._in_flight + len(self._typed)

    @property
    def room(self) -> int:
        """How much may be typed now without being refused."""
        if self.phase is Phase.AWAY:
            return 0 if self.refused else max(AWAY_LIMIT - self.pending, 0)
        return max(_BACKLOG - len(self._typed), 0)

    @property
    def takes_input(self) -> bool:
        """Whether there is room for what is typed."""
        return self.room > 0

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
        elif self.phase is Phase.AWAY:
            self.leave()

    def leave(self, status: int = 0) -> None:
        """Don't wait for the session's answer any longer."""
        left = self._left("client")
        self._over(Outcome(status, left.message))

    def _left(self, reason: str) -> Outcome:
        lacking = ""
        if self.phase is Phase.AWAY and self.pending:
            lacking = f"{byte_count(self.pending)} of input may not have arrived"
        elif self._typed:
            lacking = f"{byte_count(len(self._typed))} of input were not taken"
        return outcomes.detached(self.name, reason, lacking)

    def _pump(self) -> None:
        """Send as much input as may be in flight."""
        while self._typed and not self._lent and (room := INPUT_WINDOW - self._in_flight) > 0:
            piece = bytes(self._typed[: min(room, _PIECE)])
            del self._typed[: len(piece)]
            self.unacknowledged.append((self._input_seq, piece))
            self.outbox += wire.encode(wire.Input(self._input_seq, piece))
            self._input_seq += len(piece)
            self._in_flight += len(piece)

    def _ended(self, end: wire.Ended) -> Outcome:
        # Where the session was found ended there was no `Live` to show them after.
        notices = "".join(f"\r\n[{notice.text}]" for notice in self._notices)
        return outcomes.program_ended(self.name, end, self._about, notices)


def _same_child(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether two `Attached.about` are about one child.

    By where its output began and by its pid: a child that printed nothing is followed by one that begins at the
    same place, and a pid is used again some day. An older custodian tells only the pid.
    """
    one, other = before.get("child_seq"), after.get("child_seq")
    return before.get("pid") == after.get("pid") and (one is None or other is None or one == other)


def _session_size(about: Mapping[str, Any]) -> wire.Size | None:
    """How large the session is; None from one of an older version, which does not tell when that changes."""
    if about.get("tells_size") is not True:
        return None
    return _size(about.get("rows"), about.get("cols"))


def _size(rows: object, cols: object) -> wire.Size | None:
    try:
        return wire.Size(rows=rows, cols=cols) if type(rows) is int and type(cols) is int else None
    except ValueError:
        return None


#: Ends any sequence whose rest will never come.
_ABORT = b"\x18\x1b\\"
_SHOWN = (Phase.OPEN, Phase.AWAY)
#: Bracketed paste, as the terminal types it.
_PASTE_BEGINS, _PASTE_ENDS = b"\x1b[200~", b"\x1b[201~"
