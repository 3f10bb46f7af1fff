"""The session engine: events in, effects out. PURE.

One `Session` decides everything about one child on one PTY: what goes into the log and to whom, who may slow the
child down, how large the terminal is, and how the child is ended. For most of that it has parts with a state of
their own; `toowld.session` lists them. It does no I/O and knows no clock: the driver (`toowld.host`) tells it what
happened and when, and carries out what it returns.

Output is counted in bytes from the session's first one (``seq``). It is appended to the log before anybody sees
it, and given to those at once who are live; `toowld.session.feeding` tells how the others get it.
"""

from __future__ import annotations

from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session import feeding
from toowld.session.answers import Answers
from toowld.session.attachment import Attachment
from toowld.session.ending import Farewell, Killing
from toowld.session.flow import Flow, printed
from toowld.session.inputs import InputQueue
from toowld.session.joining import admit
from toowld.session.leading import Leading
from toowld.session.marks import Marked, News
from toowld.session.queries import Query
from toowld.session.routing import QueryRouter
from toowld.session.sizes import SizePolicy, Sizes
from toowld.session.states import AttachmentMove, Role, SessionMove, SessionState, next_session_state
from toowld.wire import Attached, Detached, Ended, InputAck, Message, Output, Resize, Size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

#: Dirty output is synced to the disk so long after its first byte (seconds): what a power cut may cost.
SYNC_INTERVAL = 30.0

# By these names where a key or its echo passes: to take a member out of an Enum costs 0.1 µs before Python 3.12.
_RUNNING, _ENDED = SessionState.RUNNING, SessionState.ENDED


