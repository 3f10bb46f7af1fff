r"""What goes on while a session is on this terminal.

`Loop` is the one loop between the user's terminal and the session's socket. What the bytes mean is decided elsewhere:
`Attachment` (the session's side), `Chords` (what is typed). What of it is shown, and what we say in between, is
`Screen`'s; where the bytes come from, and what to do when they stop coming, is `Connection`'s.

Bounds: while the terminal doesn't take output the socket is not read, so a slow terminal slows only itself down.
The terminal is read all the same, and so the detach chord always works, also with a session that hangs, or that
can't be reached. While the terminal is lent to the session (`Lending`) nothing of either passes through here.
"""

from __future__ import annotations

import select
import signal
import time

from toowl import banner, picture
from toowl.attachment import Attachment, Notice, Phase
from toowl.connection import Connection
from toowl.entering import elsewhere
from toowl.keys import Chords, DetachRequested, Send
from toowl.lending import Lending
from toowl.outcomes import Outcome
from toowl.screen import Screen
from toowl.terminal import ENDING
from toowl.viewing import Viewing
from toowld import errors, wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from toowl.connection import Dialler
    from toowl.entering import Entered
    from toowl.terminal import RawTerminal

#: After the chord: how long the session may take to say goodbye.
_DETACH_TIMEOUT = 2.0
#: Output waiting for the terminal, beyond which the socket is left alone. Next to nothing: what is read cannot be
#: taken back when Ctrl-C is pressed, and the session holds the rest as well as we.
_SCREEN_HIGH = 4 << 10
#: What was typed is read in pieces of this size.
_READ_BYTES = 64 << 10

#: An outage as short as this is not worth a line: nobody would have the time to read it.
_BANNER_AFTER = 0.3
#: So long a paste that is larger than what may be typed ahead just waits; after that it is refused, and the
#: terminal read again, because the detach chord may stand behind it.
_PASTE_PATIENCE = 3.0
#: A paste that was refused is over when nothing more came for so long.
_QUIET = 0.3
#: A program that asked the terminal something still waits for the answer after an outage of this length.
_BRIEF = 1.0


