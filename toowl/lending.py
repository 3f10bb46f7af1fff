"""Lending the user's terminal to the session: what is typed and printed goes there without a way through us.

Owns the decision when to lend and when to take back, the page that both sides share, and finding out afterwards what
was on the screen meanwhile (the session's log has all of it). Moves no bytes of output or input.

Theory. While the terminal is ours, all is as in any attachment. When nothing of ours is to be shown and nothing is
pending, the terminal is offered, and from then on we neither read nor write it. We get it back with `Returned`: when
the user types what may be a chord, when something has to be said, when the session ends, or at once, if it is not
wanted. We take it back without asking (`take_back`) when a signal wants us, and when the session does not read
what is typed because it hangs: the detach chord must always work.

While it is not known whether the session has taken the offer, what it sends is held: if it has, that output counts as
not sent, and comes to the terminal directly.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import mmap
import os
import select
import time

from toowl.attachment import Attachment
from toowl.connection import Connection
from toowl.screen import Screen
from toowl.terminal import RawTerminal
from toowld import wire

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from toowld.log.trail import Trail

#: What was typed and not read for twice this long (seconds) is read by nobody.
_PATIENCE = 0.25
#: After a refusal: when to ask again. A full disk, most likely, or a program that does not read its input.
_REFUSED_FOR = 5.0
#: It doubles with each up to here: what is between us and the session may never pass a terminal on.
_REFUSED_FOR_LONGEST = 300.0
#: When the terminal is taken back: how long a session that is using it at this moment may take to stop.
_BUSY = 0.05


class Holder(enum.Enum):
    """Whose the terminal is."""

    OURS = enum.auto()
    OFFERED = enum.auto()  # not to be touched, until the session says whether it takes it
    LENT = enum.auto()
    WITHDRAWN = enum.auto()  # ours again; nobody knows yet whether the session has had it
    RECALLED = enum.auto()  # ours again, but the session has not said that it knows


class Move(enum.Enum):
    """What changes that."""

    OFFER = enum.auto()
    LENT = enum.auto()  # the session's messages
    RETURNED = enum.auto()
    TAKE_BACK = enum.auto()
    OVER = enum.auto()  # the connection is gone, or the attachment


TABLE: Mapping[tuple[Holder, Move], Holder] = {
    (Holder.OURS, Move.OFFER): Holder.OFFERED,
    (Holder.OFFERED, Move.LENT): Holder.LENT,
    (Holder.OFFERED, Move.RETURNED): Holder.OURS,
    (Holder.OFFERED, Move.TAKE_BACK): Holder.WITHDRAWN,
    (Holder.OFFERED, Move.OVER): Holder.OURS,
    (Holder.LENT, Move.RETURNED): Holder.OURS,
    (Holder.LENT, Move.TAKE_BACK): Holder.RECALLED,
    (Holder.LENT, Move.OVER): Holder.OURS,
    (Holder.WITHDRAWN, Move.LENT): Holder.RECALLED,
    (Holder.WITHDRAWN, Move.RETURNED): Holder.OURS,
    (Holder.WITHDRAWN, Move.OVER): Holder.OURS,
    (Holder.RECALLED, Move.RETURNED): Holder.OURS,
    (Holder.RECALLED, Move.OVER): Holder.OURS,
}

_UNDECIDED = (Holder.OFFERED, Holder.WITHDRAWN)


class Lending:
    """The lending of one terminal to one session, over and over.

    Args:
        stops: what the session may not read (`toowl.keys`).
    """

    def __init__(
        self, terminal: RawTerminal, attachment: Attachment, screen: Screen, stops: Sequence[bytes]
    ) -> None:
        self._terminal = terminal
        self._attachment = attachment
        self._screen = screen
        self._stops = list(stops)
        self._holder = Holder.OURS
        self._page: wire.Page  # of the last offer
        self._offered = (0, 0)  # its position
        self._held: list[wire.Message] = []  # output that came since the offer, until that is decided
        self._trail: Trail | None = None  # in the session's log
        self._known = 0  # the output that the screen is known to have
        self._refusals = 0
        self._not_before = 0.0
        self._watch: select.epoll | None = None
        self._look_at: float | None = None
        self._unread = False  # when last looked, something typed had not been read

    @property
    def ours(self) -> bool:
        """Whether the terminal may be read and written here."""
        return self._holder not in (Holder.OFFERED, Holder.LENT)

    def close(self) -> None:
        """The end."""
        self._end_watch()

    def _move(self, move: Move) -> Holder:
        """Change hands; whose it was."""
        before = self._holder
        self._holder = TABLE[before, move]
        return before

    # -- giving -------------------------------------------------------------------------------------------

    def offer(self, connection: Connection) -> None:
        """Offer the terminal, if the session takes terminals, and nothing of ours or of the user's is under way."""
        attachment = self._attachment
        if (
            self._holder is not Holder.OURS
            or attachment.log_folder is None
            or not attachment.settled
            or not self._screen.idle
            or not self._terminal.lendable
            or time.monotonic() < self._not_before
            or not self._fits
        ):
            return
        position = attachment.seq, attachment.input_seq
        try:
            settings = self._terminal.settings
            page_fd, self._page = _new_page()
        except OSError:  # no descriptor is free, or the terminal is gone, which reading it tells
            self._refused()
            return
        try:
            self._page.position = position
            frame = wire.encode(wire.Lend(attachment.seq, {"settings": settings, "stops": self._stops}))
            if not connection.send_with(frame, [self._terminal.fd, page_fd], attachment.outbox):
                return
        finally:
            os.close(page_fd)
        self._offered = position
        self._known = attachment.seq
        attachment.lend()
        self._move(Move.OFFER)
        self._begin_watch()

    @property
    def _fits(self) -> bool:
        """Whether the session writes for a terminal of this size."""
        return self._attachment.session_size in (None, self._terminal.size)

    def _refused(self) -> None:
        self._not_before = time.monotonic() + min(_REFUSED_FOR * 2**self._refusals, _REFUSED_FOR_LONGEST)
        self._refusals = min(self._refusals + 1, 10)

    # -- messages -----------------------------------------------------------------------------------------

    def receive(self, message: wire.Message) -> bool:
        """See a message of the session first; whether it goes on to the attachment now."""
        match message:
            case wire.Output() | wire.Gap() | wire.Live() if self._holder in _UNDECIDED:
                self._held.append(message)
                return False
            case wire.Lent() if self._holder in _UNDECIDED:
                self._held.clear()
                self._move(Move.LENT)
                with contextlib.suppress(
                    OSError
                ):  # now, as there is time: it is looked at again when it counts
                    self._trail_from(self._known)
            case wire.Live(seq) if self._holder is Holder.LENT:
                self._follow(seq)
                self._attachment.outbox += wire.encode(wire.Seen(seq))
            case wire.Returned():
                if self._holder is Holder.OURS:  # the session has a bug: nobody lent it anything
                    return False
                self._returned(message)
            case wire.Ended() | wire.Detached() | wire.Failure():
                self.over()
        return True

    def _returned(self, message: wire.Returned) -> None:
        before = self._move(Move.RETURNED)
        self._end_watch()
        self._follow(message.seq)
        if before in _UNDECIDED:
            self._release()
        used = message.typed or (message.seq, message.input_seq) != self._offered
        if used:
            self._refusals = 0
        elif before in (Holder.OFFERED, Holder.LENT) and self._fits:
            self._refused()
        self._attachment.resume_after_loan(message.seq, message.input_seq)

    def _release(self) -> None:
        """The session has not had the terminal: what it sent counts."""
        held, self._held = self._held, []
        for message in held:
            self._attachment.receive(message)

    # -- taking back --------------------------------------------------------------------------------------

    def take_back(self) -> None:
        """The terminal is ours at once, whatever the session does. Harmless if it is ours."""
        if self.ours:
            return
        self._revoke()
        self._move(Move.TAKE_BACK)
        self._attachment.outbox += wire.encode(wire.Recall())

    def over(self) -> None:
        """The connection is gone, or the attachment, and with it the session's hold on the terminal."""
        if self._holder is Holder.OURS:
            return
        seq, _ = self._revoke()  # it may be alive, and just have hung up
        if self._move(Move.OVER) in _UNDECIDED and seq == self._offered[0]:
            self._release()
        self._held.clear()
        self._trail = None  # another connection may lead to another log

    def _revoke(self) -> tuple[int, int]:
        """Make the session stop using the terminal; how far it got."""
        self._page.revoke()
        until = time.monotonic() + _BUSY
        time.sleep(0)  # a system call: see `toowld.wire.page`
        while self._page.busy and time.monotonic() < until:
            time.sleep(0.001)
        self._end_watch()
        seq, input_seq = self._page.position
        self._follow(seq)
        self._attachment.follow_loan(seq, input_seq)
        return seq, input_seq

    def _follow(self, until: int) -> None:
        """Learn what was put on the screen, from the session's log."""
        at = self._known
        if at >= until:
            return
        self._known = until
        try:
            trail = self._trail_from(at)
            for data in trail.read(until):
                self._screen.follow(data)
            if trail.seq >= until:
                return
        except OSError:
            pass  # as if it were not there
        self._screen.lose_track()

    def _trail_from(self, seq: int) -> Trail:
        # Not needed before: attaching is quicker without.
        from pathlib import Path

        from toowld.log.trail import Trail

        if self._trail is None:
            self._trail = Trail(Path(self._attachment.log_folder or ""))
        if self._trail.seq != seq:
            self._trail.seek(seq)
        return self._trail

    # -- is anybody there ---------------------------------------------------------------------------------

    def _begin_watch(self) -> None:
        """Have an eye on whether what is typed gets read: woken by the first key, then looked at after a while."""
        self._watch = select.epoll()
        self._watch.register(self._terminal.fd, select.EPOLLIN | select.EPOLLONESHOT)
        self._look_at = None
        self._unread = False

    def _end_watch(self) -> None:
        if self._watch is not None:
            self._watch.close()
            self._watch = None
        self._look_at = None

    def register(self, poll: select.poll) -> int | None:
        """Have ``poll`` wait for a key; the file descriptor. When it is ready, call `watched`."""
        if self._watch is None or self._look_at is not None:
            return None
        poll.register(self._watch, select.POLLIN)
        return self._watch.fileno()

    def watched(self) -> None:
        """Something was typed."""
        if self._watch is not None and self._watch.poll(0):
            self._look_at = time.monotonic() + _PATIENCE

    @property
    def deadline(self) -> float | None:
        """When to call `look`."""
        return self._look_at

    def look(self) -> None:
        """When it is time: see whether what was typed has been read."""
        if self._look_at is None or self._watch is None or time.monotonic() < self._look_at:
            return
        if not self._terminal.waiting:
            self._unread = False
            self._look_at = None
            self._watch.modify(self._terminal.fd, select.EPOLLIN | select.EPOLLONESHOT)
        elif not self._unread:
            self._unread = True
            self._look_at = time.monotonic() + _PATIENCE
        else:
            self.take_back()


def _new_page() -> tuple[int, wire.Page]:
    """A page and its descriptor. It can't be made shorter: the session relies on that."""
    fd = os.memfd_create("toowl-terminal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(fd, wire.Page.SIZE)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        return fd, wire.Page(mmap.mmap(fd, wire.Page.SIZE))
    except OSError:
        os.close(fd)
        raise
