"""Anything that people, programs and time may do to a session, in any order; see ``model`` for what must hold."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from tests.session.model import INJECTED, Connection, World
from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from toowld.session import AttachmentState, Session, SessionState, SizePolicy
from toowld.session import events as ev
from toowld.session.answers import Answers
from toowld.session.attachment import Attachment
from toowld.session.ending import Farewell, Killing
from toowld.session.flow import Flow
from toowld.session.inputs import InputQueue
from toowld.session.leading import Leading
from toowld.session.marks import Marked, MarkScanner, News
from toowld.session.queries import QueryScanner, ReplyFilter
from toowld.session.routing import QueryRouter
from toowld.session.sizes import Sizes
from toowld.wire import Ended, Size

KIB = 1 << 10
sizes = st.builds(Size, rows=st.integers(1, 60), cols=st.integers(1, 200))
pick = st.integers(0, 99)
some_bytes = st.sampled_from([1, 3 * KIB, 60 * KIB, 300 * KIB, 4 << 20])


class Sessions(RuleBasedStateMachine):
    """Clients join, read slowly or not at all, type, leave and come back; the child prints, and ends."""

    world: World

    @initialize(
        limit=st.sampled_from([100 * KIB, 400 * KIB, 3 << 20]),
        policy=st.sampled_from(SizePolicy),
        hup_ends_it=st.booleans(),
    )
    def begin(self, limit: int, policy: SizePolicy, hup_ends_it: bool) -> None:
        self.world = World(limit, policy)
        self.world.hup_ends_it = hup_ends_it

    def one(self, number: int) -> Connection | None:
        connections = list(self.world.connections.values())
        return connections[number % len(connections)] if connections else None

    @property
    def runs(self) -> bool:
        return self.world.pty_open

    @precondition(lambda self: not self.world.finished)
    @rule(
        who=st.integers(0, 3),
        kernel=st.sampled_from([4 * KIB, 208 * KIB]),
        size=st.none() | sizes,
        read_only=st.booleans(),
        reconnect=st.booleans(),
        replay=st.sampled_from([0, 70 * KIB, 1 << 20]),
        lead=st.sampled_from(ev.Lead),
        steal=st.sampled_from([False, False, False, True]),
    )
    def join(self, **how: Any) -> None:
        self.world.join(**how)

    @precondition(lambda self: not self.world.finished)
    @rule(who=st.integers(0, 3), size=sizes, lead=st.sampled_from(ev.Lead))
    def attach_to_type(self, who: int, size: Size, lead: ev.Lead) -> None:
        """As most do: more than one of them is needed for what they have to share."""
        self.world.join(
            who, kernel=208 * KIB, size=size, read_only=False, reconnect=False, replay=0, lead=lead
        )

    @rule(number=pick, chance=st.integers(0, 3))
    def cut(self, number: int, chance: int) -> None:
        if chance == 0 and (connection := self.one(number)):
            self.world.cut(connection)

    @rule(number=pick, chance=st.integers(0, 3))
    def dismiss(self, number: int, chance: int) -> None:
        if chance == 0 and (connection := self.one(number)):
            self.world.tell(ev.ClientDismissed(connection.number, "requested"))

    @rule(number=pick, count=some_bytes)
    def read(self, number: int, count: int) -> None:
        if connection := self.one(number):
            self.world.read(connection, count)

    @rule(number=pick, count=st.integers(0, 50), again=st.integers(0, 50))
    def type(self, number: int, count: int, again: int) -> None:
        connection = self.one(number)
        if connection and not connection.read_only and self.runs:
            self.world.read(connection, 1 << 30)  # whoever types has read `Attached`
            if connection.seen:
                self.world.type(connection, count, again)

    @rule(number=pick)
    def lend(self, number: int) -> None:
        if connection := self.one(number):
            self.world.rewind(connection)

    @rule(number=pick, count=st.integers(0, 50))
    def type_at_its_terminal(self, number: int, count: int) -> None:
        connection = self.one(number)
        if connection and connection.lent and not connection.read_only and self.runs:
            self.world.type_at_its_terminal(connection, count)

    @rule(number=pick, size=sizes)
    def resize(self, number: int, size: Size) -> None:
        if connection := self.one(number):
            self.world.resize(connection, size)

    @precondition(lambda self: self.runs)
    @rule(count=some_bytes, at_once=st.booleans())
    def child_prints(self, count: int, at_once: bool) -> None:
        self.world.wants += count
        if at_once:
            self.world.run()

    @precondition(lambda self: self.runs)
    @rule(count=st.integers(1, 100))
    def pty_takes(self, count: int) -> None:
        self.world.pty_takes(count)

    @precondition(lambda self: self.runs)
    @rule(count=st.integers(1, 50))
    def inject(self, count: int) -> None:
        self.world.tell(ev.Injected(bytes([INJECTED]) * count))

    @precondition(lambda self: self.runs)
    @rule(force=st.booleans(), chance=st.integers(0, 3))
    def kill(self, force: bool, chance: int) -> None:
        if chance == 0:
            self.world.tell(ev.KillRequested(force))

    @precondition(lambda self: self.runs)
    @rule(chance=st.integers(0, 3))
    def child_ends(self, chance: int) -> None:
        if chance == 0:
            self.world.end_child()

    @precondition(lambda self: self.runs)
    @rule()
    def upgrade(self) -> None:
        self.world.upgrade()

    @rule(turns=st.integers(1, 8))
    def turn(self, turns: int) -> None:
        for _ in range(turns):
            self.world.turn()

    @rule(seconds=st.sampled_from([0.01, 0.3, 0.9, 1.0, 2.5, 40.0]))
    def sleep(self, seconds: float) -> None:
        self.world.sleep(seconds)

    @invariant()
    def holds(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        if hasattr(self, "world"):
            self.world.come_to_an_end()


TestSessions = Sessions.TestCase
TestSessions.settings = settings(
    max_examples=80, stateful_step_count=40, suppress_health_check=list(HealthCheck)
)


# -- every event in every state, sensible or not ---------------------------------------------------------

clients = st.integers(1, 3)
small = st.integers(0, 400 * KIB)
any_event: st.SearchStrategy[ev.Event] = st.one_of(
    st.builds(ev.StartRequested),
    st.builds(ev.ChildStarted, st.just(77)),
    st.builds(ev.ChildFailed),
    st.builds(ev.ChildEnded, st.none(), st.just(9)),
    st.builds(
        ev.PtyOutput, st.sampled_from([b"x", b"\x1b[6n", b"\x1b[c", b"x" * 64 * KIB, b"x" * 300 * KIB])
    ),
    st.builds(ev.PtyTook, st.integers(0, 8)),
    st.builds(
        ev.ClientJoined,
        clients,
        st.sampled_from(["a", "b", "c"]),
        st.none() | sizes,
        st.booleans(),
        st.none() | st.integers(-1, 70 * KIB),
        st.sampled_from([0, 1 << 20]),
        st.booleans(),
        st.sampled_from(ev.Lead),
        st.booleans(),
    ),
    st.builds(ev.ClientLeft, clients),
    st.builds(ev.ClientDismissed, clients, st.just("requested")),
    st.builds(ev.ClientTyped, clients, st.none() | st.integers(-1, 6), st.binary(max_size=4)),
    st.builds(ev.ClientRewound, clients, st.integers(-1, 400 * KIB)),
    st.builds(ev.ClientResized, clients, sizes),
    st.builds(ev.ClientTook, clients, st.just(0) | small),
    st.builds(ev.ClientRoom, clients),
    st.builds(ev.LogRead, clients, st.integers(0, 70 * KIB), st.sampled_from([b"", b"x", b"x" * 64 * KIB])),
    st.builds(ev.Injected, st.binary(max_size=4)),
    st.builds(ev.ScreenAnswered, st.integers(0, 9), st.sampled_from([b"", b"\x1b[1;2R"])),
    st.builds(ev.ResizeRequested, sizes),
    st.builds(ev.KillRequested, st.booleans()),
    st.builds(ev.TimerFired),
)
PREFIXES: dict[SessionState, list[ev.Event]] = {
    SessionState.AWAITING: [],
    SessionState.STARTING: [ev.StartRequested()],
    SessionState.RUNNING: [ev.StartRequested(), ev.ChildStarted(77)],
    SessionState.ENDED: [ev.StartRequested(), ev.ChildStarted(77), ev.ChildEnded(0, None)],
}


def anatomy(thing: Any) -> Any:
    """All that an engine knows, as values that can be compared later."""
    match thing:
        case Session():
            state = {k: v for k, v in vars(thing).items() if k != "_effects"}
            return anatomy(state)
        case dict():
            return {key: anatomy(value) for key, value in thing.items()}
        case Attachment():
            return {name: anatomy(getattr(thing, name)) for name in Attachment.__slots__}
        case _ if hasattr(thing, "queued"):
            return (thing.queued, thing.awaits_room, thing.stalls_at)
        case Marked() | News() | QueryRouter() | Leading() | Flow() | Killing() | Farewell():
            return anatomy(vars(thing))
        case InputQueue() | Sizes() | Answers() | QueryScanner() | ReplyFilter() | MarkScanner():
            return copy.deepcopy(vars(thing))
        case _:
            return copy.copy(thing)


def fresh() -> Session:
    return Session(seq=0, size=Size(rows=24, cols=80), policy=SizePolicy.LATEST)


def viewed() -> Session:
    size = Size(rows=24, cols=80)
    return Session(seq=70 * KIB, size=size, ended=Ended(70 * KIB, "exited", 0, None))


@settings(max_examples=300)
@given(
    st.sampled_from([fresh, viewed]),
    st.sampled_from(SessionState),
    st.lists(st.tuples(any_event, st.sampled_from([0.0, 0.1, 1.5])), max_size=25),
)
def test_every_event_in_every_state_is_taken_or_changes_nothing(
    make: Callable[[], Session], state: SessionState, steps: list[tuple[ev.Event, float]]
) -> None:
    session = make()
    for event in PREFIXES[state] if make is fresh else ():
        session.handle(event, 0.0)
    now = 0.0
    finished = 0
    for event, pause in steps:
        now += pause
        before = anatomy(session)
        try:
            effects = session.handle(event, now)
        except (RemoteProtocolError, RefusedError, LocalProtocolError):
            assert anatomy(session) == before
            continue
        finished += sum(type(effect).__name__ == "Finished" for effect in effects)
        assert finished <= 1
        assert finished == 0 or not session.attachments
        assert all(a.state is not AttachmentState.GONE for a in session.attachments.values())
        if isinstance(event, ev.TimerFired):
            deadline = session.next_deadline()
            assert deadline is None or deadline > now