class Loop:
    """Moves bytes until the attachment is over.

    Args:
        painted: so many bytes of the picture to begin with are on the terminal already.
        dialler: makes a connection that breaks anew.
    """

    def __init__(
        self, entered: Entered, terminal: RawTerminal, painted: int, dialler: Dialler | None
    ) -> None:
        request = entered.request
        attachment = Attachment(
            entered.attached, session=str(request["session"]), read_only=bool(request["read_only"])
        )
        self._connection = Connection(entered.client, entered.session_id, dialler)
        self._attachment = attachment
        self._terminal = terminal
        self._dialler = dialler
        self._request = request
        self._size = wire.Size(rows=request["rows"], cols=request["cols"])
        self._chords = Chords()
        self._screen = Screen(terminal, attachment, cols=self._size.cols)
        if entered.picture is not None:
            attachment.paint(entered.picture)
            self._screen.begun(painted)
        self._lending = Lending(terminal, attachment, self._screen, self._chords.stops)
        self._viewing = Viewing(attachment, self._screen, self._size, self._picture)
        self._respawn = False
        self._whole = False  # the session does not know what we have seen: begin anew
        self._typed_at = 0.0
        self._silent = False  # the session owes us something, and hangs
        self._deadline: float | None = None
        self._target: str | None = None  # the session that is wanted here instead
        self.following: Entered | None = None  # the same, once it is there
        self._restarts = False  # the session's child is being ended, and another one follows

    def run(self) -> Outcome:
        """Until the attachment is over; gives the terminal back in good order, whatever happens."""
        message = ""
        try:
            self._resize()
            self._decode()
            while True:
                while (outcome := self._finished()) is None:
                    self._turn()
                if not (self._connection.may_return and (self._follow(outcome) or self._renew(outcome))):
                    break
            message = outcome.message
            return outcome
        finally:
            self._lending.take_back()
            self._lending.close()
            self._connection.close()
            if self.following is None:
                self._screen.farewell(message)
            else:
                self._screen.give_back(forget_reports=True)

    def _finished(self) -> Outcome | None:
        attachment = self._attachment
        self._tend()
        if self._connection.up:
            self._connection.send(attachment.outbox)
        if self._viewing.due or self._target is not None:
            self._lending.take_back()
        if not self._lending.ours:
            return None
        self._screen.show(self._banner())
        if self._deadline is not None and time.monotonic() >= self._deadline:
            attachment.leave()
        if self._screen.busy:
            return None
        if self._target is not None and attachment.phase is Phase.OPEN:
            self._switch(self._target)
        if attachment.phase is Phase.OPEN:
            self._viewing.tend()
            if self._screen.busy:
                self._screen.show(self._banner())
        settled = self._chords.idle and not self._viewing.on
        if attachment.outcome is None and self._connection.up and settled:
            self._lending.offer(self._connection)
        return attachment.outcome

    def _turn(self) -> None:
        """Wait for something to happen, and take it in."""
        attachment, terminal, connection = self._attachment, self._terminal, self._connection
        poll = select.poll()
        poll.register(terminal.signal_fd, select.POLLIN)
        ours = self._lending.ours
        if ours:
            mask = select.POLLIN if self._hears_user else 0
            if self._screen.wants_turn:
                mask |= select.POLLOUT
            poll.register(terminal.fd, mask)
        watch = self._lending.register(poll)
        connected = connection.register(
            poll,
            read=attachment.phase is not Phase.OVER and (attachment.screen_bytes < _SCREEN_HIGH or not ours),
            write=bool(attachment.outbox),
        )
        ready = dict(poll.poll(self._timeout()))
        if terminal.signal_fd in ready:
            self._signals()
        # Before the terminal: what the session read from it and gives back was typed before what is there now.
        if connected in ready and connection.up and ready[connected] & ~select.POLLOUT:
            self._received()
        typed = ready.get(terminal.fd, 0) & ~select.POLLOUT
        if typed & ~select.POLLIN or (typed and self._hears_user):  # the first of them: it hung up
            self._typed()
        if watch in ready:
            self._lending.watched()

    @property
    def _hears_user(self) -> bool:
        """Whether what is typed is to be read here, and now."""
        return self._lending.ours and (self._attachment.takes_input or self._away_for() > _PASTE_PATIENCE)

    def _timeout(self) -> float | None:
        """How long nothing has to be done, in milliseconds."""
        times = [self._deadline, self._connection.deadline, self._lending.deadline]
        if not self._screen.busy and self._attachment.phase is Phase.OPEN:
            times.append(self._viewing.deadline)
        if self._attachment.refused:
            times.append(self._typed_at + (_QUIET if self._connection.up else _PASTE_PATIENCE))
        if (since := self._connection.down_since) is not None and not self._screen.banner:
            times.append(since + _BANNER_AFTER)
        first = min((at for at in times if at is not None), default=None)
        return None if first is None else max(first - time.monotonic(), 0) * 1000 + 1  # poll rounds down

    # -- the session's side -------------------------------------------------------------------------------

    def _received(self) -> None:
        if self._connection.receive():
            self._decode()
        else:
            self._hung_up("the connection broke")

    def _decode(self) -> None:
        for message in self._connection.messages():
            if self._lending.receive(message):
                self._attachment.receive(message)
                if isinstance(message, wire.Returned):
                    self._take_over(message)
            if isinstance(message, wire.Event) and message.name == "switch":
                target = message.data.get("to")
                self._target = target if isinstance(target, str) else None
            if isinstance(message, wire.Event) and message.name == "restart":
                self._restarts = True

    def _switch(self, target: str) -> None:
        """Go on with another session: first that is attached, then this one is left. If it can't be, this one stays.

        Nothing is shown meanwhile, and nothing that is typed is read.
        """
        self._target = None
        attachment = self._attachment
        try:
            assert self._dialler is not None  # else we have not said that we can
            self.following = elsewhere(self._dialler.paths(), self._request, target, self._terminal.size)
        except errors.ToowlError as error:
            attachment.screen.append(Notice(f"still in {attachment.name}: {error}"))
            return
        attachment.detach()
        self._connection.send(attachment.outbox)
        attachment.leave()

    def _take_over(self, returned: wire.Returned) -> None:
        """Go on with what the session read from the terminal and left to us."""
        if self._attachment.pending or not self._chords.idle:
            # It hung just then, the terminal was taken from it, and more has been typed meanwhile.
            if returned.typed:
                self._attachment.discard(len(returned.typed))
            return
        self._chords.feed(returned.begun)  # which has gone out already
        self._take(returned.typed)

    def _hung_up(self, reason: str) -> None:
        self._lending.over()
        self._attachment.hung_up(may_return=self._connection.may_return)
        if self._attachment.phase is Phase.AWAY:
            self._connection.lost(reason)

    def _picture(self) -> picture.Picture | None:
        session_id = self._connection.session_id
        return None if session_id is None else picture.fresh(session_id)

    def _away_for(self) -> float:
        since = self._connection.down_since
        return 0.0 if since is None else time.monotonic() - since

    def _banner(self) -> str:
        """What to tell while the session can't be reached; empty while it can."""
        attachment = self._attachment
        if attachment.phase is Phase.AWAY and self._away_for() >= _BANNER_AFTER:
            what = f"reconnecting… {self._connection.reason}"
        elif self._silent:
            what = "the session hangs"
        else:
            return ""
        return banner.text(what, attachment.pending, attachment.refused, self._size.cols)

    def _tend(self) -> None:
        """Look after the connection: what is due is done."""
        attachment, connection = self._attachment, self._connection
        self._lending.look()
        if connection.stalled(attachment.outbox):
            self._hung_up("nothing comes any more")
        hung, owed = self._silent, attachment.phase is Phase.OPEN and attachment.pending > 0
        self._silent = connection.silent(attachment.outbox, owed=owed)
        if hung and not self._silent and self._screen.redraw and connection.up and connection.may_return:
            self._hung_up("it did not answer")  # what is under the banner comes with a new connection
        if attachment.refused and connection.up and time.monotonic() - self._typed_at >= _QUIET:
            attachment.take_again()
        if attachment.phase is not Phase.AWAY:
            return
        away = self._away_for()
        try:
            attached = connection.tend(self._again())
        except errors.ProtocolError:
            if self._whole:
                raise
            # Most likely it has less output than we have seen, because its disk was full once and it died.
            self._whole = True
            connection.retry_now()
            return
        except errors.SessionNotFound:
            name = attachment.name
            raise errors.SessionNotFound(
                f"session {name} was removed while the connection to it was down: see `toowl ls`"
            ) from None
        if attached is not None:
            self._whole = self._respawn = self._screen.redraw = False
            attachment.resume(attached, brief=away < _BRIEF)
            self._viewing.renew()
            self._decode()

    def _again(self) -> dict[str, Any]:
        """How to ask for the attachment once more."""
        return self._request | {
            "rows": self._size.rows,
            "cols": self._size.cols,
            "from_seq": None if self._whole else self._attachment.seq,
            "replay": True,  # only where the session can't go on at from_seq
            "respawn": self._respawn,
            "redraw": self._screen.redraw,
            "lead": "no" if self._request["lead"] == "no" else "keep",  # somebody may have taken it meanwhile
            "steal": False,
        }

    def _follow(self, outcome: Outcome) -> bool:
        """Wait for the child that follows in a session that is being restarted; whether there is one to come."""
        if not (self._restarts and outcome.ended):
            return False
        self._restarts = False  # if it can't be started, we find the session ended, and that is the end
        self._attachment.renew()
        self._connection.lost("its program is started afresh")
        return True

    def _renew(self, outcome: Outcome) -> bool:
        """Offer a new child in a session that ended with its daemon; whether that is wanted."""
        if not outcome.renewable:
            return False
        self._screen.offer(outcome.message)
        poll = select.poll()
        poll.register(self._terminal.signal_fd, select.POLLIN)
        poll.register(self._terminal.fd, select.POLLIN)
        while (key := self._terminal.read()) is None:
            if any(fd == self._terminal.signal_fd for fd, _ in poll.poll()) and any(
                number in ENDING for number in self._terminal.signals()
            ):
                key = b""
                break
        self._screen.end_offer()
        if key not in (b"\r", b"\n"):
            return False
        self._respawn = True
        self._attachment.renew()
        self._connection.lost("its daemon ended")
        return True

    # -- the user's side ----------------------------------------------------------------------------------

    def _typed(self) -> None:
        data = self._terminal.read(min(self._attachment.room or _READ_BYTES, _READ_BYTES))
        if data is None:
            return
        self._typed_at = time.monotonic()
        if not data:
            self._attachment.leave(128 + signal.SIGHUP)
            self._screen.drop()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Do what was typed."""
        for action in self._chords.feed(data):
            if isinstance(action, Send):
                if not self._attachment.type(action.data):
                    self._screen.bell()
            elif isinstance(action, DetachRequested):
                self._detach()
                return
            else:
                self._screen.help_wanted = self._attachment.phase is Phase.OPEN

    def _detach(self) -> None:
        if self._attachment.phase is Phase.AWAY:
            self._attachment.detach()
            self._screen.drop()
        elif self._attachment.phase is Phase.OPEN:
            self._attachment.detach()
            self._screen.forget_place()
            self._deadline = time.monotonic() + _DETACH_TIMEOUT
        else:  # asked for once more, or all that's left is a terminal that takes no output
            self._attachment.leave()
            self._screen.drop()

    def _signals(self) -> None:
        for number in self._terminal.signals():
            if number in ENDING:
                self._lending.take_back()
                if self._attachment.phase is Phase.OPEN:
                    self._attachment.detach()
                    self._connection.send(self._attachment.outbox)
                self._attachment.leave(128 + number)
                self._screen.drop()
            elif number == signal.SIGWINCH:
                self._resize()
            elif number == signal.SIGTSTP:
                self._lending.take_back()
                self._screen.give_back()
                self._terminal.suspend()
                self._continued()
            elif number == signal.SIGCONT:
                self._terminal.resume()
                self._continued()

    def _continued(self) -> None:
        self._screen.forget_banner()  # the shell has written over it
        self._viewing.renew()
        self._connection.retry_now()
        self._resize()

    def _resize(self) -> None:
        size = self._terminal.size
        if size != self._size:
            self._size = size
            self._attachment.resize(size)
            self._screen.resize(size.cols)
            self._viewing.resize(size)
