"""A driver in memory: a child, a log with a limit, connections of any slowness, and a clock that is told.

It does what `toowld.host.driver` does, in the same order (what the engine's effects bring about comes back as
events in a queue), and checks at every step what holds between the engine and the world.
"""

from __future__ import annotations

import copy
import signal
from collections import deque
from dataclasses import dataclass, field

import cbor2

from toowld.session import Session, SessionState, SizePolicy
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.feeding import REPLAY_PIECE
from toowld.session.flow import MAX_ALLOWANCE
from toowld.session.leading import lead_of
from toowld.session.outbox import HIGH
from toowld.session.states import Role
from toowld.wire import Attached, Detached, Ended, Gap, InputAck, Live, Message, Output, Size

READ_AT_ONCE = 64 << 10  # of the PTY, in one wake-up
KERNEL_PTY = 64 << 10  # what a child that ended may have left there
FRAME = 16  # what a message costs beside its data

#: The true output: its period is prime to every piece, so a piece at a wrong place never looks right.
PERIOD = 251
_TRUTH = bytes(range(PERIOD)) * ((1 << 20) // PERIOD)

#: The true input: everybody has letters of his own, so what the PTY gets shows whose it is.
LETTERS = 60
INJECTED = 255


def true_output(start: int, count: int) -> bytes:
    """The session's output from ``start`` on."""
    return _TRUTH[start % PERIOD :][:count]


def true_input(who: int, start: int, count: int) -> bytes:
    """What client id ``who`` types, from ``start`` on."""
    return bytes(who * LETTERS + at % LETTERS for at in range(start, start + count))


@dataclass
class View:
    """What a program that is attached, and attaches again, has seen and typed. Lives as long as its client id."""

    who: int
    at: int | None = None  # the next output byte that it lacks
    typed: int = 0
    acked: int = 0


@dataclass
class Connection:
    """One attachment's connection, with what is queued on its way and what was seen by its end."""

    number: int
    view: View
    read_only: bool
    kernel: int  # size of the socket's buffer
    size: Size | None
    wanted: int | None  # from_seq
    queue: deque[tuple[Message, int]] = field(default_factory=deque)  # in front of the kernel
    sent: deque[tuple[Message, int]] = field(default_factory=deque)  # in the kernel
    in_kernel: int = 0
    watched: bool = False
    closing: bool = False
    moved_at: float = 0.0  # when the kernel last took something
    given_up: bool = False  # it took nothing during the farewell
    seen: list[type[Message]] = field(default_factory=list)
    live: bool = False
    lent: bool = False  # its output goes to its terminal, and what it types comes from there

    @property
    def last_sent(self) -> list[Message]:
        return [message for message, _ in [*self.sent, *self.queue]][-1:]

    @property
    def queued(self) -> int:
        return sum(left for _, left in self.queue)

    @property
    def queued_output(self) -> int:
        return sum(len(message.data) for message, _ in self.queue if isinstance(message, Output))


class World:
    """A session and all that is around it."""

    def __init__(self, limit: int, policy: SizePolicy) -> None:
        self.now = 0.0
        self.policy = policy
        self.leads: Connection | None = None  # who took the lead
        self.acted: list[int] = []  # connections, whose user did something last at the end
        self.session = Session(seq=0, size=Size(rows=24, cols=80), policy=policy)
        self.log_start = self.log_end = 0
        self.limit = limit
        self.wants = 0  # what the child has still to print
        self.paused = False
        self.blameless_since = 0.0  # since when the PTY is paused and its lead gave no reason
        self.lead: object = None
        self.behind: int | None = None  # how near a lead that is behind, and moves, has come to the end
        self.pty_open = True
        self.pty_size = self.session.size
        self.to_pty: deque[bytes] = deque()
        self.typed: dict[int, int] = {}  # by who: what the PTY has
        self.hup_ends_it = True
        self.dying = False
        self.finished = 0
        self.connections: dict[int, Connection] = {}
        self.leaving: list[Connection] = []
        self.views = {who: View(who) for who in range(4)}
        self._numbers = 0
        self._events: deque[ev.Event] = deque()
        self._running = False
        self._ending = False
        self.tell(ev.StartRequested())
        self.tell(ev.ChildStarted(77))

    # --- the driver -------------------------------------------------------------------------------------

    def tell(self, event: ev.Event) -> None:
        """Give the engine an event, and all that follows from it."""
        self._events.append(event)
        if self._running:
            return
        self._running = True
        try:
            while self._events:
                for effect in self.session.handle(self._events.popleft(), self.now):
                    self._perform(effect)
                lead = lead_of(self.session.attachments.values())
                if lead is not self.lead:
                    self.behind = None
                    self.lead = lead
                    self.blameless_since = self.now
                self.check()
        finally:
            self._running = False
            self._events.clear()

    def upgrade(self) -> None:
        """Other code goes on with what the session was."""
        leads = [number for number, one in self.session.attachments.items() if one is self.lead]
        self.session = Session.thaw(cbor2.loads(cbor2.dumps(self.session.freeze())))
        self.lead = self.session.attachments[leads[0]] if leads else None
        assert lead_of(self.session.attachments.values()) is self.lead

    def _perform(self, effect: do.Effect) -> None:
        match effect:
            case do.AppendLog(data):
                assert data == true_output(self.log_end, len(data))
                self.log_end += len(data)
                self.log_start = max(self.log_start, self.log_end - self.limit)
            case do.Send(client, message):
                self._send(self.connections[client], message)
            case do.CloseClient(client, _):
                connection = self.connections.pop(client)
                if not any(isinstance(message, Ended | Detached) for message in connection.last_sent):
                    assert self.session.state is SessionState.ENDED and self.now - connection.moved_at >= 1.0
                    connection.given_up = True
                connection.closing = True
                connection.watched = False
                self.leaving.append(connection)
            case do.ReadLog(client, seq, limit):
                assert client in self.connections
                assert seq < self.log_end, "there is nothing to read"
                self._answer(client, max(seq, self.log_start), limit)
            case do.FindReplayStart(client, back, limit):
                self._answer(client, max(self.log_start, self.log_end - back), limit)
            case do.WatchRoom(client):
                self.connections[client].watched = True
            case do.PausePty() | do.ResumePty():
                assert self.pty_open and self.paused is isinstance(effect, do.ResumePty)
                self.paused = not self.paused
                self.blameless_since = self.now
            case do.WritePty(data):
                self.to_pty.append(data)
            case do.ResizePty(size):
                assert size != self.pty_size
                self.pty_size = size
            case do.ClosePty():
                assert self.pty_open
                self.pty_open = False
            case do.SignalSession(signum):
                assert self.pty_open
                if signum == signal.SIGKILL or (signum == signal.SIGHUP and self.hup_ends_it):
                    self.dying = True
            case do.Finished():
                self.finished += 1

    def _answer(self, client: int, start: int, limit: int) -> None:
        count = min(limit, self.log_end - start)
        self._events.append(ev.LogRead(client, start, true_output(start, count)))

    def _send(self, connection: Connection, message: Message) -> None:
        if isinstance(message, Output):
            assert message.seq + len(message.data) <= self.log_end, "it must be in the log first"
        size = FRAME + (len(message.data) if isinstance(message, Output) else 0)
        idle = not connection.queue
        connection.queue.append((message, size))
        if idle:
            self._flush(connection)

    def _flush(self, connection: Connection) -> int:
        moved = 0
        while connection.queue and (room := connection.kernel - connection.in_kernel) > 0:
            message, left = connection.queue.popleft()
            part = min(left, room)
            connection.in_kernel += part
            moved += part
            if part < left:
                connection.queue.appendleft((message, left - part))
                connection.sent.append((Live(-1), part))  # a part of a frame is no message yet
            else:
                connection.sent.append((message, part))
        if moved:
            connection.moved_at = self.now
        if moved and not connection.closing:
            if self.lead is self.session.attachments.get(connection.number):
                self.blameless_since = self.now
            self.tell(ev.ClientTook(connection.number, connection.queued))
        return moved

    # --- what a loop does by itself ---------------------------------------------------------------------

    def turn(self) -> bool:
        """One turn of the loop. Returns whether anything happened."""
        busy = False
        for connection in [*self.connections.values(), *self.leaving]:
            had = connection.queued
            if connection.kernel > connection.in_kernel and (had or connection.watched):
                busy = True
                self._flush(connection)
                if not had and connection.watched and connection.number in self.connections:
                    connection.watched = False
                    if self.lead is self.session.attachments.get(connection.number):
                        self.blameless_since = self.now
                    self.tell(ev.ClientRoom(connection.number))
        if self.pty_open and not self.paused and self.wants:
            busy = True
            self._read_pty(READ_AT_ONCE)
        if self.dying and self.pty_open:
            busy = True
            self.end_child()
        return busy

    def run(self) -> None:
        """Turn until nothing happens any more."""
        for _ in range(5000):
            if not self.turn():
                return
        raise AssertionError("the loop never comes to rest")

    def _read_pty(self, most: int) -> None:
        count = min(self.wants, most)
        self.wants -= count
        self.tell(ev.PtyOutput(true_output(self.session.seq, count)))

    def sleep(self, seconds: float) -> None:
        """Let time pass."""
        until = self.now + seconds
        self.run()
        for _ in range(200):
            deadline = self.session.next_deadline()
            if self.finished or deadline is None or deadline > until:
                self.now = until
                self.check()
                return
            self.now = max(self.now, deadline)
            self.check()
            self.tell(ev.TimerFired())
            after = self.session.next_deadline()
            assert self.finished or after is None or after > self.now, "the timer would spin"
            self.run()
        raise AssertionError("the timer never comes to rest")

    # --- what people and programs do --------------------------------------------------------------------

    def join(
        self,
        who: int,
        *,
        kernel: int,
        size: Size | None,
        read_only: bool,
        reconnect: bool,
        replay: int,
        lead: ev.Lead = ev.Lead.NO,
        steal: bool = False,
    ) -> None:
        view = self.views[who]
        for older in [*self.connections.values(), *self.leaving]:
            if older.view is view:  # what still comes over it is for a program that is gone
                older.view = copy.copy(view)
        self._numbers += 1
        from_seq = view.at if reconnect else None
        connection = Connection(self._numbers, view, read_only, kernel, size, from_seq)
        connection.moved_at = self.now
        if from_seq is None:
            self._does_something(connection)
        else:  # it comes back by itself
            terminals = [a.client for a in self.session.attachments.values() if a.has_terminal]
            before = [number for number in terminals if self.connections[number].view.who == who]
            self.acted.insert(self.acted.index(before[0]) if before else 0, connection.number)
        there = list(self.connections.values())
        lead = ev.Lead.NO if read_only else lead
        if lead is ev.Lead.TAKE or (
            lead is ev.Lead.KEEP and (self.leads is None or self.leads.view.who == who)
        ):
            self.leads = connection
        self.connections[connection.number] = connection
        self.tell(
            ev.ClientJoined(
                connection.number, f"id{who}", size, read_only, from_seq, replay, lead=lead, steal=steal
            )
        )
        assert not (steal and any(older in self.connections.values() for older in there))

    def cut(self, connection: Connection) -> None:
        """The connection is gone, with all that was on its way."""
        del self.connections[connection.number]
        self.tell(ev.ClientLeft(connection.number))

    def read(self, connection: Connection, count: int) -> None:
        """The client takes what has come, at most ``count`` bytes."""
        while connection.sent and count:
            message, left = connection.sent.popleft()
            part = min(left, count)
            count -= part
            connection.in_kernel -= part
            if part < left:
                connection.sent.appendleft((message, left - part))
            elif message != Live(-1):
                self._see(connection, message)

    def type(self, connection: Connection, count: int, again: int) -> None:
        """Type something new; with it comes some of what is not acknowledged yet."""
        view = connection.view
        start = max(view.typed - again, view.acked)
        view.typed += count
        if count:
            self._does_something(connection)
        self.tell(ev.ClientTyped(connection.number, start, true_input(view.who, start, view.typed - start)))

    def rewind(self, connection: Connection) -> None:
        """The client lends its terminal: what it was sent and has not read counts as not sent."""
        if connection.view.at is None or Attached not in connection.seen:
            return
        lost = (Output, Gap, Live)
        connection.queue = deque(item for item in connection.queue if not isinstance(item[0], lost))
        connection.sent = deque(item for item in connection.sent if not isinstance(item[0], lost))
        connection.in_kernel = sum(size for _, size in connection.sent)
        connection.watched = connection.live = False
        connection.lent = True
        connection.moved_at = self.now
        if self.lead is self.session.attachments.get(connection.number):
            self.blameless_since = self.now
            self.behind = None
        self.tell(ev.ClientRewound(connection.number, connection.view.at))

    def type_at_its_terminal(self, connection: Connection, count: int) -> None:
        """Type something that nobody numbers."""
        view = connection.view
        data = true_input(view.who, view.typed, count)
        view.typed += count
        if count:
            self._does_something(connection)
        self.tell(ev.ClientTyped(connection.number, None, data))

    def resize(self, connection: Connection, size: Size) -> None:
        """The client's terminal gets another size."""
        self._does_something(connection)
        self.tell(ev.ClientResized(connection.number, size))

    def _does_something(self, connection: Connection) -> None:
        if connection.number in self.acted:
            self.acted.remove(connection.number)
        self.acted.append(connection.number)

    def pty_takes(self, count: int) -> None:
        """The PTY takes input."""
        data = b"".join(self.to_pty)
        took, rest = data[:count], data[count:]
        self.to_pty = deque([rest] if rest else [])
        for byte in took:
            if byte != INJECTED:
                who = byte // LETTERS
                at = self.typed.get(who, 0)
                assert byte == true_input(who, at, 1)[0], "typed twice, not at all, or in another order"
                self.typed[who] = at + 1
        if took:
            self.tell(ev.PtyTook(len(took)))

    def end_child(self) -> None:
        """The child ends; what it left in the kernel is read, paused or not."""
        self._ending = True
        if self.wants:
            self._read_pty(KERNEL_PTY)
        self.wants = 0
        self.tell(ev.ChildEnded(0, None))

    # --- what a client must see -------------------------------------------------------------------------

    def _see(self, connection: Connection, message: Message) -> None:
        view = connection.view
        assert not {Ended, Detached} & set(connection.seen), f"{message} after the last word"
        assert bool(connection.seen) is not isinstance(message, Attached), "Attached is the first, and once"
        connection.seen.append(type(message))
        match message:
            case Attached(seq, live, input_seq):
                assert connection.wanted is None or seq == connection.wanted
                assert seq <= live
                assert view.acked <= input_seq <= view.typed
                view.at = seq
                if view.acked < input_seq and not connection.read_only:
                    # What the PTY took meanwhile was acknowledged to the connection before.
                    self.tell(ev.ClientTyped(connection.number, input_seq, b""))
            case Output(seq, data):
                assert data and seq == view.at, f"output from {seq}, expected {view.at}"
                assert data == true_output(seq, len(data))
                view.at = seq + len(data)
            case Gap(start, end):
                assert start == view.at and start < end <= self.log_start, "a gap that is none"
                view.at = end
            case Live(seq):
                assert seq == view.at
                connection.live = True
            case InputAck(seq):
                assert seq <= self.typed.get(view.who, 0), "acknowledged, and not typed"
                view.acked = max(view.acked, seq)
            case Ended(seq):
                assert seq == view.at == self.log_end, "the last word before all output"

    # --- what always holds ------------------------------------------------------------------------------

    def check(self) -> None:
        """What holds at every moment."""
        session = self.session
        assert session.seq == self.log_end
        assert self.finished <= 1
        typists = [a for a in session.attachments.values() if not a.read_only]
        if self.paused and self.pty_open:
            assert typists, "paused for nobody"
            assert self.now - self.blameless_since <= 1.0 + 1e-9, "paused for a client that takes nothing"
        self._check_distance()
        for connection in [*self.connections.values(), *self.leaving]:
            assert connection.queued_output <= HIGH + READ_AT_ONCE + REPLAY_PIECE
        if self.leads is not None and self.leads.number not in session.attachments:
            self.leads = None
        leads = [a for a in session.attachments.values() if a.role is Role.LEAD]
        assert [a.client for a in leads] == ([] if self.leads is None else [self.leads.number])
        assert not leads or lead_of(session.attachments.values()) is leads[0]
        if session.state is not SessionState.ENDED:
            assert self.pty_size == session.size
            sizes = {a.client: a.size for a in typists if a.size is not None}
            if leads and leads[0].size is not None:
                assert session.size == leads[0].size
            elif sizes and self.policy is SizePolicy.LATEST:
                assert session.size == sizes[max(sizes, key=self.acted.index)]
            elif sizes:
                smallest = Size(
                    rows=min(s.rows for s in sizes.values()), cols=min(s.cols for s in sizes.values())
                )
                assert session.size == smallest

    def _check_distance(self) -> None:
        """A lead that moves gets nearer, however much the child prints."""
        lead = lead_of(self.session.attachments.values())
        if lead is None or lead.live or lead.seq < 0 or not self.pty_open or self._ending:
            self.behind = None
            return
        distance = self.session.seq - lead.seq
        if self.behind is None or lead.outbox.is_stalled(self.now):
            self.behind = distance
        self.behind = min(self.behind, distance)
        assert distance <= self.behind + MAX_ALLOWANCE + READ_AT_ONCE, "the log may overtake it"

    def come_to_an_end(self) -> None:
        """Everybody reads all from now on: everybody must be live soon, and get the last word."""
        self._read_all()
        if self.pty_open:
            assert not self.wants and not self.paused
            for connection in self.connections.values():
                assert connection.live and connection.view.at == self.log_end
            self.pty_takes(1 << 30)
            self._read_all()
            for connection in self.connections.values():
                if not connection.read_only:
                    assert connection.view.acked == self.typed.get(connection.view.who, 0)
            self.end_child()
        self._read_all()
        self.sleep(20.0)
        assert self.finished == 1 and not self.session.attachments
        assert all(c.given_up or {Ended, Detached} & set(c.seen) for c in self.leaving)

    def _read_all(self) -> None:
        for _ in range(5000):
            for connection in [*self.connections.values(), *self.leaving]:
                self.read(connection, 1 << 30)
            if not self.turn() and not any(c.sent for c in [*self.connections.values(), *self.leaving]):
                return
        raise AssertionError("clients that read all never get to the end")
