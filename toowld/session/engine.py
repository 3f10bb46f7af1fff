"""The session engine: events in, effects out. PURE.

One `Session` decides everything about one child on one PTY: what goes into the log and to whom, who may slow
the child down, how large the terminal is, and how the child is ended. It does no I/O and knows no clock: the
driver (`toowld.host`) tells it what happened and when, and carries out what it returns.

How output reaches clients
--------------------------
Output is counted in bytes from the session's first one (``seq``) and is appended to the log before anybody
sees it. A LIVE attachment gets it at once. Any other is fed from the log, one piece at a time, each when the
last one is gone, until it has caught up; so replaying to a new client, and helping one that fell behind, are
the same thing. There is no moment between "replay" and "live" at which a byte could be lost or sent twice: both
continue at the attachment's own ``seq``.

Who may slow the child down
---------------------------
Only the lead: who took the lead, else who typed last. When its outbox is full, or it is nearly caught up, the PTY is
not read until it has room, so a terminal that keeps going loses nothing and Ctrl-C acts at once. From farther behind,
the child may print half of what the lead is given meanwhile: it gets nearer, and the log never overtakes it. If it
takes nothing for `outbox.STALL_AFTER`, it falls behind like everybody else, and the child goes on. What a terminal
says by itself is not typing: nobody leads by that.

Who answers what a program asks its terminal
--------------------------------------------
One terminal does: that of the lead at the moment of the question. What others answer to it is dropped. Where
nobody's terminal is there we answer ourselves (`toowld.session.answers`), also if somebody attaches meanwhile:
clients show old output without its questions. With a single terminal, output is not even looked at for them.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping
from typing import Any

from toowld.errors import LocalProtocolError, RefusedError, RemoteProtocolError
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.session.answers import Answers
from toowld.session.attachment import Attachment
from toowld.session.inputs import InputQueue
from toowld.session.marks import Marked
from toowld.session.queries import Query, QueryScanner, only_reports
from toowld.session.sizes import SizePolicy, Sizes
from toowld.session.states import (
    AttachmentMove,
    Role,
    RoleMove,
    SessionMove,
    SessionState,
    next_session_state,
)
from toowld.wire import Attached, Detached, Ended, Gap, InputAck, Live, Message, Output, Resize, Size

#: One piece of replay. Large enough that the cost per piece vanishes, small enough that the PTY and other
#: clients get their turn between two of them.
REPLAY_PIECE = 64 << 10

#: A lead that is this close to the end holds the PTY until it has caught up; else a child that prints as fast
#: as the log can be read would keep it behind for ever. At a terminal's 20 MB/s the child waits 50 ms for it.
NEARLY_CAUGHT_UP = 1 << 20

#: What the child may print is not saved up for later beyond this, nor what it has printed too much: one read of
#: the PTY.
MAX_ALLOWANCE = 64 << 10

#: Dirty output is synced to the disk so long after its first byte (seconds): what a power cut may cost.
SYNC_INTERVAL = 30.0

#: HUP, then TERM, then KILL: a shell that saves its history on HUP needs a moment, seldom more.
KILL_STEPS: tuple[tuple[int, float], ...] = (
    (signal.SIGHUP, 2.0),
    (signal.SIGTERM, 3.0),
    (signal.SIGKILL, 1.0),
)

#: News of titles, bells and prompts are that far apart at least (seconds), however many a program prints.
MARKS_INTERVAL = 0.05

#: Clients that take nothing any more get so long, at least, after the end of the child.
FAREWELL = 5.0

#: Those who still take their last bytes get so long, and no longer: a client that trickles must not keep a
#: custodian for ever. Over a line of 1 MB/s nearly all of a full log comes through meanwhile.
LONGEST_FAREWELL = 60.0


#: What those are told whom somebody else wants out.
TAKEN_OVER = "taken over from another terminal"

#: With so much input waiting for the child it gets no answers to what it asks.
MAX_UNREAD = 4 << 10


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
        self._marks_told_at = -MARKS_INTERVAL
        self._marks_at: float | None = None  # when they are to be told of
        self._sizes = Sizes(policy)
        self._answers = Answers()
        self._scanner: QueryScanner | None = QueryScanner()  # none while a single terminal answers all
        self._terminals = 0  # of those who may type
        self._typed_at = 0.0  # when somebody last typed, or attached
        self._unseen_since = seq  # what was printed from here on, no terminal was there to answer
        self._sync_interval = sync_interval
        self._sync_at: float | None = None
        self._paused = False
        self._kill_plan: list[tuple[int, float]] = []
        self._kill_at: float | None = None
        self.end_requested = False  # by `KillRequested`
        self._farewell_at: float | None = None
        self._farewell_until = 0.0
        self._finished = False
        self._effects: list[do.Effect] = []
        self._handlers: dict[type[ev.Event], Callable[[Any, float], None]] = {
            ev.PtyOutput: self._on_pty_output,
            ev.ClientTook: self._on_client_took,
            ev.ClientRoom: self._on_client_room,
            ev.ClientTyped: self._on_client_typed,
            ev.PtyTook: self._on_pty_took,
            ev.LogRead: self._on_log_read,
            ev.StartRequested: self._on_start_requested,
            ev.ChildStarted: self._on_child_started,
            ev.ChildFailed: self._on_child_failed,
            ev.ChildEnded: self._on_child_ended,
            ev.ClientJoined: self._on_client_joined,
            ev.ClientLeft: self._on_client_left,
            ev.ClientDismissed: self._on_client_dismissed,
            ev.ClientRewound: self._on_client_rewound,
            ev.ClientResized: self._on_client_resized,
            ev.Injected: self._on_injected,
            ev.ScreenAnswered: self._on_screen_answered,
            ev.ResizeRequested: self._on_resize_requested,
            ev.PolicyChanged: self._on_policy_changed,
            ev.KillRequested: self._on_kill_requested,
            ev.TimerFired: self._on_timer_fired,
        }

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
        self._handlers[type(event)](event, now)
        if self._answers.waiting:
            self._type_answers(now)
        self._regulate(now)
        return self._effects

    @property
    def finished(self) -> bool:
        """The child has ended and nobody is left who must be told: whoever joins now is refused."""
        return self._finished

    def next_deadline(self) -> float | None:
        """When to report `TimerFired` (monotonic seconds), unless asked again before."""
        deadlines = (
            self._sync_at,
            self._kill_at,
            self._farewell_at,
            self._marks_at,
            self._answers.deadline,
        )
        times = [t for t in deadlines if t is not None]
        if self._paused and (lead := self._lead()) is not None and lead.outbox.waits:
            times.append(lead.outbox.stalls_at)
        return min(times, default=None)

    # --- over an upgrade of the code --------------------------------------------------------------------

    @property
    def paused(self) -> bool:
        """Whether the PTY is not to be read now."""
        return self._paused

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
            "paused": self._paused,
            "kill_plan": [list(step) for step in self._kill_plan],
            "kill_at": self._kill_at,
            "end_requested": self.end_requested,
            "scanned": None if self._scanner is None else self._scanner.begun,
            "unseen_since": self._unseen_since,
            "answers": self._answers.freeze(),
            "marks": self.marked.freeze(),
            "marks_at": self._marks_at,
            "output_at": self.output_at,
        }

    @classmethod
    def thaw(cls, state: Mapping[str, Any]) -> Session:
        """The opposite of `freeze`."""
        session = cls(seq=state["seq"], size=Size(rows=state["rows"], cols=state["cols"]))
        session.state = SessionState.RUNNING
        session.pid = state["pid"]
        session.about = dict(state["about"])
        session.attachments = {
            attachment.client: attachment for attachment in map(Attachment.thaw, state["attachments"])
        }
        session._sizes = Sizes.thaw(state, session.attachments.values())
        session.input = InputQueue.thaw(state["input"])
        session._sync_at = state["sync_at"]
        session._paused = state["paused"]
        session._kill_plan = [(signum, wait) for signum, wait in state["kill_plan"]]
        session._kill_at = state["kill_at"]
        session.end_requested = state["end_requested"]
        session._scanner = None if state["scanned"] is None else QueryScanner(state["scanned"])
        session._terminals = sum(attachment.has_terminal for attachment in session.attachments.values())
        session._typed_at = max((a.typed_at for a in session.attachments.values()), default=0.0)
        session._unseen_since = state["unseen_since"]
        session._answers = Answers.thaw(state["answers"])
        session.output_at = state.get("output_at")
        if "marks" in state:  # else it is of a version that did not look for them
            session.marked = Marked.thaw(state["marks"])
            session._marks_at = state["marks_at"]
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
            self._send_away(attachment, "failed")
        self._sync_at = None
        self._finish()

    def _on_pty_output(self, event: ev.PtyOutput, now: float) -> None:
        if self.state is SessionState.ENDED:
            raise LocalProtocolError("output after the end: clients were told that there is no more")
        data = event.data
        start = self.seq
        self.seq = start + len(data)
        self.output_at = now
        self._do(do.AppendLog(data))
        if self._sync_at is None:
            self._sync_at = now + self._sync_interval
        if self._scanner is not None:
            for query in self._scanner.feed(data, start, now):
                self._asked(query, now)
        output = Output(start, data)
        for attachment in self.attachments.values():
            if attachment.live:
                attachment.outbox.add(len(data), now)
                attachment.seq = self.seq
                self._do(do.Send(attachment.client, output))
            else:
                attachment.allowance = max(attachment.allowance - len(data), -MAX_ALLOWANCE)
        if self.marked.look(data, start) and self._marks_at is None:
            self._marks_at = max(now, self._marks_told_at + MARKS_INTERVAL)
            self._tell_marks(now)

    def _tell_marks(self, now: float) -> None:
        """Tell of them behind the output that has them, if they were not told of just now."""
        if self._marks_at is not None and now >= self._marks_at:
            self._marks_at = None
            self._marks_told_at = now
            self._do(do.Changed())

    def _on_child_ended(self, event: ev.ChildEnded, now: float) -> None:
        self.state = next_session_state(self.state, SessionMove.CHILD_ENDED)
        if self.end_requested:
            # Whoever ignored the signals so far has had its time; nothing of a killed session stays.
            self._do(do.SignalSession(signal.SIGKILL))
        self._kill_at = None
        self._kill_plan = []
        self._marks_at = None  # the end is news that tells all
        self._answers.forget()
        self.ended = Ended(self.seq, event.reason, event.code, event.signal)
        self._do(
            do.LogExit(event.reason, event.code, event.signal, self.end_requested),
            do.ClosePty(),
            do.SyncLog(),  # whoever is told of the end must find it on the disk
        )
        self._sync_at = None
        self._farewell_at = now + FAREWELL
        self._farewell_until = now + LONGEST_FAREWELL
        for attachment in list(self.attachments.values()):
            if attachment.live:
                self._say_farewell(attachment)
        self._do(do.Changed())  # after them: who hears that it has ended hears why they are gone
        self._finish_if_alone()

    def _say_farewell(self, attachment: Attachment) -> None:
        assert self.ended is not None
        self._send(attachment, self.ended)
        self._do(do.CloseClient(attachment.client, "ended"))
        self._forget(attachment)

    def _finish_if_alone(self) -> None:
        if self.state is SessionState.ENDED and not self.attachments:
            self._finish()

    def _finish(self) -> None:
        self._farewell_at = None
        if not self._finished:
            self._finished = True
            self._do(do.Finished())

    # --- attaching and leaving --------------------------------------------------------------------------

    def _on_client_joined(self, event: ev.ClientJoined, now: float) -> None:
        if self._finished:
            raise RefusedError("the session has just ended: attach again")
        if event.client in self.attachments:
            raise LocalProtocolError(f"client {event.client} is attached already")
        from_seq = event.from_seq
        if from_seq is not None and not 0 <= from_seq < 1 << 63:
            raise RemoteProtocolError(f"asked for output from {from_seq}")
        if from_seq is not None and from_seq > self.seq:
            # It has output that the log lost (the power went), or of another session. None of ours continues it.
            from_seq = None
        if event.lead is not ev.Lead.NO and event.read_only:
            raise RemoteProtocolError("who may only watch can't take the lead")
        attachment = Attachment(event.client, event.client_id, event.size, event.read_only, now)
        fresh = from_seq is None or event.redraw  # not one that is back by itself, and shows all it was given
        older = next((a for a in self.attachments.values() if a.client_id == event.client_id), None)
        self._sizes.joined(attachment, fresh, older)
        if not fresh:  # its user has done nothing: it leads as much as it did
            attachment.typed_at = min([now, *(a.typed_at for a in self.attachments.values())])
            attachment.typed_at = attachment.typed_at if older is None else older.typed_at
        taken = any(a.role is Role.LEAD for a in self.attachments.values() if a is not older)
        if event.lead is ev.Lead.TAKE or (event.lead is ev.Lead.KEEP and not taken):
            self._take_lead(attachment)
        for other in list(self.attachments.values()) if event.steal else ():
            if other is not older:
                self._send_away(other, TAKEN_OVER)
        if older is not None:
            # The same client over a new connection: the old one is half open, and would get everything twice.
            # It does not count as one that left: the size, the disk and the end of all are not its business.
            self._send_away(older, "replaced")
        self.attachments[event.client] = attachment
        self._typed_at = max(self._typed_at, attachment.typed_at)
        self._watch_queries()
        self.input.joined(event.client_id)
        size_before = self.size
        self._fit_size()
        same_size = self.size == size_before
        if fresh and event.size is not None and same_size and self.state is not SessionState.ENDED:
            self._do(do.NudgeForeground())
        if from_seq is None and event.replay_bytes:
            # `Attached` says where the replay begins, so it waits for what the log finds.
            attachment.seq = -1
            attachment.reading = True
            self._do(do.FindReplayStart(event.client, event.replay_bytes, REPLAY_PIECE))
        else:
            attachment.seq = self.seq if from_seq is None else from_seq
            self._welcome(attachment)
            self._feed(attachment)
        self._do(do.Changed())

    def _welcome(self, attachment: Attachment) -> None:
        about = self.about | {
            "client": attachment.client,
            "pid": self.pid,
            "rows": self.size.rows,
            "cols": self.size.cols,
            "read_only": attachment.read_only,
            "role": attachment.role.value,
            "answered": self._answered_since(attachment),
            "tells_size": True,
        }
        attachment.welcomed = True
        input_seq = self.input.taken(attachment.client_id)
        self._send(attachment, Attached(attachment.seq, self.seq, input_seq, about))

    def _on_client_left(self, event: ev.ClientLeft, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            self._forget(attachment)
            self._settle()

    def _on_client_dismissed(self, event: ev.ClientDismissed, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            self._send_away(attachment, event.reason)
            self._settle()

    def _send_away(self, attachment: Attachment, reason: str) -> None:
        self._send(attachment, Detached(reason))
        self._do(do.CloseClient(attachment.client, reason))
        self._forget(attachment)

    def _settle(self) -> None:
        """Do what it takes that somebody left."""
        self._fit_size()
        if not self.attachments and self.state is SessionState.RUNNING and self._sync_at is not None:
            # Nobody watches any more: what was seen must be safe now, not in half a minute.
            self._sync_at = None
            self._do(do.SyncLog())
        self._do(do.Changed())
        self._finish_if_alone()

    def _forget(self, attachment: Attachment) -> None:
        attachment.move(AttachmentMove.LEFT)
        del self.attachments[attachment.client]
        self._sizes.left(attachment)
        self._watch_queries()
        self.input.left(attachment.client_id)

    # --- output to those who are not live ---------------------------------------------------------------

    def _feed(self, attachment: Attachment) -> None:
        """Give the next piece from the log, or declare the attachment caught up."""
        if attachment.seq < self.seq:
            attachment.reading = True
            self._do(do.ReadLog(attachment.client, attachment.seq, REPLAY_PIECE))
            return
        attachment.move(AttachmentMove.CAUGHT_UP)
        self._send(attachment, Live(attachment.seq))
        if self.ended is not None:
            self._say_farewell(attachment)
            self._do(do.Changed())
            self._finish_if_alone()

    def _on_log_read(self, event: ev.LogRead, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None:
            return
        begin, end = event.seq, event.seq + len(event.data)
        if not (attachment.reading and attachment.seq <= begin and end <= self.seq):
            raise LocalProtocolError(f"the log's output from {begin} to {end} was not asked for")
        attachment.reading = False
        if attachment.seq < 0:  # the answer to FindReplayStart
            attachment.seq = begin
            self._welcome(attachment)
        elif begin == end == attachment.seq:
            begin = end = self.seq  # the log lost what it was given; to ask again would go on for ever
        if begin > attachment.seq:
            self._send(attachment, Gap(attachment.seq, begin))
            attachment.replies.forget()
        attachment.seq = end
        if event.data:
            attachment.outbox.add(len(event.data), now)
            attachment.allowance = min(attachment.allowance + len(event.data) // 2, MAX_ALLOWANCE)
            self._send(attachment, Output(event.seq, event.data))
            self._watch_room(attachment, now)
        else:
            self._feed(attachment)

    def _on_client_took(self, event: ev.ClientTook, now: float) -> None:
        if (attachment := self.attachments.get(event.client)) is not None:
            attachment.outbox.left(event.queued, now)

    def _on_client_room(self, event: ev.ClientRoom, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None or not attachment.outbox.awaits_room:
            return
        attachment.outbox.got_room(now)
        self._feed(attachment)

    def _watch_room(self, attachment: Attachment, now: float) -> None:
        """Feed it again when it has room; not before, though it may have by now: others want their turn."""
        attachment.outbox.await_room(now)
        self._do(do.WatchRoom(attachment.client))

    def _on_client_rewound(self, event: ev.ClientRewound, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None:
            return
        if not 0 <= event.seq <= attachment.seq:
            raise RemoteProtocolError(f"output from {event.seq} was not given yet")
        attachment.move(AttachmentMove.REWOUND)
        attachment.seq = event.seq
        attachment.reading = False
        attachment.allowance = 0
        attachment.outbox.got_room(now)
        self._feed(attachment)

    # --- flow -------------------------------------------------------------------------------------------

    def _lead(self) -> Attachment | None:
        """Who took the lead, else who typed last, of those who may type."""
        typists = [a for a in self.attachments.values() if not a.read_only]
        return max(typists, key=lambda a: a.precedence, default=None)

    def _take_lead(self, attachment: Attachment) -> None:
        for other in self.attachments.values():
            if other.role is Role.LEAD and other is not attachment:
                other.change_role(RoleMove.LOST)
        attachment.change_role(RoleMove.TAKEN)

    def _regulate(self, now: float) -> None:
        """Pause or resume the PTY, and let those fall behind who are too slow to be live."""
        for attachment in self.attachments.values():
            if attachment.outbox.holds or not attachment.live:
                break
        else:  # all keep up, as nearly always: a key must not wait for the rest
            if not self._paused:
                return
        lead = self._lead() if self.attachments else None
        for attachment in self.attachments.values():
            if not (attachment.live and attachment.outbox.full):
                continue
            if attachment is not lead or attachment.outbox.is_stalled(now):
                attachment.move(AttachmentMove.FELL_BEHIND)
                attachment.allowance = 0
                self._watch_room(attachment, now)
        if self.state is not SessionState.RUNNING:
            self._paused = False  # there is no PTY
            return
        hold = lead is not None and self._holds(lead, now)
        if hold != self._paused:
            self._paused = hold
            self._do(do.PausePty() if hold else do.ResumePty())

    def _holds(self, lead: Attachment, now: float) -> bool:
        if lead.outbox.is_stalled(now):
            return False
        if lead.live:
            return lead.outbox.holds or (self._paused and not lead.outbox.has_room)
        if lead.seq < 0:
            return False  # where its replay begins is known in a moment
        return self.seq - lead.seq <= NEARLY_CAUGHT_UP or lead.allowance <= 0

    # --- input ------------------------------------------------------------------------------------------

    def _on_client_typed(self, event: ev.ClientTyped, now: float) -> None:
        attachment = self.attachments.get(event.client)
        if attachment is None:
            return
        if attachment.read_only:
            raise RemoteProtocolError("this attachment is read-only")
        if self.state is not SessionState.RUNNING:
            return  # `Ended` is on its way to this client; nothing is acknowledged
        seq = self.input.taken(attachment.client_id) if event.seq is None else event.seq
        typed = self.input.accept(attachment.client_id, seq, event.data, attachment.replies.feed)
        if typed:
            if attachment.typed_at >= self._typed_at or not only_reports(typed):
                attachment.typed_at = self._typed_at = now
            if self._sizes.typed(attachment, typed):
                self._fit_size()  # first: what the program does at this key, it does in this size
            self._do(do.WritePty(typed))
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

    @property
    def questions(self) -> list[Query]:
        """Those that somebody who knows the screen should answer with `events.ScreenAnswered`."""
        return self._answers.questions

    def _watch_queries(self) -> None:
        """Do what it takes that somebody came or left."""
        terminals = sum(attachment.has_terminal for attachment in self.attachments.values())
        if terminals == self._terminals:
            return
        if not terminals:
            self._unseen_since = self.seq
        self._terminals = terminals
        self._scanner = None if terminals == 1 else QueryScanner()

    def _answered_since(self, attachment: Attachment) -> int:
        """From where on nobody waits for this client's answers to what was printed by now."""
        return self._unseen_since if self._terminals == attachment.has_terminal else 0

    def _asked(self, query: Query, now: float) -> None:
        terminals = [a for a in self.attachments.values() if a.has_terminal]
        if terminals:
            lead = max(terminals, key=lambda attachment: attachment.precedence)
            for attachment in terminals:
                if attachment is not lead:
                    attachment.replies.expect(query.kind)
        elif self.state is SessionState.RUNNING and self._answers.ask(query, self.size, now):
            self._do(do.Changed())

    def _on_screen_answered(self, event: ev.ScreenAnswered, now: float) -> None:
        self._answers.answered(event.end, event.data)

    def _type_answers(self, now: float) -> None:
        answers = self._answers.take(now)
        if answers and self.input.pending <= MAX_UNREAD:  # else it asks, and does not read
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
        if self.end_requested and not event.force:
            return  # it is under way: whoever asks again and again must not keep it at the first step
        self.end_requested = True
        self._kill_plan = [step for step in KILL_STEPS if not event.force or step[0] == signal.SIGKILL]
        self._next_kill_step(now)

    def _next_kill_step(self, now: float) -> None:
        # The last step is repeated: a process in uninterruptible sleep dies when it wakes, and until then the
        # session says "running", which is the truth.
        signum, wait = self._kill_plan.pop(0) if len(self._kill_plan) > 1 else self._kill_plan[0]
        self._do(do.SignalSession(signum))
        if signum != signal.SIGKILL:
            self._do(do.SignalSession(signal.SIGCONT))  # a stopped process can't act on HUP or TERM
        self._kill_at = now + wait

    def _on_timer_fired(self, event: ev.TimerFired, now: float) -> None:
        if self._sync_at is not None and now >= self._sync_at:
            self._sync_at = None
            self._do(do.SyncLog())
        self._tell_marks(now)
        if self._kill_at is not None and now >= self._kill_at:
            self._next_kill_step(now)
        if self._farewell_at is not None and now >= self._farewell_at:
            # For those who still take their last bytes.
            self._farewell_at = min(now + FAREWELL, self._farewell_until)
            late = now >= self._farewell_until
            dropped = [a for a in self.attachments.values() if late or a.outbox.is_stalled(now)]
            for attachment in dropped:
                self._do(do.CloseClient(attachment.client, "slow"))
                self._forget(attachment)
            if dropped:
                self._do(do.Changed())
                self._finish_if_alone()

    # --- plumbing ---------------------------------------------------------------------------------------

    def _do(self, *effects: do.Effect) -> None:
        self._effects.extend(effects)

    def _send(self, attachment: Attachment, message: Message) -> None:
        self._do(do.Send(attachment.client, message))
