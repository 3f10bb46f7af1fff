"""The user's screen while a session is on it: the session's output, and what we have to say in between.

Owns all that we write to the terminal, and what is known of it from that: which modes it is in (`Modes`), where a
line begins, whether the banner stands there. Takes the output from `Attachment.screen`. Knows nothing of connections,
nor of what is typed; when there is a reason for a banner, a bell or the help, it is told so.

What is ours goes between two pieces of output only where no sequence of the session's is cut in two by it.
"""

from __future__ import annotations

import signal
import time
from collections import deque

from toowl import banner
from toowl.attachment import Attachment, Lost, Notice
from toowl.modes import Modes
from toowl.picture import Picture
from toowl.replay import count_queries
from toowl.terminal import RawTerminal
from toowld import wire

#: At the end: how long a terminal that takes nothing (Ctrl-S, a dead link) may keep us from leaving.
_FAREWELL_TIMEOUT = 1.0
#: At the end: how long a terminal may take to answer what the session has asked it. A slow line takes so long.
_ANSWER_TIMEOUT = 0.3
#: What it was asked longer ago (seconds), or before so much other output, it has answered.
_ASKED_LATELY, _ASKED_BYTES = 2.0, 64 << 10
#: Written before the terminal is looked at again for input.
_WRITE_TURN = 64 << 10

_BELL = b"\x07"
_OFFER = b"press Enter for a new shell, any other key to leave "
_HELP = rb"[Ctrl-\ d: detach   Ctrl-\ Ctrl-\: send Ctrl-\   Ctrl-\ ?: this list]"