class Session:
    """The state of one session while its child is about to run, runs, or has just ended.

    Args:
        seq: where the output continues (the log's end; 0 for a new session).
        size: of the PTY.
        policy: by which it follows the terminals of those who attach.
        sync_interval: see `SYNC_INTERVAL`.
        ended: for looking at a session whose child has ended: how it did.
    """

    def __init__(
        self,
        *,
        seq: int,
        size: Size,
        policy: SizePolicy = SizePolicy.SMALLEST,
        sync_interval: float = SYNC_INTERVAL,
        ended: Ended | None = None,
    ) -> None:
        self.seq = seq
        self.size = size
        self.state = SessionState.AWAITING if ended is None else SessionState.ENDED
        self.pid: int | None = None
        self.ended = ended
        self.about: dict[str, Any] = {}  # what else `Attached` tells: id and name
        self.attachments: dict[int, Attachment] = {}
        self.input = InputQueue()
        self.output_at: float | None = None  # when it printed something last
        self.marked = Marked()  # what the child told its terminal about itself
        self._news = News()  # of that
        self._leading = Leading()
        self._flow = Flow()
        self._sizes = Sizes(policy)
        self._router = QueryRouter(seq)
        self._answers = Answers()
        self._killing = Killing()
        self._farewell = Farewell()
        self._sync_interval = sync_interval
        self._sync_at: float | None = None
        self._effects: list[do.Effect] = []

    # --- the contract with the driver -------------------------------------------------------------------

    def handle(self, event: ev.Event, now: float) -> list[do.Effect]:
        """Take one event; return what is to be done, in order.

        Args:
            event: what happened.
            now: monotonic seconds, never less than before.

        Raises:
            RemoteProtocolError: the client of this event broke the rules; tell it, then report `ClientLeft`.
            RefusedError: the event asks for what can't be done now; nothing has changed.
            LocalProtocolError: the driver has a bug.
        """
        self._effects = []
        _HANDLERS[type(event)](self, event, now)
        if self._answers.waiting:
            self._type_answers(now)
        if not self._flow.is_even(self.attachments.values()):
            running = self.state is SessionState.RUNNING
            self._effects += self._flow.regulate(self.attachments.values(), self.seq, running, now)
        return self._effects

    @property
    def finished(self) -> bool:
        """The child has ended and nobody is left who must be told: whoever joins now is refused."""
        return self._farewell.over

    def next_deadline(self) -> float | None:
        """When to report `TimerFired` (monotonic seconds), unless asked again before."""
        deadlines = (
            self._sync_at,
            self._killing.deadline,
            self._farewell.deadline,
            self._news.deadline,
            self._answers.deadline,
            self._flow.deadline(self.attachments.values()),
        )
        return min([at for at in deadlines if at is not None], default=None)

    @property
    def end_requested(self) -> bool:
        """Somebody asked for the child's end (`events.KillRequested`)."""
        return self._killing.requested

    @property
    def questions(self) -> list[Query]:
        """Those that somebody who knows the screen should answer with `events.ScreenAnswered`."""
        return self._answers.questions

    # --- what the driver may do by itself ---------------------------------------------------------------

    @property
    def sole(self) -> Attachment | None:
        """The one attachment, while nobody else is there and nothing waits for anything: nearly always.

        Then `handle` would have all output appended to the log and sent to it, and what it types given to the child,
        and no more. The driver may do that by itself, and tell the outcome before the next event, by `passed`, `took`
        and `typed`; marks it looks for itself (`marked`). After that event, look here again.
        """
        if self.state is not _RUNNING or self._sync_at is None or len(self.attachments) != 1:
            return None
        (attachment,) = self.attachments.values()
        # A scanner is there unless this one's terminal answers what programs ask, so it is none that only watches.
        waits = self._router.scanner is not None or self._answers.waiting or self.input.pending
        if waits or attachment.replies.expected or not self._leading.typed_last(attachment):
            return None
        return attachment if self._flow.is_even((attachment,)) else None

    def passed(self, attachment: Attachment, seq: int, at: float) -> None:
        """All output below ``seq`` is in the log and was given to `sole`, the last of it about then."""
        self.seq = attachment.seq = seq
        self.output_at = at

    def took(self, attachment: Attachment, given: int, queued: int, now: float) -> None:
        """`sole` was given so much more; ``queued`` bytes of all that it was given are left."""
        outbox = attachment.outbox
        outbox.add(given, now)
        if queued < outbox.queued:
            outbox.left(queued, now)

    def typed(self, attachment: Attachment, count: int, now: float) -> None:
        """`sole` typed so much, and the PTY has it."""
        self.input.passed(attachment.client_id, count)
        self._leading.goes_on(attachment, now)

    # --- over an upgrade of the code --------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the PTY is not to be read now."""
        return self._flow.paused

    def freeze(self) -> dict[str, Any]:
        """A session whose child runs as plain values: `thaw` goes on with it, in newer code and on the same clock.

        What is in here, all later versions must understand: docs/protocol.md has it.
        """
        assert self.state is SessionState.RUNNING
        return {
            "seq": self.seq,
            "rows": self.size.rows,
            "cols": self.size.cols,
            **self._sizes.freeze(),
            "pid": self.pid,
            "about": dict(self.about),
            "attachments": [attachment.freeze() for attachment in self.attachments.values()],
            "input": self.input.freeze(),
            "sync_at": self._sync_at,
            "paused": self._flow.paused,
            **self._killing.freeze(),
            **self._router.freeze(),
            "answers": self._answers.freeze(),
            "marks": self.marked.freeze(),
            "marks_at": self._news.deadline,
            "output_at": self.output_at,
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Session:
        """The opposite of `freeze`."""
        session = cls(seq=state["seq"], size=Size(rows=state["rows"], cols=state["cols"]))
        session.state = SessionState.RUNNING
        session.pid = state["pid"]
        session.about = dict(state["about"])
        attachments = [Attachment.thaw(one) for one in state["attachments"]]
        session.attachments = {attachment.client: attachment for attachment in attachments}
        session._leading = Leading(max((attachment.typed_at for attachment in attachments), default=0.0))
        session._sizes = Sizes.thaw(state, attachments)
        session.input = InputQueue.thaw(state["input"])
        session._sync_at = state["sync_at"]
        session._flow = Flow(paused=state["paused"])
        session._killing = Killing.thaw(state)
        session._router = QueryRouter.thaw(state, attachments)
        session._answers = Answers.thaw(state["answers"])
        session.output_at = state.get("output_at")
        if "marks" in state:  # else it is of a version that did not look for them
            session.marked = Marked.thaw(state["marks"])
            session._news = News(state["marks_at"])
        return session

    # --- the child --------------------------------------------------------------------------------------

    def _on_start_requested(self, event: ev.StartRequested, now: float) -> None:
        self.state = next_session_state(self.state, SessionMove.START)

    def _on_child_started(self, event: ev.ChildStarted, now: float) -> None:
        self.state = next_session_state(self.state, SessionMove.STARTED)
        self.pid = event.pid
        self._do(do.Changed())

    def _on_child_failed(self, event: ev.ChildFailed, now: float) -> None:
        self.state = next_session_state(self.state, SessionMove.FAILED)
        for attachment in list(self.attachments.values()):
            self._send_away(attachment, "failed", Detached("failed"))
        self._sync_at = None
        self._do(*self._farewell.end())

    def _on_pty_output(self, event: ev.PtyOutput, now: float) -> None:
        if self.state is _ENDED:
            raise LocalProtocolError("output after the end: clients were told that there is no more")
        data = event.data
        start = self.seq
        self.seq = end = start + len(data)
        self.output_at = now
        effects = self._effects
        effects.append(do.AppendLog(data))
        if self._sync_at is None:
            self._sync_at = now + self._sync_interval
        if (scanner := self._router.scanner) is not None:
            for query in scanner.feed(data, start, now):
                self._on_query(query, now)
        output = Output(start, data)
        for attachment in self.attachments.values():
            if attachment.live:
                attachment.outbox.add(len(data), now)
                attachment.seq = end
                effects.append(do.Send(attachment.client, output))
            else:
                printed(attachment, len(data))
        if self.marked.look(data, start):  # behind the output that has them
            self._on_marked(event, now)

    def _on_marked(self, event: ev.Event, now: float) -> None:
        if self._news.came(now):
            self._do(do.Changed())

    def _on_child_ended(self, event: ev.ChildEnded, now: float) -> None:
        self.state = next_session_state(self.state, SessionMove.CHILD_ENDED)
        self._do(*self._killing.child_ended())
        self._news.forget()  # the end is news that tells all
        self._answers.forget()
        self.ended = Ended(self.seq, event.reason, event.code, event.signal)
        self._do(
            do.LogExit(event.reason, event.code, event.signal, self.end_requested),
            do.ClosePty(),
            do.SyncLog(),  # whoever is told of the end must find it on the disk
        )
        self._sync_at = None
        self._farewell.begin(now)
        for attachment in list(self.attachments.values()):
            if attachment.live:
                self._send_away(attachment, "ended", self.ended)
        self._note_change()  # after them: who hears that it has ended hears why they are gone

    def _note_change(self) -> None:
        """Lists show something else; it may be that nobody is left whom an ended session waits for."""
        self._do(do.Changed())
        if self.state is SessionState.ENDED and not self.attachments:
            self._do(*self._farewell.end())

    # --- attaching and leaving --------------------------------------------------------------------------

    def _on_client_joined(self, event: ev.ClientJoined, now: float) -> None:
        if self.finished:
            raise RefusedError("the session has just ended: attach again")
        joining = admit(event, self.attachments, self.seq, now)
        attachment = joining.attachment
        self._sizes.joined(attachment, joining.fresh, joining.older)
        self._leading.joined(joining, self.attachments.values(), event.lead)
        # They do not count as having left: the size, the disk and the end of all are not their business.
        for other, reason in joining.leaving:
            self._send_away(other, reason, Detached(reason))
        self.attachments[event.client] = attachment
        self._router.attachments_changed(self.attachments.values(), self.seq)
        self.input.joined(event.client_id)
        size_before = self.size
        self._fit_size()
        same_size = self.size == size_before
        if joining.fresh and event.size is not None and same_size and self.state is not SessionState.ENDED:
            self._do(do.NudgeForeground())
        if joining.from_seq is None and event.replay_bytes:
            # `Attached` says where the replay begins, so it waits for what the log finds.
            self._do(feeding.find_start(attachment, event.replay_bytes))
        else:
            attachment.seq = self.seq if joining.from_seq is None else joining.from_seq
            self._welcome(attachment, attachment.seq)
            self._feed(attachment)
        self._do(do.Changed())

    def _welcome(self, attachment: Attachment, seq: int) -> None:
        """Say that it is attached, and gets output from ``seq`` on."""
        about = self.about | {
            **attachment.describe(),
            "pid": self.pid,
            "rows": self.size.rows,
            "cols": self.size.cols,
            "answered": self._router.answered_since(attachment),
            "tells_size": True,
        }
        attachment.welcomed = True
        self._send(attachment, Attached(seq, self.seq, self.input.taken(attachment.client_id), about))

    def _on_client_left(self, event: ev.ClientLeft, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            self._forget(attachment)
            self._settle()

    def _on_client_dismissed(self, event: ev.ClientDismissed, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            self._send_away(attachment, event.reason, Detached(event.reason))
            self._settle()

    def _send_away(self, attachment: Attachment, reason: str, last_word: Message) -> None:
        # Who waits to be attached would take any other word for a broken connection.
        if not attachment.welcomed:
            self._welcome(attachment, self.seq)
        self._send(attachment, last_word)
        self._do(do.CloseClient(attachment.client, reason))
        self._forget(attachment)

    def _settle(self) -> None:
        """Do what it takes that somebody left."""
        self._fit_size()
        if not self.attachments and self.state is SessionState.RUNNING and self._sync_at is not None:
            # Nobody watches any more: what was seen must be safe now, not in half a minute.
            self._sync_at = None
            self._do(do.SyncLog())
        self._note_change()

    def _forget(self, attachment: Attachment) -> None:
        attachment.move(AttachmentMove.LEFT)
        del self.attachments[attachment.client]
        self._sizes.left(attachment)
        self._router.attachments_changed(self.attachments.values(), self.seq)
        self.input.left(attachment.client_id)

    # --- output to those who are not live ---------------------------------------------------------------

    def _feed(self, attachment: Attachment) -> None:
        """Go on with the log; where that has no more, the last word of an ended session comes next."""
        self._do(feeding.next_piece(attachment, self.seq))
        if attachment.live and self.ended is not None:
            self._send_away(attachment, "ended", self.ended)
            self._note_change()

    def _on_log_read(self, event: ev.LogRead, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None:
            return
        starts = attachment.seq < 0
        effects = feeding.take(attachment, event, self.seq, now)
        if starts:
            self._welcome(attachment, event.seq)
        self._do(*effects)
        if not event.data:
            self._feed(attachment)

    def _on_client_took(self, event: ev.ClientTook, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            attachment.outbox.left(event.queued, now)

    def _on_client_room(self, event: ev.ClientRoom, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is not None and attachment.outbox.awaits_room:
            attachment.outbox.got_room(now)
            self._feed(attachment)

    def _on_client_rewound(self, event: ev.ClientRewound, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            attachment.rewind(event.seq, now)
            self._feed(attachment)

    # --- input ------------------------------------------------------------------------------------------

    def _on_client_typed(self, event: ev.ClientTyped, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None:
            return
        if attachment.read_only:
            raise RemoteProtocolError("this attachment is read-only")
        if self.state is not _RUNNING:
            return  # `Ended` is on its way to this client; nothing is acknowledged
        typed = self.input.accept(attachment.client_id, event.seq, event.data, attachment.replies.feed)
        if typed:
            self._leading.typed(attachment, typed, now)
            if self._sizes.typed(attachment, typed):
                self._fit_size()  # first: what the program does at this key, it does in this size
            self._effects.append(do.WritePty(typed))
        else:  # a resend of what we have: the acknowledgement was lost, or is still to come
            self._send(attachment, InputAck(self.input.written(attachment.client_id)))

    def _on_injected(self, event: ev.Injected, now: float) -> None:
        if self.state is not SessionState.RUNNING:
            raise RefusedError("nothing runs in this session: `toowl attach` starts a fresh shell in it")
        self.input.inject(event.data)
        self._do(do.WritePty(event.data))

    def _on_pty_took(self, event: ev.PtyTook, now: float) -> None:
        acks = self.input.wrote(event.count)
        for attachment in self.attachments.values():
            if (end := acks.get(attachment.client_id)) is not None:
                self._send(attachment, InputAck(end))

    # --- what programs ask their terminal ---------------------------------------------------------------

    def _on_query(self, query: Query, now: float) -> None:
        if self._router.is_answered(query, self.attachments.values()):
            return
        if self.state is SessionState.RUNNING and self._answers.ask(query, self.size, now):
            self._do(do.Changed())

    def _on_screen_answered(self, event: ev.ScreenAnswered, now: float) -> None:
        self._answers.answered(event.end, event.data)

    def _type_answers(self, now: float) -> None:
        if answers := self._answers.take(now, self.input.pending):
            self.input.inject(answers)
            self._do(do.WritePty(answers))

    # --- size -------------------------------------------------------------------------------------------

    def _on_client_resized(self, event: ev.ClientResized, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            attachment.size = event.size
            self._sizes.resized(attachment)
            self._fit_size()

    def _on_resize_requested(self, event: ev.ResizeRequested, now: float) -> None:
        if self.state is SessionState.ENDED:
            raise RefusedError(
                "nothing runs in this session, so its size stays: `toowl attach` starts a fresh shell in it"
            )
        self._set_size(event.size)

    def _on_policy_changed(self, event: ev.PolicyChanged, now: float) -> None:
        self._sizes.policy = event.policy
        self._fit_size()

    def _fit_size(self) -> None:
        leads = (a.size for a in self.attachments.values() if a.role is Role.LEAD)
        if (size := next(leads, None) or self._sizes.wanted) is not None:
            self._set_size(size)

    def _set_size(self, size: Size) -> None:
        if size != self.size and self.state is not SessionState.ENDED:
            self.size = size
            self._do(do.ResizePty(size), do.LogResize(size), do.Changed())
            for attachment in self.attachments.values():
                if attachment.welcomed:
                    self._send(attachment, Resize(rows=size.rows, cols=size.cols))

    # --- ending the child, and time ---------------------------------------------------------------------

    def _on_kill_requested(self, event: ev.KillRequested, now: float) -> None:
        if self.state is not SessionState.RUNNING:
            raise RefusedError("nothing runs in this session: `toowl rm` forgets it")
        self._do(*self._killing.request(force=event.force, now=now))

    def _on_timer_fired(self, event: ev.TimerFired, now: float) -> None:
        if self._sync_at is not None and now >= self._sync_at:
            self._sync_at = None
            self._do(do.SyncLog())
        if self._news.due(now):
            self._do(do.Changed())
        self._do(*self._killing.due(now))
        overdue = self._farewell.overdue(self.attachments.values(), now)
        for attachment in overdue:
            self._do(do.CloseClient(attachment.client, "slow"))
            self._forget(attachment)
        if overdue:
            self._note_change()

    # --- plumbing ---------------------------------------------------------------------------------------

    def _do(self, *effects: do.Effect) -> None:
        self._effects.extend(effects)

    def _send(self, attachment: Attachment, message: Message) -> None:
        self._do(do.Send(attachment.client, message))


#: One for all sessions: a table of methods that each had for itself took 20 KiB of a custodian's own memory.
_HANDLERS: Mapping[type[ev.Event], Callable[[Session, Any, float], None]] = {
    ev.PtyOutput: Session._on_pty_output,
    ev.Marked: Session._on_marked,
    ev.ClientTook: Session._on_client_took,
    ev.ClientRoom: Session._on_client_room,
    ev.ClientTyped: Session._on_client_typed,
    ev.PtyTook: Session._on_pty_took,
    ev.LogRead: Session._on_log_read,
    ev.StartRequested: Session._on_start_requested,
    ev.ChildStarted: Session._on_child_started,
    ev.ChildFailed: Session._on_child_failed,
    ev.ChildEnded: Session._on_child_ended,
    ev.ClientJoined: Session._on_client_joined,
    ev.ClientLeft: Session._on_client_left,
    ev.ClientDismissed: Session._on_client_dismissed,
    ev.ClientRewound: Session._on_client_rewound,
    ev.ClientResized: Session._on_client_resized,
    ev.Injected: Session._on_injected,
    ev.ScreenAnswered: Session._on_screen_answered,
    ev.ResizeRequested: Session._on_resize_requested,
    ev.PolicyChanged: Session._on_policy_changed,
    ev.KillRequested: Session._on_kill_requested,
    ev.TimerFired: Session._on_timer_fired,
}
