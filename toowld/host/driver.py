"""The I/O driver of one session engine, the same in a custodian and in the daemon.

It turns file descriptors and time into the engine's events, and the engine's effects into I/O. It decides
nothing: what a session does is in `toowld.session`. The three sides of a session have their own files: its child
(`terminal`), its log (`scrollback`), its clients (`clients`). Here they meet the engine: every event and every effect
passes `_run`, where a trace can be taken, but for nearly all keys and output, which take the `bypass`.
"""

from __future__ import annotations

import time
from collections import deque

from toowld.errors import ToowlError
from toowld.host.bypass import Bypass
from toowld.host.client import Joining
from toowld.host.clients import Clients
from toowld.host.following import Following
from toowld.host.inheritance import NOTHING_GIVEN, Inheritance
from toowld.host.leaving import CLOSE_TIMEOUT
from toowld.host.loop import Loop, Timer
from toowld.host.scrollback import Scrollback
from toowld.host.terminal import Terminal
from toowld.log.writer import LogWriter
from toowld.session import Session, SessionState
from toowld.session import effects as do
from toowld.session import events as ev
from toowld.wire import Event

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from toowld.log.view import LogView  # a custodian needs none, nor the reader that it would load


class SessionHost:
    """Runs one `Session` on a loop.

    Args:
        loop: calls us; ours or asyncio's.
        session: the engine.
        log: the session's scrollback log; closed by us. A view of it where the child has ended.
        on_changed: something that lists show has changed.
        on_finished: the child has ended and all clients have been served; the host is closed.
        call_when_still: has something called once, when the loop has had nothing to do for a moment.
    """

    def __init__(
        self,
        loop: Loop,
        session: Session,
        log: LogWriter | LogView,
        *,
        on_changed: Callable[[], None],
        on_finished: Callable[[], None],
        call_when_still: Callable[[Callable[[], object]], None] | None = None,
        trace: Callable[[object], None] | None = None,
    ) -> None:
        self._session = session
        self._last_active_at = time.time()
        self._loop = loop
        self._on_changed = on_changed
        self._on_finished = on_finished
        self._trace = trace
        self._bypass = Bypass(loop, session, self.tell, call_when_still)
        self._terminal = Terminal(loop, self.tell, self._bypass.on_output)
        self._scrollback = Scrollback(
            loop, log, folder=lambda: self._terminal.folder, on_changed=self._note_change
        )
        self._clients = Clients(
            loop,
            session,
            self.tell,
            self._bypass.on_typed,
            self._bypass.on_taken,
            self._scrollback,
            on_left=self._report_finished,
            on_presence=self._follow,
        )
        self._bypass.connect(self._terminal, self._scrollback, self._clients)
        self._following: Following | None = None
        self._events: deque[ev.Event] = deque()
        self._effects: deque[do.Effect] = deque()
        self._running = False
        self._on_turn: Callable[[], None] | None = None
        self._changed = False
        self._timer: Timer | None = None
        self._timer_at = 0.0
        self._finished = False

    # --- for the owner ----------------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The engine, which knows all that has happened by now."""
        self._bypass.catch_up()
        return self._session

    @property
    def last_active_at(self) -> float:
        """When somebody typed or attached, in seconds since the epoch."""
        self._bypass.catch_up()
        return max(self._last_active_at, self._bypass.typed_at)

    def start(
        self,
        argv: Sequence[str],
        *,
        cwd: str,
        env: Mapping[str, str],
        argv0: str | None,
        inheritance: Inheritance = NOTHING_GIVEN,
        kind: str = "start",
    ) -> None:
        """Start the child.

        Args:
            kind: the mark that the log gets: "start", or "respawn" where the log goes on.

        Raises:
            SpawnFailed: it can't be; the host is closed and nothing is left behind.
        """
        self.tell(ev.StartRequested())
        try:
            pid = self._terminal.start(
                argv, cwd=cwd, env=env, size=self._session.size, argv0=argv0, inheritance=inheritance
            )
        except ToowlError:
            self.tell(ev.ChildFailed())
            self._scrollback.give_up()
            raise
        self._scrollback.mark_start(kind, list(argv), cwd, pid)
        self.tell(ev.ChildStarted(pid))
        self._terminal.listen()

    @property
    def finished(self) -> bool:
        """The child has ended and all clients have been served: nobody can join any more.

        The engine knows it first: its last effects may still wait for the disk.
        """
        return self._finished or self._session.finished

    @property
    def now(self) -> float:
        """Seconds of the monotonic clock, which all processes of a machine share."""
        return self._loop.time()

    @property
    def log(self) -> LogWriter | LogView:
        """What the session has printed."""
        return self._scrollback.log

    def set_log_limit(self, limit: int) -> None:
        """How many bytes of that may be held, from now on."""
        self._scrollback.set_limit(limit)

    def print(self, text: bytes) -> None:
        """Put a line of ours into the output, as if the child had printed it."""
        self.tell(ev.PtyOutput(text))

    def join(self, sock: socket.socket, unread: bytes, request_id: int, joining: Joining) -> None:
        """Make an attachment of a connection that asked for it with request ``request_id``.

        The socket becomes ours, whatever happens; a refusal is told to the client.
        """
        if self._clients.join(sock, unread, request_id, joining):
            self._last_active_at = time.time()

    def tell(self, event: ev.Event) -> None:
        """Give the engine an event and do what it wants.

        Raises:
            ToowlError: the engine refused this event (never when called from within an effect).
        """
        if self._running:
            self._events.append(event)
            return
        self._bypass.catch_up()
        self._events.append(event)
        self._run()

    def on_next_turn(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called once, when something happens: what was told of the session is not so any more."""
        self._on_turn = callback
        self._bypass.close()

    def clients(self) -> list[dict[str, Any]]:
        """Who is attached, for people to see."""
        attached = self.session.attachments
        return [about for about in self._clients.describe() if about["client"] in attached]

    def switch(self, to: str, client: int | None) -> tuple[int, int]:
        """Have clients (None: all) go to another session; how many were told, and how many can't."""
        return self._clients.ask(Event("switch", {"to": to}), client)

    def restarts(self) -> None:
        """The child is about to be ended to be started afresh: clients may wait for that."""
        self._clients.ask(Event("restart"))

    def departures(self) -> list[tuple[int, str]]:
        """Who left lately, by number, and why."""
        return self._clients.departures()

    def follow(self, base: str, agent: str | None) -> None:
        """Have shells follow those who attach, with the files of `Following`; ``agent``: of whoever begins."""
        self._following = Following(base, self._session.about.get("name"))
        self._following.begin(agent)

    def _follow(self) -> None:
        if self._following is not None:
            self._following.look(self._clients.offers())

    def rename(self, name: str | None) -> None:
        """Clients, and shells, are told another name from now on."""
        self._session.about["name"] = name
        if self._following is not None:
            self._following.rename(name)

    def end(self, reason: str) -> None:
        """End the child now because *we* are being ended: it is hung up on and counts as lost.

        Who has not all of its output yet is given it, but a shutdown must not wait: whoever needs longer is hung up
        on, and finds the rest in the log.
        """
        self._end_child(reason)
        self._clients.leaving.hurry()
        self._loop.call_at(self._loop.time() + CLOSE_TIMEOUT, self.abandon, reason)

    def abandon(self, reason: str) -> None:
        """End everything now, without another turn of the loop."""
        self._end_child(reason)
        self._finish()
        self._scrollback.give_up()
        self._clients.leaving.hurry()

    def _end_child(self, reason: str) -> None:
        if self._session.state is SessionState.RUNNING:
            self._terminal.drain()
            self.tell(ev.ChildEnded(None, None, reason))

    # --- over an upgrade of the code --------------------------------------------------------------------

    @property
    def settled(self) -> bool:
        """Whether `freeze` can be called: nothing is half done, and nothing on its way to the disk."""
        return not (self._running or self._events or self._effects or self._scrollback.busy)

    def recall(self) -> None:
        """Give all terminals back that are lent to us: `freeze` leaves them out. They may be lent again."""
        self._clients.recall()

    def freeze(self, keep: Callable[[int], int]) -> dict[str, Any]:
        """The session, its child and its clients as plain values, for `thaw`.

        The child runs, and we are `settled`. We may go on afterwards, if nobody else does.

        Args:
            keep: gets each descriptor that is in there, and gives it back.
        """
        return {
            "session": self.session.freeze(),
            "terminal": self._terminal.freeze(keep),
            "scrollback": self._scrollback.freeze(keep),
            "clients": self._clients.freeze(keep),
            "last_active_at": self.last_active_at,
            "following": None if self._following is None else self._following.freeze(),
        }

    @classmethod
    def thaw(
        cls,
        state: Mapping[str, Any],
        take: Callable[[int], int],
        loop: Loop,
        *,
        on_changed: Callable[[], None],
        on_finished: Callable[[], None],
        call_when_still: Callable[[Callable[[], object]], None] | None = None,
    ) -> SessionHost:
        """The opposite of `freeze`. ``take`` makes a descriptor ours. Nothing is read or written yet."""
        scrollback = state["scrollback"]
        log = LogWriter.thaw(scrollback["log"], take)
        session = Session.thaw(state["session"])
        host = cls(
            loop,
            session,
            log,
            on_changed=on_changed,
            on_finished=on_finished,
            call_when_still=call_when_still,
        )
        host._last_active_at = state["last_active_at"]
        host._scrollback.thaw(scrollback)
        host._terminal.thaw(state["terminal"], take, paused=session.paused)
        host._clients.thaw(state["clients"], take)
        if state.get("following") is not None:  # one of an older version has none
            host._following = Following.thaw(state["following"])
        host._set_timer()
        return host

    # --- the engine's turn ------------------------------------------------------------------------------

    def _run(self) -> None:
        self._running = True
        if self._on_turn is not None:
            callback, self._on_turn = self._on_turn, None
            callback()
        try:
            if self._effects:
                self._perform()  # what had to wait for the disk
            first = True
            while self._events or self._changed:
                if not self._events:  # told once, and when nothing more of this turn makes it old
                    self._changed = False
                    self._on_changed()
                    continue
                event = self._events.popleft()
                if self._trace is not None:
                    self._trace(event)
                try:
                    effects = self._session.handle(event, self._loop.time())
                except ToowlError:
                    if first:
                        raise
                    continue  # a follow-up of our own that came too late
                finally:
                    first = False
                self._effects += effects
                self._perform()
        finally:
            self._running = False
            self._set_timer()
            if self._on_turn is None:
                self._bypass.open()
            else:
                self._bypass.close()

    def _perform(self) -> None:
        """Do what is to be done. While the end is on its way to the disk it stands in line: the engine goes on."""
        while self._effects and not self._scrollback.ending:
            effect = self._effects.popleft()
            if self._trace is not None:
                self._trace(effect)
            _PERFORMERS[type(effect)](self, effect)

    def _resume(self) -> None:
        if not self._running:  # else `_perform` goes on by itself
            self._bypass.catch_up()
            self._run()

    def _set_timer(self) -> None:
        deadline = None if self._finished else self._session.next_deadline()
        if self._timer is not None:
            if deadline is not None and deadline >= self._timer_at:
                return  # the deadline moves on with every byte; `_on_timer` sets the rest of the way
            self._timer.cancel()
            self._timer = None
        if deadline is not None:
            self._timer_at = deadline
            self._timer = self._loop.call_at(deadline, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        deadline = self._session.next_deadline()
        if deadline is not None and deadline <= self._loop.time():
            self.tell(ev.TimerFired())
        else:
            self._set_timer()

    # --- what touches more than one side ----------------------------------------------------------------

    def _note_change(self) -> None:
        if self._running:
            self._changed = True
        else:
            self._on_changed()

    def _write_pty(self, effect: do.WritePty) -> None:
        self._terminal.write(effect)
        self._last_active_at = time.time()

    def _log_exit(self, effect: do.LogExit) -> None:
        # The pid tells whose end this is, should an older one be the last that reached the disk.
        self._scrollback.mark(
            "exit",
            reason=effect.reason,
            code=effect.code,
            signal=effect.signal,
            requested=effect.requested,
            pid=self._session.pid,
        )

    def _sync_log(self, effect: do.SyncLog) -> None:
        if self._session.state is SessionState.ENDED:
            self._scrollback.sync_end(self._resume)
        else:
            self._scrollback.begin_sync()

    def _close_pty(self, effect: do.ClosePty) -> None:
        self._clients.leaving.ended_at = self._loop.time()
        self._terminal.close()

    # --- the end ----------------------------------------------------------------------------------------

    def _finish(self) -> None:
        if self._finished:
            return
        self._finished = True
        self._terminal.close()
        self._scrollback.close()
        self._clients.close()
        self._report_finished()

    def _report_finished(self) -> None:
        """Once, when nobody is left, not even those who are on their way out."""
        if self._finished and not self._clients.leaving:
            report, self._on_finished = self._on_finished, lambda: None
            report()


#: One for all hosts: each had its own table of methods, 20 KiB of a custodian's own memory.
_PERFORMERS: Mapping[type[do.Effect], Callable[[SessionHost, Any], None]] = {
    do.AppendLog: lambda host, effect: host._scrollback.append(effect.data),
    do.Send: lambda host, effect: host._clients.send(effect),
    do.WritePty: SessionHost._write_pty,
    do.ReadLog: lambda host, effect: host._clients.read_log(effect),
    do.FindReplayStart: lambda host, effect: host._clients.find_replay_start(effect),
    do.WatchRoom: lambda host, effect: host._clients.watch_room(effect),
    do.PausePty: lambda host, effect: host._terminal.pause(effect),
    do.ResumePty: lambda host, effect: host._terminal.resume(effect),
    do.ResizePty: lambda host, effect: host._terminal.resize(effect),
    do.LogResize: lambda host, effect: host._scrollback.resize(effect),
    do.LogExit: SessionHost._log_exit,
    do.SyncLog: SessionHost._sync_log,
    do.NudgeForeground: lambda host, effect: host._terminal.nudge(effect),
    do.SignalSession: lambda host, effect: host._terminal.signal(effect),
    do.ClosePty: SessionHost._close_pty,
    do.CloseClient: lambda host, effect: host._clients.dismiss(effect),
    do.Changed: lambda host, effect: host._note_change(),
    do.Finished: lambda host, effect: host._finish(),
}