class Screen:
    """Writes what there is as fast as the terminal takes it.

    Attributes:
        banner: the line that is shown now, or empty.
        redraw: a banner has stood where a program has its own screen, which it has to draw again.
        help_wanted: the list of chords is shown as soon as there is a place for it.
    """

    def __init__(self, terminal: RawTerminal, attachment: Attachment, *, cols: int) -> None:
        self.banner = ""
        self.redraw = False
        self.help_wanted = False
        self._terminal = terminal
        self._attachment = attachment
        self._cols = cols
        self._modes = Modes()
        self._own = bytearray()  # ours, not the session's; goes before `attachment.screen`
        self._written = 0  # of the first piece of attachment.screen
        self._recent = b""  # the last bytes of the session's output that were written
        self._lately: deque[tuple[float, bytes]] = deque()  # output, and when it was written
        self._lately_bytes = 0
        self._line_start = True
        self._painted: Picture | None = None  # while it is being written
        self._drop_input = False  # the terminal may have sent bytes that nobody typed

    @property
    def busy(self) -> bool:
        """Whether something waits to be written."""
        return bool(self._own or self._attachment.screen)

    @property
    def wants_turn(self) -> bool:
        """Whether `show` would write something, if the terminal took it."""
        return self.busy or (self.help_wanted and not self._modes.mid_sequence)

    @property
    def idle(self) -> bool:
        """Whether nothing of ours is on the screen, or about to be."""
        return not (self.banner or self._own or self._attachment.screen or self.help_wanted)

    def follow(self, data: bytes) -> None:
        """This output was written to the terminal by somebody else."""
        self._modes.feed(data)
        self._recent = (self._recent + data[-4:])[-4:]
        self._line_start = data.endswith(b"\n")
        self._lately.append((time.monotonic(), data))
        self._lately_bytes += len(data)
        while self._lately_bytes - len(self._lately[0][1]) > _ASKED_BYTES:
            self._lately_bytes -= len(self._lately.popleft()[1])

    def lose_track(self) -> None:
        """Some output was written to the terminal by somebody else, and nobody knows it any more."""
        self._modes.suspect_all()
        self._line_start = False

    def show(self, line: str) -> None:
        """Write what the terminal takes, for one turn, with ``line`` as the banner (empty: none)."""
        screen = self._attachment.screen
        self._update_banner(line)
        turn = 0
        while turn < _WRITE_TURN:
            if self._own:
                if not (count := self._write(self._own)):
                    return
                del self._own[:count]
                continue
            if self.help_wanted and not self._modes.mid_sequence:
                self.help_wanted = False
                self._insert(self._line(_HELP))
            if not screen:
                return
            piece = self._first()
            if not (count := self._write(memoryview(piece)[self._written :])):
                return
            self._wrote(piece, count)
            turn += count

    def begun(self, count: int) -> None:
        """Of what waits first, so many bytes were written already."""
        if count:
            self._wrote(self._first(), count)

    def _first(self) -> bytes:
        """What is to be written first, as bytes."""
        screen = self._attachment.screen
        piece = screen[0]
        if isinstance(piece, Picture):
            self._painted = piece
            screen[0] = piece = piece.data
        elif not isinstance(piece, bytes):
            screen[0] = piece = self._gap_notice(piece) if isinstance(piece, Lost) else self._notice(piece)
            self._attachment.screen_bytes += len(piece)
        return piece

    def _wrote(self, piece: bytes, count: int) -> None:
        """So many more bytes of the first piece are on the terminal."""
        self.follow(piece[self._written : self._written + count])
        self._written += count
        self._attachment.screen_bytes -= count
        if self._written == len(piece):
            self._attachment.screen.popleft()
            self._written = 0
            if self._painted is not None:
                self._line_start = self._painted.fresh_line
                self._painted = None

    def bell(self) -> None:
        """What was typed is refused."""
        if not self._modes.mid_sequence:
            self._own += _BELL

    def resize(self, cols: int) -> None:
        """The terminal is as wide as this now."""
        self._cols = cols
        self.forget_banner()  # it is where the last line was: drawn anew

    def forget_banner(self) -> None:
        """The banner is not what stands there any more."""
        self.banner = ""

    def forget_place(self) -> None:
        """The attachment has dropped its output: what comes next is a new piece, and no help."""
        self.help_wanted = False
        self._written = 0

    def drop(self) -> None:
        """Nothing that waits is written any more."""
        self._own.clear()
        self._attachment.screen.clear()
        self._attachment.screen_bytes = 0

    def cleared(self) -> bytes:
        """What switches off all that the session switched on, because its output is shown in another way now."""
        return self._modes.reset()

    # -- leaving ------------------------------------------------------------------------------------------

    def offer(self, message: str) -> None:
        """Tell how the session ended, and ask for a key. Afterwards, call `end_offer`."""
        self._own.clear()
        self._hush()
        self._say(self._undo() + message.encode(errors="replace") + b"\r\n")
        self._terminal.forget_input()  # typed for what is gone. Once asked, whatever is typed is the answer
        self._say(_OFFER)

    def end_offer(self) -> None:
        """The key was pressed."""
        self._say(b"\r\x1b[K")
        self._line_start = True

    def give_back(self, *, forget_reports: bool = False) -> None:
        """Switch off what the session switched on, because somebody else will use the terminal.

        ``forget_reports``: and drop what the terminal may have sent without a key.
        """
        self._hush()
        self._say((banner.erase() if self.banner else b"") + self._undo())
        if forget_reports and self._drop_input:
            self._terminal.forget_input()

    def farewell(self, message: str) -> None:
        """Give the terminal back as it was, and tell how it ended."""
        self._hush()
        farewell = banner.erase() if self.banner else b""
        farewell += self._undo()
        if message:
            farewell += message.encode(errors="replace") + b"\r\n"
        self._say(farewell)
        self._terminal.restore(drop_input=self._drop_input)

    def _hush(self) -> None:
        """Let the terminal finish its answers to what the session has asked it: nobody has typed them."""
        since = time.monotonic() - _ASKED_LATELY
        lately = b"".join(data for at, data in self._lately if at >= since)
        self._lately.clear()
        self._lately_bytes = 0
        if count_queries(lately):
            self._say(self._modes.abort())
            self._terminal.forget_answers(_ANSWER_TIMEOUT, others=lately.count(b"\x1b[5n"))

    def _say(self, data: bytes) -> None:
        self._terminal.write_all(data, timeout=_FAREWELL_TIMEOUT)

    def _undo(self) -> bytes:
        fresh_line = self._line_start and not self._modes.alternate_screen
        self._drop_input = self._drop_input or self._modes.reporting
        undo = self._modes.reset()
        return undo if fresh_line else undo + b"\r\n"

    # -- between two pieces of output ---------------------------------------------------------------------

    def _update_banner(self, line: str) -> None:
        modes = self._modes
        # All output that there is comes first. Inside a long string (a picture) there is no place for us.
        if line == self.banner or self._own or (line and self._attachment.screen) or modes.cut is None:
            return
        if line:
            self._own += modes.cut and b"\x18"
            self._own += banner.draw(
                line, make_room=not (self.banner or modes.alternate_screen or modes.margins)
            )
            self.redraw = modes.alternate_screen
        else:
            self._own += banner.erase() + (modes.cut or _half_character(self._recent))
        self.banner = line

    def _gap_notice(self, lost: Lost) -> bytes:
        start = b"" if self._line_start else b"\r\n"
        count = wire.gap_bytes(0, lost.size)
        what = b"some output was lost, nobody knows how much"
        if count is not None:
            what = b"%d bytes of output are no longer held" % count
        return self._modes.abort() + start + b"[" + what + b"]\r\n"

    def _notice(self, notice: Notice) -> bytes:
        return self._modes.abort() + self._line(f"[{notice.text}]".encode(errors="replace"))

    def _line(self, text: bytes) -> bytes:
        if self._modes.alternate_screen:  # a program that redraws: one line of it, cursor and colours kept
            return b"\x1b7\x1b[9999H\x1b[m" + text[: self._cols] + b"\x1b[K\x1b8"
        return (b"" if self._line_start else b"\r\n") + text[: self._cols] + b"\r\n"

    def _insert(self, data: bytes) -> None:
        """Put something of our own between two pieces of output; it must not count as the session's."""
        rest = self._attachment.screen
        if self._written:
            head = rest.popleft()
            assert isinstance(head, bytes)
            rest.appendleft(head[self._written :])
            self._written = 0
        rest.appendleft(data)
        self._attachment.screen_bytes += len(data)

    def _write(self, data: bytearray | memoryview) -> int:
        try:
            return self._terminal.write(data)
        except OSError:  # the terminal is gone, which reading it tells as well
            self._attachment.leave(128 + signal.SIGHUP)
            self.drop()
            return 0


def _half_character(data: bytes) -> bytes:
    """The bytes at the end of ``data`` that begin a UTF-8 character whose rest is to come."""
    for length in (1, 2, 3):
        lead = data[-length] if len(data) >= length else 0
        if lead >= 0xC0:
            whole = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return data[-length:] if length < whole else b""
        if lead < 0x80:
            return b""
    return b""
